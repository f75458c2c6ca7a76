//! Prometheus metrics. Handles are resolved when a lane opens, so a request only touches atomics. Label values come from
//! manifests and closed lists, never from requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, gauge, histogram};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use parking_lot::Mutex;
use weirgate_protocol::{ErrorCode, Protocol};
use weirgate_replicas::{BatchReport, Counts};
use weirgate_replicas_core::CloseReason;
use weirgate_router::pool::Outcome;

use super::histograms::{Histograms, Recorder};
use super::tally::Tally;
use super::text::{TEXT_METRICS, TextMetrics};

const REQUESTS: &str = "weirgate_requests_total";
const DURATION: &str = "weirgate_request_duration_seconds";
const STAGE: &str = "weirgate_request_stage_seconds";
const QUEUE_REQUESTS: &str = "weirgate_queue_requests";
const QUEUE_BYTES: &str = "weirgate_queue_bytes";
const RUNNING: &str = "weirgate_running_requests";
const PASSED: &str = "weirgate_upstream_attempts_total";
const REPEATED: &str = "weirgate_upstream_retries_total";
const HEDGED: &str = "weirgate_upstream_hedges_total";
const ABANDONED: &str = "weirgate_abandoned_requests_total";
pub(super) const BATCH_ROWS: &str = "weirgate_batch_rows";
const BATCHES: &str = "weirgate_batches_closed_total";
const REPLICAS: &str = "weirgate_ready_replicas";
const LOAD: &str = "weirgate_model_load_seconds";
pub(super) const REVISION_REQUESTS: &str = "weirgate_revision_requests_total";
pub(super) const REVISION_SECONDS: &str = "weirgate_revision_request_seconds";
/// Callers that were refused.
pub const REFUSED: &str = "weirgate_refused_total";
pub(super) const SERVERS: &str = "weirgate_upstream_servers";
pub(super) const REVISION_TRAFFIC: &str = "weirgate_revision_traffic_percent";
pub(super) const REVISION_REPLICAS: &str = "weirgate_revision_replicas";
pub(super) const REVISION_RESTARTS: &str = "weirgate_revision_restarts_total";

/// The bounds of histograms of times.
pub(super) const SECONDS: [f64; 18] = [
    25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3, 1.0, 5.0, 30.0,
    120.0, 600.0,
];
/// Those of rows.
pub(super) const ROWS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// The process's metrics.
#[derive(Clone)]
pub struct Registry {
    exporter: PrometheusHandle,
    histograms: Arc<Histograms>,
}

impl Registry {
    /// Installs the recorder; once per process.
    pub fn install() -> Result<Registry, String> {
        let (exporter, histograms) = (PrometheusBuilder::new().build_recorder(), Arc::new(Histograms::default()));
        let registry = Registry { exporter: exporter.handle(), histograms: histograms.clone() };
        metrics::set_global_recorder(Recorder { exporter, histograms })
            .map_err(|error| format!("metrics can't be recorded: {error}"))?;
        describe();
        Ok(registry)
    }

    pub fn render(&self) -> String {
        self.exporter.render() + &self.histograms.render()
    }
}

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricKind {
    Counter,
    Gauge,
    Histogram,
    /// A sum and a count.
    Summary,
}

impl MetricKind {
    pub const fn label(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
            MetricKind::Summary => "summary",
        }
    }
}

/// One metric, as `/metrics` and the documentation describe it.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: MetricKind,
    pub help: &'static str,
}

