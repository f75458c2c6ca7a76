//! Metrics of language models: tokens in and out, their times, and the memory of keys and values.

use std::time::Duration;

use metrics::{Counter, Histogram, counter, gauge, histogram};
use parking_lot::Mutex;
use weirgate_replicas::embed::{EmbedObserver, RunReport};
use weirgate_replicas::text::{Finished, StepReport, TextObserver, TextStats};

use super::metrics::{Metric, MetricKind, Part};

const WAITING: &str = "weirgate_waiting_sequences";
const RUNNING: &str = "weirgate_running_sequences";
const KV: &str = "weirgate_kv_cache_bytes";
const PROMPT: &str = "weirgate_prompt_tokens_total";
const CACHED: &str = "weirgate_cached_prompt_tokens_total";
const GENERATED: &str = "weirgate_generated_tokens_total";
const PREEMPTED: &str = "weirgate_preemptions_total";
const GENERATIONS: &str = "weirgate_generations_total";
const FIRST: &str = "weirgate_time_to_first_token_seconds";
const BETWEEN: &str = "weirgate_inter_token_seconds";
const STEP: &str = "weirgate_engine_step_seconds";
const EMBEDDED: &str = "weirgate_embedded_texts_total";

/// The metrics of text engines, beside [`METRICS`](super::METRICS).
pub const TEXT_METRICS: &[Metric] = &[
    Metric {
        name: WAITING,
        kind: MetricKind::Gauge,
        help: "sequences that a text engine has taken, and that wait for memory of keys and values, or for their turn",
    },
    Metric { name: RUNNING, kind: MetricKind::Gauge, help: "sequences that a text engine computes at each step" },
    Metric {
        name: KV,
        kind: MetricKind::Gauge,
        help: "memory of keys and values, by `state`: `used` by sequences, `cached` for prompts that begin alike, `free`",
    },
    Metric { name: PROMPT, kind: MetricKind::Counter, help: "tokens of the prompts that were begun" },
    Metric {
        name: CACHED,
        kind: MetricKind::Counter,
        help: "how many of these were not computed, as the prefix cache had them",
    },
    Metric { name: GENERATED, kind: MetricKind::Counter, help: "tokens that were generated" },
    Metric {
        name: PREEMPTED,
        kind: MetricKind::Counter,
        help: "times that a sequence gave its memory to others, and was computed again later",
    },
    Metric {
        name: GENERATIONS,
        kind: MetricKind::Counter,
        help: "answers that ended, by `reason`: `stop`, `length`, or an error's code",
    },
    Metric {
        name: FIRST,
        kind: MetricKind::Histogram,
        help: "time from a call's arrival at a text engine to its first token",
    },
    Metric { name: BETWEEN, kind: MetricKind::Histogram, help: "time from one token of an answer to the next" },
    Metric {
        name: STEP,
        kind: MetricKind::Histogram,
        help: "time of a step of a text engine, in which each running sequence gets a token, or a part of its prompt computed; of \
               an embedder, time of a run",
    },
    Metric { name: EMBEDDED, kind: MetricKind::Counter, help: "texts that vectors were made of" },
];

/// What one engine does, added to the metrics of its service.
pub struct TextMetrics {
    namespace: String,
    service: String,
    waiting: Part,
    running: Part,
    used: Part,
    cached: Part,
    free: Part,
    prompt: Counter,
    prompt_cached: Counter,
    generated: Counter,
    preempted: Counter,
    first: Histogram,
    between: Histogram,
    step: Histogram,
    embedded: Counter,
    /// What the counters were last told of.
    counted: Mutex<Counted>,
}

#[derive(Default)]
struct Counted {
    prompt: u64,
    cached: u64,
    generated: u64,
    preempted: u64,
}

impl TextMetrics {
    pub fn new(namespace: &str, service: &str) -> TextMetrics {
        let labels = [("namespace", namespace.to_owned()), ("service", service.to_owned())];
        let kv = |state: &'static str| {
            let [namespace, service] = labels.clone();
            Part::new(gauge!(KV, &[namespace, service, ("state", state.to_owned())]))
        };
        TextMetrics {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            waiting: Part::new(gauge!(WAITING, &labels)),
            running: Part::new(gauge!(RUNNING, &labels)),
            used: kv("used"),
            cached: kv("cached"),
            free: kv("free"),
            prompt: counter!(PROMPT, &labels),
            prompt_cached: counter!(CACHED, &labels),
            generated: counter!(GENERATED, &labels),
            preempted: counter!(PREEMPTED, &labels),
            first: histogram!(FIRST, &labels),
            between: histogram!(BETWEEN, &labels),
            step: histogram!(STEP, &labels),
            embedded: counter!(EMBEDDED, &labels),
            counted: Mutex::default(),
        }
    }
}

impl TextObserver for TextMetrics {
    fn first_token(&self, since_arrival: Duration) {
        self.first.record(since_arrival);
    }

    fn token(&self, since_last: Duration) {
        self.between.record(since_last);
    }

    fn finished(&self, finished: &Finished) {
        counter!(
            GENERATIONS,
            "namespace" => self.namespace.clone(),
            "service" => self.service.clone(),
            "reason" => finished.reason.label(),
        )
        .increment(1);
    }

    fn step(&self, report: &StepReport) {
        self.step.record(report.took);
    }

    fn stands(&self, stats: &TextStats) {
        let TextStats { scheduler, block_bytes, .. } = stats;
        self.waiting.set(scheduler.waiting + stats.submitted);
        self.running.set(scheduler.running);
        self.used.set(scheduler.used_blocks * block_bytes);
        self.cached.set(scheduler.cached_blocks * block_bytes);
        self.free.set(scheduler.free_blocks * block_bytes);
        let (totals, mut counted) = (&scheduler.totals, self.counted.lock());
        let Counted { prompt, cached, generated, preempted } = &mut *counted;
        for (counter, counted, total) in [
            (&self.prompt, prompt, totals.prompt_tokens),
            (&self.prompt_cached, cached, totals.prompt_hit_tokens),
            (&self.generated, generated, totals.new_tokens),
            (&self.preempted, preempted, totals.preemptions),
        ] {
            // An engine that has ended tells nothing but zeros.
            if total > *counted {
                counter.increment(total - *counted);
                *counted = total;
            }
        }
    }
}

impl EmbedObserver for TextMetrics {
    fn run(&self, report: &RunReport) {
        self.step.record(report.took);
        self.embedded.increment(report.texts as u64);
        self.prompt.increment(report.tokens as u64);
    }
}
