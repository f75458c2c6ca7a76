//! Which of several servers gets a call: the least loaded of all where they are few, else of some drawn at random, among
//! those that may be asked.
//!
//! ```text
//! servers   the pool: what is picked, and what is learned from how calls end
//! members   where each member stands, in sets that a pick draws from
//! load      running × peak EWMA of the latency, with a penalty for failing fast
//! breaker   per member: consecutive failures, a windowed rate, half-open probes
//! ejection  outliers are set aside, never more than a part of all
//! prefix    affinity by prefixes, bounded in bytes; session, by consistent hashing
//! budget    how much may be retried; hedge: when to ask a second member
//! ```
//!
//! What is decided in which order: a member whose breaker is half open is tried by the next call that has not failed
//! elsewhere. Then the longest known prefix, then the session, each unless the imbalance guard objects. Then load, where an
//! idle member goes before a busy one. Where no breaker is closed no member is asked: calls wait for the first to become
//! half open, and the pick says when that is.
//!
//! The pool knows members by number. It is told what was taken and how it ended; it reads no clock.

mod blocks;
mod breaker;
mod budget;
mod config;
mod ejection;
mod hedge;
mod load;
mod members;
mod number_hash;
mod prefix;
mod random;
mod servers;
mod session;
mod set;
mod window;

use std::time::{Duration, Instant};

pub use self::blocks::{MAX_BLOCKS, prefix_hashes};
pub use self::budget::{Budget, BudgetConfig};
pub use self::config::{AffinityConfig, BalanceConfig, BreakerConfig, EjectionConfig, PoolConfig};
pub use self::hedge::{Hedge, HedgeConfig};
pub use self::servers::Pool;
pub use self::session::session_hash;

/// A server, by the number its owner gave it.
pub type Member = u64;

/// What a call would like.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// Hashes of the call's prefix, block by block, each with all before it; empty: no prefix.
    pub prefix: &'a [u64],
    /// Calls with one value like to stay together.
    pub session: Option<u64>,
    /// Members that have this call already, or had it. They are not picked as long as any other member stays, whatever its
    /// state; so before hedging ask whether there is another at all.
    pub avoid: &'a [Member],
}

/// What a pick gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pick {
    /// It counts as running there from now on; say how it ends by [`Pool::done`], with the era.
    Taken { member: Member, because: Because, era: Era },
    /// No member may be asked now. At this instant one may, if nothing happens before.
    None { again: Option<Instant> },
}

/// When a call was picked, as the breaker of its member counts time. A breaker learns from calls of its own era alone: those
/// from before it opened, which may end one by one for minutes, tell nothing of how the member is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Era(u32);

/// Why a member was picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// The only one with room.
    Only,
    /// The least loaded of those compared.
    Load,
    /// It has seen so many blocks of the prefix.
    Prefix { blocks: usize },
    /// The session belongs to it.
    Session,
    /// Its breaker is half open, and this call tries it.
    Probe,
}

/// How a call ended at a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Also by a 4xx but 429: the server works.
    Answered,
    /// A 5xx, a reset, something that is no answer.
    Failed,
    /// It is alive and has no room: 429 or 503, with what its `Retry-After` said.
    Overloaded { retry_after: Option<Duration> },
    /// It was not executed there: nothing listens, or the connection broke before anything was sent. Counts as a failure.
    NotExecuted,
    /// Its caller left without an answer. That is no failure, but an answer would have taken longer than this.
    Cancelled,
}

/// Where a member stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may be asked.
    In,
    /// It takes no more calls and will leave.
    Draining,
    /// Its breaker is open; `until` then, one call may try it.
    Open { until: Instant },
    /// Its breaker is half open: one call at a time tries it.
    HalfOpen,
    /// Set aside for doing much worse than the others.
    Ejected { until: Instant },
}

/// A member, for metrics and explanations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MemberState {
    pub standing: Standing,
    pub running: usize,
    pub slots: usize,
    /// The peak EWMA of the time to its first byte.
    pub latency: Duration,
    /// What its failures count as, on top of the latency.
    pub penalty: Duration,
}

/// A member as a pick weighs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Considered {
    pub member: Member,
    pub state: MemberState,
    /// What is compared, in seconds: less is better.
    pub load: f64,
    /// Blocks of the wish's prefix that it has seen.
    pub blocks: usize,
}
