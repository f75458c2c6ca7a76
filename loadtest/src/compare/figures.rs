//! What is compared of two runs, and which way is better.

use crate::result::{Distribution, Run};

/// A figure of a run.
pub struct Figure {
    pub name: &'static str,
    pub unit: &'static str,
    pub higher_is_better: bool,
    /// None where the run doesn't have it, or too few values to tell.
    pub value: fn(&Run) -> Option<f64>,
    /// What ratios are taken of, where that is not the value itself.
    pub compared: fn(&Run) -> Option<f64>,
}

const fn time(name: &'static str, value: fn(&Run) -> Option<f64>) -> Figure {
    Figure { name, unit: "ms", higher_is_better: false, value, compared: value }
}

const fn rate(name: &'static str, value: fn(&Run) -> Option<f64>) -> Figure {
    Figure { name, unit: "/s", higher_is_better: true, value, compared: value }
}

pub const NOT_RIGHT: &str = "not answered right";

/// All of them, in the order they are told.
pub const FIGURES: [Figure; 14] = [
    rate("right answers", |run| finite(run.rate)),
    rate("goodput", |run| finite(run.goodput?)),
    time("latency p50", |run| at(&run.latency, 0.5)),
    time("latency p90", |run| at(&run.latency, 0.9)),
    time("latency p99", |run| at(&run.latency, 0.99)),
    time("latency p99.9", |run| at(&run.latency, 0.999)),
    time("latency mean", |run| positive(run.latency.mean)),
    Figure {
        name: NOT_RIGHT,
        unit: "%",
        higher_is_better: false,
        value: |run| Some(failed(run)?.0 * 100.0),
        compared: |run| Some(failed(run)?.1),
    },
    time("TTFT p50", |run| at(&run.streams.as_ref()?.ttft, 0.5)),
    time("TTFT p99", |run| at(&run.streams.as_ref()?.ttft, 0.99)),
    time("ITL p50", |run| at(&run.streams.as_ref()?.itl, 0.5)),
    time("ITL p99", |run| at(&run.streams.as_ref()?.itl, 0.99)),
    rate("output tokens", |run| finite(run.streams.as_ref()?.output_tokens_rate)),
    time("server's own time p50", |run| at(run.server.as_ref()?.overhead.as_ref()?, 0.5)),
];

/// A quantile that enough values lie beyond.
fn at(distribution: &Distribution, q: f64) -> Option<f64> {
    distribution.supported(q).and_then(positive)
}

/// A rate may be zero: that is a server that answered nothing.
fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// A time of zero says nothing.
fn positive(value: f64) -> Option<f64> {
    (value.is_finite() && value > 0.0).then_some(value)
}

/// The share that failed, and the share that ratios are taken of: half a failure is added, so that a run without one can be
/// compared with a run with one.
fn failed(run: &Run) -> Option<(f64, f64)> {
    let (failed, total) = (run.outcomes.failed() as f64, run.outcomes.total() as f64);
    (total > 0.0).then(|| (failed / total, (failed + 0.5) / (total + 1.0)))
}