/// Every metric. All have the labels `namespace` and `service`, but for the refused, who have come to no service.
pub const METRICS: &[Metric] = &[
    Metric {
        name: REQUESTS,
        kind: MetricKind::Counter,
        help: "requests that ended, by `protocol` and `code` (`ok`, or the error's)",
    },
    Metric { name: DURATION, kind: MetricKind::Histogram, help: "time from a request's head to its answer" },
    Metric {
        name: STAGE,
        kind: MetricKind::Histogram,
        help: "time per `stage`: `read` (waiting for the body), `queue`, `batch` (joining rows), `engine`, `overhead` (the rest)",
    },
    Metric {
        name: QUEUE_REQUESTS,
        kind: MetricKind::Gauge,
        help: "requests that wait for a replica or a model, or are being read",
    },
    Metric { name: QUEUE_BYTES, kind: MetricKind::Gauge, help: "bytes that these requests hold" },
    Metric { name: RUNNING, kind: MetricKind::Gauge, help: "requests that a replica has taken and not finished" },
    Metric {
        name: PASSED,
        kind: MetricKind::Counter,
        help: "attempts to have a server execute a call, by `outcome`: `answered`, `failed`, `overloaded`, `not_executed`, `cancelled`",
    },
    Metric {
        name: REPEATED,
        kind: MetricKind::Counter,
        help: "calls that were given to another server, by `reason`: `not_executed`, or `idempotent` where they may have been executed",
    },
    Metric {
        name: HEDGED,
        kind: MetricKind::Counter,
        help: "calls that a second server was asked for, because the first took long, by `winner`: `first`, `second`, or `none`",
    },
    Metric {
        name: ABANDONED,
        kind: MetricKind::Counter,
        help: "requests whose caller left, by `place` (`queue`, `replica`)",
    },
    Metric { name: BATCH_ROWS, kind: MetricKind::Histogram, help: "rows of each batch" },
    Metric {
        name: BATCHES,
        kind: MetricKind::Counter,
        help: "batches, by the `reason` they closed: `idle`, `full`, `deadline`, `latency`",
    },
    Metric { name: REPLICAS, kind: MetricKind::Gauge, help: "replicas that are ready" },
    Metric { name: LOAD, kind: MetricKind::Gauge, help: "seconds that the newest replica's model took to load" },
    Metric {
        name: REVISION_REQUESTS,
        kind: MetricKind::Counter,
        help: "requests that a `revision` answered, by `outcome`: `ok`, or `error` for those that failed on our side (5xx)",
    },
    Metric {
        name: REVISION_SECONDS,
        kind: MetricKind::Summary,
        help: "time from a request's head to its answer, by `revision`, of those that are `ok`",
    },
    Metric {
        name: REVISION_TRAFFIC,
        kind: MetricKind::Gauge,
        help: "the share of the calls that a `revision` is to get",
    },
    Metric {
        name: REVISION_REPLICAS,
        kind: MetricKind::Gauge,
        help: "replicas of a `revision`, by `state`: `starting`, `ready`, `waiting` (to be started again), `draining`",
    },
    Metric {
        name: REVISION_RESTARTS,
        kind: MetricKind::Counter,
        help: "replicas of a `revision` that were started because another had failed",
    },
    Metric {
        name: SERVERS,
        kind: MetricKind::Gauge,
        help: "servers that a `revision`'s calls are passed to, by `standing`: `in`, `open` and `half_open` (their breakers), `ejected`",
    },
    Metric {
        name: REFUSED,
        kind: MetricKind::Counter,
        help: "requests that were refused by their key or token, by `reason` (`missing`, `unknown`, `expired`, `service`, \
               `rate`, `concurrency`, `tokens`, `body`) and `key`: its name in the file, `(token)` for all tokens, or empty",
    },
];

fn describe() {
    for metric in METRICS.iter().chain(TEXT_METRICS) {
        match metric.kind {
            MetricKind::Counter => describe_counter!(metric.name, metric.help),
            MetricKind::Gauge => describe_gauge!(metric.name, metric.help),
            // Not recorded by the exporter: rendered by us, the latter from what the lanes count.
            MetricKind::Histogram | MetricKind::Summary => {}
        }
    }
}

/// Whole microseconds.
pub fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Where a request's time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    /// Waiting for the client to send its body.
    pub read: Duration,
    pub queue: Duration,
    pub batch: Duration,
    pub engine: Duration,
    /// From the head to the answer, all included.
    pub total: Duration,
}

impl Stages {
    /// The gateway's own time: all that is neither the client's, the queue's nor the model's.
    pub fn overhead(&self) -> Duration {
        self.total.saturating_sub(self.read + self.queue + self.batch + self.engine)
    }
}

/// One lane's part of a gauge that all lanes of a service share: the gauge shows the sum, and a lane that goes takes its
/// part along.
pub(super) struct Part {
    gauge: Gauge,
    value: AtomicUsize,
}

impl Part {
    pub(super) fn new(gauge: Gauge) -> Part {
        Part { gauge, value: AtomicUsize::new(0) }
    }

