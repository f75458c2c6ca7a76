//! What an engine tells as it happens, and its numbers.

use std::time::Duration;

use weirgate_protocol::Error;

use super::answer::EmbedTiming;

/// Whoever is told what happens, for metrics and logs. It must not wait: calls are held up meanwhile.
pub trait EmbedObserver: Send + Sync {
    /// A call ended.
    fn finished(&self, _ended: &Ended) {}

    /// A run was computed.
    fn run(&self, _report: &RunReport) {}

    /// A run failed. Its texts are tried again one by one, and the engine goes on.
    fn run_failed(&self, _reason: &str) {}
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl EmbedObserver for Unobserved {}

/// How a call ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// None where it was answered.
    pub error: Option<Error>,
    pub texts: usize,
    pub tokens: usize,
    pub timing: EmbedTiming,
}

impl Ended {
    /// Value of the `reason` label: `ok`, or the error's code.
    pub fn label(&self) -> &'static str {
        self.error.as_ref().map_or("ok", |error| error.code().row().label)
    }
}

/// What one run was and took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunReport {
    pub calls: usize,
    pub texts: usize,
    pub tokens: usize,
    /// Tokens that were computed: with padding, where there is some.
    pub computed: usize,
    pub took: Duration,
}

/// Where an engine stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbedStats {
    /// Calls that are not answered yet.
    pub calls: usize,
    /// All texts of these.
    pub waiting_texts: usize,
    /// Tokens of those that wait.
    pub waiting_tokens: usize,
    /// Runs that were computed, their texts and tokens, and how many tokens these were with padding.
    pub runs: u64,
    pub texts: u64,
    pub tokens: u64,
    pub computed: u64,
    pub failed_runs: u64,
}
