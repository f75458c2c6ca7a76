//! The lane as the simulation has it: the very queue and dispatch core that serve, with calls that are numbers.

use std::time::{Duration, Instant};

use weirgate_protocol::Signature;
use weirgate_replicas_core::{Backlog, BatchPolicy, Candidate, CloseReason, Decision, form};
use weirgate_router::lane::Waiting;
use weirgate_router::{Lane, LaneLimits, Ticket};

use super::scenario::Call;

/// What waits: a call's number, and its signature.
pub(super) struct Item {
    pub(super) id: usize,
    signature: Option<Signature>,
    length: Option<usize>,
}

pub(super) struct Dispatch {
    pub(super) lane: Lane<Item>,
    core: weirgate_replicas_core::Dispatch<usize>,
    /// Counts what the cost model has learned.
    pub(super) learned: u64,
    policy: BatchPolicy,
}

/// Why a call was not admitted, for the history.
pub(super) enum Refusal {
    Full(String),
    /// The predicted wait passes its deadline.
    Late(Duration),
}

/// What a free engine is told.
pub(super) enum Pull {
    /// `bytes` with padding.
    Took {
        calls: Vec<Waiting<Item>>,
        bytes: usize,
        reason: CloseReason,
    },
    Until(Instant),
    Empty,
}

impl Dispatch {
    pub(super) fn new(limits: LaneLimits, policy: BatchPolicy, engines: usize) -> Dispatch {
        let mut core = weirgate_replicas_core::Dispatch::default();
        core.set_engines(engines);
        Dispatch { lane: Lane::new(limits), core, learned: 0, policy }
    }

    pub(super) fn admit(&mut self, announced: usize, deadline: Instant, now: Instant) -> Result<(), Refusal> {
        let backlog = Backlog { calls: self.lane.waiting(), rows: self.lane.rows(), bytes: self.lane.waiting_bytes() };
        let wait = self.core.predicted_wait(backlog, announced);
        if wait > deadline.saturating_duration_since(now) {
            return Err(Refusal::Late(wait));
        }
        self.lane.reserve(announced).map_err(|full| Refusal::Full(format!("{full:?}")))
    }

    /// Lets a call enter.
    pub(super) fn enter(&mut self, id: usize, call: &Call, reserved: usize, deadline: Instant, now: Instant) -> Ticket {
        let signature = call.shape.map(|shape| Signature { version: None, dims: Box::new([shape]) });
        let item = Item { id, signature, length: call.length };
        let Call { rows, bytes, priority, .. } = *call;
        let waiting = Waiting { item, rows, bytes, priority, entered: now, deadline };
        self.lane.enter(reserved, waiting)
    }

    /// Calls that idle engines should look at, one each.
    pub(super) fn calls_to_show(&self) -> usize {
        self.core.to_show(self.lane.waiting())
    }

    /// Whether an engine waits for company: it may be for a call that has just left, and another one has less time.
    pub(super) fn lingers(&self) -> bool {
        self.core.lingers()
    }

    /// Engines that are idle, and when the first of them looks again by itself.
    pub(super) fn idle(&self) -> (usize, Option<Instant>) {
        (self.core.idle(), self.core.looks_again())
    }

    /// The idle engines that shall look at the lane now.
    pub(super) fn wake(&mut self, now: Instant) -> Vec<usize> {
        self.core.wake(now, self.lane.waiting(), || candidates(&self.lane))
    }

    /// What an engine would be told now.
    pub(super) fn decide(&self, now: Instant) -> Decision<Ticket> {
        form(&self.policy, self.core.cost(), now, candidates(&self.lane))
    }

    /// A free engine asks for its next batch.
    pub(super) fn pull(&mut self, engine: usize, now: Instant) -> Pull {
        match self.core.pull(&engine, &self.policy, now, candidates(&self.lane)) {
            Decision::Take { keys, reason } => {
                let calls: Vec<Waiting<Item>> = keys.into_iter().filter_map(|key| self.lane.remove(key)).collect();
                let own = calls.iter().map(|call| call.bytes).sum();
                self.core.took(&engine, calls.len(), own);
                let bytes = padded(&calls);
                Pull::Took { calls, bytes, reason }
            }
            Decision::Wait(until) => Pull::Until(until),
            Decision::Empty => Pull::Empty,
        }
    }

    /// A batch ended; `took` is how long it ran, unless it was stopped.
    pub(super) fn ran(&mut self, engine: usize, bytes: usize, took: Option<Duration>) {
        self.core.done(&engine, took.map(|took| (bytes, took)));
        self.learned += u64::from(took.is_some());
    }
}

fn candidates(lane: &Lane<Item>) -> impl Iterator<Item = (Ticket, Candidate<'_>)> {
    lane.iter().map(|(ticket, call)| {
        let candidate = Candidate {
            rows: call.rows,
            bytes: call.bytes,
            signature: call.item.signature.as_ref(),
            length: call.item.length,
            entered: call.entered,
            deadline: call.deadline,
        };
        (ticket, candidate)
    })
}

/// The bytes that an engine is given: every row is as long as the longest.
fn padded(calls: &[Waiting<Item>]) -> usize {
    let longest = calls.iter().filter_map(|call| call.item.length).max();
    let bytes = |call: &Waiting<Item>| match (longest, call.item.length) {
        (Some(longest), Some(length)) => call.bytes / length * longest,
        _ => call.bytes,
    };
    calls.iter().map(bytes).sum()
}