    pub(super) fn set(&self, value: usize) {
        // As a rule it has not changed, and what others share need not be written.
        if self.value.load(Ordering::Relaxed) == value {
            return;
        }
        let before = self.value.swap(value, Ordering::Relaxed);
        if value != before {
            self.gauge.increment(value as f64 - before as f64);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The metrics of one lane.
pub struct LaneMetrics {
    namespace: String,
    service: String,
    ok: [Counter; Protocol::ALL.len()],
    duration: Histogram,
    stages: [Histogram; 5],
    queue_requests: Part,
    queue_bytes: Part,
    running: Part,
    passed: [Counter; 5],
    repeated: [Counter; 2],
    hedged: [Counter; 3],
    abandoned: [Counter; 2],
    batch_rows: Histogram,
    closed: [Counter; CloseReason::ALL.len()],
    replicas: Part,
    load: Gauge,
    /// What this lane's revision alone answered.
    pub tally: Tally,
    /// What its replicas are at.
    pub counts: Mutex<Counts>,
}

impl LaneMetrics {
    pub fn new(namespace: &str, service: &str) -> LaneMetrics {
        let labels = [("namespace", namespace.to_owned()), ("service", service.to_owned())];
        let with = |key: &'static str, value: &'static str| {
            let [namespace, service] = labels.clone();
            [namespace, service, (key, value.to_owned())]
        };
        let stage = |stage| histogram!(STAGE, &with("stage", stage));
        LaneMetrics {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            ok: Protocol::ALL.map(|protocol| request_counter(namespace, service, protocol, "ok")),
            duration: histogram!(DURATION, &labels),
            stages: ["read", "queue", "batch", "engine", "overhead"].map(stage),
            queue_requests: Part::new(gauge!(QUEUE_REQUESTS, &labels)),
            queue_bytes: Part::new(gauge!(QUEUE_BYTES, &labels)),
            running: Part::new(gauge!(RUNNING, &labels)),
            passed: ["answered", "failed", "overloaded", "not_executed", "cancelled"]
                .map(|outcome| counter!(PASSED, &with("outcome", outcome))),
            repeated: ["not_executed", "idempotent"].map(|reason| counter!(REPEATED, &with("reason", reason))),
            hedged: ["first", "second", "none"].map(|winner| counter!(HEDGED, &with("winner", winner))),
            abandoned: ["queue", "replica"].map(|place| counter!(ABANDONED, &with("place", place))),
            batch_rows: histogram!(BATCH_ROWS, &labels),
            closed: CloseReason::ALL.map(|reason| counter!(BATCHES, &with("reason", reason.label()))),
            replicas: Part::new(gauge!(REPLICAS, &labels)),
            load: gauge!(LOAD, &labels),
            tally: Tally::default(),
            counts: Mutex::default(),
        }
    }

    /// For a text engine of this lane.
    pub fn text(&self) -> TextMetrics {
        TextMetrics::new(&self.namespace, &self.service)
    }

    pub fn answered(&self, protocol: Protocol, stages: &Stages) {
        self.tally.answered(stages.total);
        self.ok[protocol as usize].increment(1);
        self.duration.record(stages.total);
        let times = [stages.read, stages.queue, stages.batch, stages.engine, stages.overhead()];
        for (histogram, time) in self.stages.iter().zip(times) {
            histogram.record(time);
        }
    }

    /// A call that failed, and how long after its arrival.
    pub fn failed(&self, protocol: Protocol, code: ErrorCode, took: Duration) {
        self.tally.failed(code, took);
        request_counter(&self.namespace, &self.service, protocol, code.row().label).increment(1);
    }

    /// What the lane holds, and how much of it runs.
    pub(crate) fn holds(&self, requests: usize, bytes: usize, running: usize) {
        self.queue_requests.set(requests);
        self.queue_bytes.set(bytes);
        self.running.set(running);
    }

    pub(crate) fn closed(&self, reason: CloseReason) {
        self.closed[reason as usize].increment(1);
    }

    pub(crate) fn batch(&self, report: &BatchReport) {
        self.batch_rows.record(report.rows as f64);
        self.tally.batch(report);
    }

    /// A server was asked to execute a call.
    pub(crate) fn passed(&self, outcome: Outcome) {
        let index = match outcome {
            Outcome::Answered => 0,
            Outcome::Failed => 1,
            Outcome::Overloaded { .. } => 2,
            Outcome::NotExecuted => 3,
            Outcome::Cancelled => 4,
        };
        self.passed[index].increment(1);
    }

    /// A call is given to another server.
    pub(crate) fn repeated(&self, executed: bool) {
        self.repeated[usize::from(executed)].increment(1);
    }

    /// Two servers were asked: which of them answered, if one did.
    pub(crate) fn hedged(&self, winner: Option<usize>) {
        self.hedged[winner.unwrap_or(2).min(2)].increment(1);
    }

    pub(crate) fn abandoned(&self, queued: bool) {
        self.abandoned[usize::from(!queued)].increment(1);
    }

    /// Counts a call whose caller leaves while this lives.
    pub(crate) fn while_running(&self) -> WhileRunning<'_> {
        WhileRunning(Some(self))
    }

    pub(crate) fn replicas(&self, ready: usize) {
        self.replicas.set(ready);
    }

    pub(crate) fn ready_replicas(&self) -> usize {
        self.replicas.value.load(Ordering::Relaxed)
    }

    pub(crate) fn loaded(&self, took: Duration) {
        self.load.set(took.as_secs_f64());
    }
}

/// A call that a server has. Dropped before it has ended, its caller has left.
pub(crate) struct WhileRunning<'a>(Option<&'a LaneMetrics>);

impl WhileRunning<'_> {
    pub fn ends(mut self) {
        self.0 = None;
    }
}

impl Drop for WhileRunning<'_> {
    fn drop(&mut self) {
        if let Some(metrics) = self.0 {
            metrics.abandoned(false);
        }
    }
}

fn request_counter(namespace: &str, service: &str, protocol: Protocol, code: &'static str) -> Counter {
    counter!(
        REQUESTS,
        "namespace" => namespace.to_owned(),
        "service" => service.to_owned(),
        "protocol" => protocol.label(),
        "code" => code,
    )
}

/// Counts a request that a known service had no revision for: it is stopped, say.
pub fn count_unanswered(namespace: &str, service: &str, protocol: Protocol, code: ErrorCode) {
    request_counter(namespace, service, protocol, code.row().label).increment(1);
}

/// Counts a request that reached no service. Its labels are empty: names that callers make up must not become labels.
pub fn count_unrouted(protocol: Protocol, code: ErrorCode) {
    request_counter("", "", protocol, code.row().label).increment(1);
}
