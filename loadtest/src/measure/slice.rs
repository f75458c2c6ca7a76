//! One thread's part of a window.

use std::time::Duration;

use super::cpu::Cpu;
use super::histogram::Histogram;

/// What ended in the window is counted in it; `due` counts what was due in it.
#[derive(Clone, Debug)]
pub struct Slice {
    pub thread: usize,
    /// Of the window, from zero.
    pub index: u64,
    /// Of the last one of a run what it had of its window.
    pub length: Duration,
    pub due: u64,
    pub ok: u64,
    pub shed: u64,
    /// Errors, timeouts, wrong answers and requests not sent.
    pub failed: u64,
    /// Of right answers, from when they were due.
    pub latency: Histogram,
    /// At its end.
    pub in_flight: u64,
    pub most_waiting: u64,
    pub output_tokens: u64,
    /// What the thread had of the cores in it. None where the system doesn't tell.
    pub cpu: Option<Cpu>,
}

impl Slice {
    pub fn new(thread: usize, index: u64, length: Duration) -> Slice {
        Slice {
            thread,
            index,
            length,
            due: 0,
            ok: 0,
            shed: 0,
            failed: 0,
            latency: Histogram::coarse(),
            in_flight: 0,
            most_waiting: 0,
            output_tokens: 0,
            cpu: None,
        }
    }

    /// Whether nothing was due and nothing ended in it.
    pub fn is_empty(&self) -> bool {
        self.due + self.ok + self.shed + self.failed == 0
    }
}
