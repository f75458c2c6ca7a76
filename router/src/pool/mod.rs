//! Which of several servers gets a call: power of two choices on load, among those that may be asked.
//!
//! ```text
//! balance   running × peak EWMA of the latency, with a penalty for failing fast
//! breaker   per member: consecutive failures, a windowed rate, half-open probes
//! ejection  outliers are set aside, never more than a part of all
//! affinity  prefixes and sessions, bounded in bytes, and given up where they make the load uneven
//! ```
//!
//! The pool knows members by number. It is told what was taken and how it ended; it reads no clock.

use std::time::{Duration, Instant};

/// A server, by the number its owner gave it.
pub type Member = u64;

/// What a call would like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// Hashes of the call's prefix, block by block, each with all before it; empty: no prefix.
    pub prefix: &'a [u64],
    /// Calls with one value like to stay together.
    pub session: Option<u64>,
    /// Members that have this call already, or had it.
    pub avoid: &'a [Member],
}

/// What a pick gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pick {
    /// It counts as running there from now on; say how it ends by [`Pool::done`].
    Taken { member: Member, because: Because },
    /// No member may be asked now. At this instant one may, if nothing happens before.
    None { again: Option<Instant> },
}

/// Why a member was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The only one with room.
    Only,
    /// The less loaded of two.
    Load,
    Prefix {
        blocks: usize,
    },
    Session,
    /// Its breaker is half open, and this call tries it.
    Probe,
}

/// How a call ended at a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    /// A 5xx, a reset, something that is no answer.
    Failed,
    /// 429 or 503, with what its `Retry-After` said.
    Overloaded {
        retry_after: Option<Duration>,
    },
    /// It was not executed there.
    NotExecuted,
    /// Its caller left: nothing is learned.
    Cancelled,
}
