//! What an engine tells as it happens, and its numbers.

use std::time::Duration;

use weirgate_replicas_core::tokens::Stats;

use super::answer::Finished;

/// Whoever is told what happens, for metrics and logs. All is called on the engine's thread: it must not wait.
pub trait TextObserver: Send + Sync {
    /// A sequence got its first token, so long after it arrived.
    fn first_token(&self, _since_arrival: Duration) {}

    /// A sequence got another token, so long after the one before.
    fn token(&self, _since_last: Duration) {}

    /// A generation ended.
    fn finished(&self, _finished: &Finished) {}

    /// A step was computed, and its tokens were drawn.
    fn step(&self, _report: &StepReport) {}

    /// Where the engine stands: after each step, and when sequences came or went.
    fn stands(&self, _stats: &TextStats) {}

    /// A step failed, and its sequences with it. The engine goes on.
    fn step_failed(&self, _reason: &str) {}
}

/// Nobody is told.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl TextObserver for Unobserved {}

/// What one step was and took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepReport {
    pub rows: usize,
    pub tokens: usize,
    /// Tokens that were drawn.
    pub samples: usize,
    /// Of the network and of drawing, without planning and delivering.
    pub took: Duration,
    /// The part of it that drawing took.
    pub sampling: Duration,
}

/// Where an engine stands, as of its last step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextStats {
    /// Sequences that the engine's thread has not seen yet; they come on top of those that wait.
    pub submitted: usize,
    /// Those that wait and run, the blocks of keys and values, and what was counted.
    pub scheduler: Stats,
    /// Blocks that there are, tokens of a block, and bytes of one.
    pub blocks: usize,
    pub block_tokens: usize,
    pub block_bytes: usize,
    /// Steps that were computed.
    pub steps: u64,
    /// Rows of these, and their tokens.
    pub rows: u64,
    pub tokens: u64,
}
