//! What was found, as it is written to a file and read from it again.
//!
//! Times are milliseconds unless a name says otherwise; rates are per second.

mod file;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::file::{check_writable, write_whole};
use crate::request::Protocol;

/// The layout of a result file. A change that old readers would misread gets another.
pub const SCHEMA: &str = "weirgate.dev/loadtest/v1";

/// The quantiles that every report names.
pub const QUANTILES: [f64; 7] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999];

/// A result file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    pub schema: String,
    /// Version of the load tester.
    pub version: String,
    /// When it began, in RFC 3339.
    pub started: String,
    /// The machine that the load came from.
    pub machine: Value,
    pub target: String,
    /// The second target of an A/B run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_b: Option<String>,
    pub workload: WorkloadSummary,
    /// Options as given, by flag, to run it again. Secrets are left out.
    pub options: BTreeMap<String, Value>,
    /// The objective, as given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slo: Option<String>,
    pub findings: Findings,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WorkloadSummary {
    pub protocol: Protocol,
    pub model: Option<String>,
    /// In words, as `random tensors from the server's metadata, 8 rows`.
    pub what: String,
    pub streams: bool,
    /// None: no two are the same.
    pub distinct_requests: Option<usize>,
    /// Of a request's body, on average.
    pub mean_bytes: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Findings {
    Run { run: Box<Run> },
    Sweep { sweep: Sweep },
    Ab { ab: Ab },
}

/// One load on one server.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    pub load: LoadSummary,
    pub warmup: Warmup,
    /// Seconds that were measured, after the warm-up and without the wait for the last answers. A number of arrivals lasts
    /// until one more would be due; a recording a mean gap longer than to its last arrival; and where requests follow from
    /// answers, so many of them last until the last was due or answered.
    pub seconds: f64,
    /// Whether it was stopped before its end.
    #[serde(default)]
    pub stopped: bool,
    /// Requests that were due in that time, and how many a second that is. In a closed loop what was sent.
    pub due: u64,
    pub due_rate: f64,
    pub outcomes: Outcomes,
    /// Right answers a second: those that came in the measured time, whenever they were due. What came after its end is
    /// left out, so under overload this is what the server does and not what was asked of it.
    pub rate: f64,
    /// Those of `rate` that also met every limit in time that the objective sets to a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub goodput: Option<f64>,
    /// Of right answers, from when the request was due to the end of its answer.
    pub latency: Distribution,
    /// The same from when it was really sent: what a naive tester would report.
    pub from_sent: Distribution,
    /// From when a request was due to when it was sent.
    pub lag: Distribution,
    /// Of requests that were not answered right, from when they were due to when that was known.
    pub failed_latency: Distribution,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streams: Option<Streams>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerSide>,
    /// One a second or so, warm-up included, in order.
    pub windows: Vec<Window>,
    pub limits: Limits,
}

impl Run {
    /// The windows that lie within the measured time: after the warm-up, and not in the wait for the last answers.
    pub fn measured_windows(&self) -> impl Iterator<Item = &Window> {
        let end = self.warmup.seconds + self.seconds + 1e-3;
        self.windows.iter().filter(move |window| !window.warmup && window.start + window.seconds <= end)
    }
}

/// How the load was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadSummary {
    /// In words, as `open, poisson, 200/s` or `closed, 16 callers`.
    pub what: String,
    pub open: bool,
    /// The rate aimed at, where there is just one.
    pub rate: Option<f64>,
    pub callers: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Warmup {
    /// Seconds at the start that were left out.
    pub seconds: f64,
    /// Whether rate and latency had become steady by then. None where a fixed time was asked for and nothing judged.
    pub steady: Option<bool>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    pub ok: u64,
    pub shed: u64,
    pub errors: u64,
    pub timeouts: u64,
    pub wrong: u64,
    pub unsent: u64,
    /// Due and not yet answered when the run was stopped: neither right nor failed, and in none of the other counts, not even
    /// in `due`.
    #[serde(default)]
    pub given_up: u64,
    /// Of `ok` those that met every limit in time that the objective sets to a request. None without an objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub good: Option<u64>,
    /// All that is not `ok`, by what it was called. At most 50 kinds, the rest as `other`.
    pub by_kind: BTreeMap<String, u64>,
    /// What the server said, once for some of these kinds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub samples: BTreeMap<String, String>,
}

impl Outcomes {
    pub fn total(&self) -> u64 {
        self.ok + self.failed()
    }

    /// All that got no right answer.
    pub fn failed(&self) -> u64 {
        self.shed + self.errors + self.timeouts + self.wrong + self.unsent
    }
}

/// Whether at least ten of so many values lie beyond a quantile; with fewer it is the luck of a few. The median always
/// counts.
pub fn supports(count: u64, q: f64) -> bool {
    q <= 0.5 || count as f64 * (1.0 - q) >= 10.0 - 1e-6
}

/// Quantiles, from a histogram of three significant digits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Distribution {
    pub count: u64,
    pub mean: f64,
    pub min: f64,
    pub max: f64,
    /// `(q, value)` by rising q: all of [`QUANTILES`], and enough between them to draw a curve. Empty without a count.
    pub quantiles: Vec<(f64, f64)>,
}

impl Distribution {
    /// The value at a quantile that is in the list, or the next above it.
    pub fn at(&self, q: f64) -> Option<f64> {
        self.quantiles.iter().find(|(at, _)| *at >= q - 1e-9).map(|(_, value)| *value)
    }

    /// Whether its count supports a quantile: see [`supports`].
    pub fn supports(&self, q: f64) -> bool {
        supports(self.count, q)
    }

    /// The value at a quantile that the count supports.
    pub fn supported(&self, q: f64) -> Option<f64> {
        self.at(q).filter(|_| self.supports(q))
    }
}

/// Of answers that came in parts.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Streams {
    /// From when the request was due to the first part with text.
    pub ttft: Distribution,
    /// Between one part with text and the next.
    pub itl: Distribution,
    /// Per request: time from first to last part, by the tokens after the first.
    pub tpot: Distribution,
    pub output_tokens: u64,
    /// A second, of the right answers that came in the measured time.
    pub output_tokens_rate: f64,
    pub prompt_tokens: u64,
    /// Whether the tokens are the server's own count; else each part counts as one.
    pub counted_by_server: bool,
    /// Answers whose tokens are the server's own count.
    #[serde(default)]
    pub answers_counted_by_server: u64,
    /// Answers of which each part was taken for a token.
    #[serde(default)]
    pub answers_counted_by_parts: u64,
}

/// What the server said of itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerSide {
    /// `x-weirgate-overhead-us`, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overhead: Option<Distribution>,
    /// `x-weirgate-revision`: who answered. At most 20, the rest as `other`.
    pub revisions: BTreeMap<String, Revision>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Revision {
    pub answers: u64,
    pub latency: Distribution,
}

/// A stretch of time. What ended in it is counted in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Window {
    /// Seconds since the run began.
    pub start: f64,
    pub seconds: f64,
    pub warmup: bool,
    pub due: u64,
    pub ok: u64,
    pub shed: u64,
    /// Errors, timeouts, wrong answers and requests not sent.
    pub failed: u64,
    /// Of right answers, from when they were due; null where there were none. They may rest on few: `ok` says on how many.
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub max: Option<f64>,
    /// Requests sent and not answered at its end.
    pub in_flight: u64,
    pub output_tokens: u64,
    /// Share of its time that the busiest thread of the load tester was on a core. None where the system doesn't tell.
    #[serde(default)]
    pub client_cpu: Option<f64>,
}

/// How near the load tester was to its own limits.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Limits {
    pub threads: usize,
    /// Share of the time that the busiest thread was on a core. None where the system doesn't tell.
    #[serde(default)]
    pub cpu: Option<f64>,
    /// Share of the time that a thread was ready to run and had no core: others had it. None where the system doesn't tell.
    #[serde(default)]
    pub waited_for_cpu: Option<f64>,
    /// Most that were open at once.
    pub connections: usize,
    /// Opened in all: more than were open at once means that some were closed and replaced.
    #[serde(default)]
    pub opened: u64,
    /// Most requests that were due and had no free connection, at once.
    pub most_waiting: u64,
    /// Why the figures say more of the load tester than of the server, a sentence each. None if they don't.
    pub reached: Vec<String>,
    /// What is worth knowing and makes no figure wrong, a sentence each.
    #[serde(default)]
    pub remarks: Vec<String>,
}

/// A search over rates.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sweep {
    /// By rising rate.
    pub points: Vec<SweepPoint>,
    /// The highest rate that was shown to meet the objective.
    pub best_rate: Option<f64>,
    /// The lowest rate that was shown not to meet it.
    pub failed_rate: Option<f64>,
    /// Where more load stops giving more answers and latency begins to climb.
    pub knee_rate: Option<f64>,
    /// Why it ended, in words.
    pub ended: String,
    /// Whether an error ended it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub broken: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SweepPoint {
    pub rate: f64,
    pub met: bool,
    /// What of the objective was missed, as `p99 81 ms is not below 50 ms`.
    pub missed: Vec<String>,
    pub run: Run,
}

/// Two servers in turn.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Ab {
    /// In pairs by index; which of a pair came first changes.
    pub a: Vec<Run>,
    pub b: Vec<Run>,
    /// B against A, by the name of a figure.
    pub ratios: Vec<Ratio>,
    /// What each missed of the objective in any round, a term each with how often.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed_a: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed_b: Vec<String>,
    /// The error that ended it before all rounds were run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
}

/// One figure of two runs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// As `latency p99`.
    pub figure: String,
    pub unit: String,
    pub a: f64,
    pub b: f64,
    /// b / a: the median over pairs or windows, and their least and greatest.
    pub ratio: f64,
    pub least: f64,
    pub greatest: f64,
    /// Whether a higher value of the figure is the better one.
    pub higher_is_better: bool,
    /// Whether the spread leaves one of them better. None: they can't be told apart.
    pub better: Option<Side>,
}

impl Ratio {
    /// Whether the figure is a share, which may be nothing, so that its ratio is only for judging.
    pub fn is_share(&self) -> bool {
        self.unit == "%"
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    A,
    B,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn quantiles_need_ten_values_beyond() {
        let of = |count| Distribution { count, ..fixture::distribution(count, 1.0, 1.0) };
        assert!(of(1000).supports(0.99) && !of(999).supports(0.99));
        assert!(of(100_000).supports(0.9999) && of(99_000).supported(0.9999).is_none());
        assert_eq!(of(3).supported(0.5), of(3).at(0.5));
    }

    #[test]
    fn the_wait_for_the_last_answers_is_not_measured() {
        let mut run = fixture::run(100.0, 5, 10.0, 1.0, 1);
        assert_eq!(run.measured_windows().count(), 5);
        run.windows.push(Window { start: 8.0, seconds: 1.0, ok: 7, ..Window::default() });
        assert_eq!(run.measured_windows().map(|window| window.start).last(), Some(7.0));
        // One that the wait is a part of is neither.
        run.windows.pop();
        run.windows[7].seconds = 1.3;
        assert_eq!(run.measured_windows().count(), 4);
    }
}
