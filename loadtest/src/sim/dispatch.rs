//! What a gateway's lane does around the queue and the batch former: it refuses what can't be in time, knows which engines
//! are idle, and says whom a new call wakes.

use std::time::{Duration, Instant};

use weirgate_protocol::Signature;
use weirgate_replicas_core::{BatchPolicy, Candidate, CloseReason, CostModel, Decision, form};
use weirgate_router::lane::Waiting;
use weirgate_router::{Lane, LaneLimits, Ticket};

use super::scenario::Call;

/// What waits: a call's number, and its signature.
pub(super) struct Item {
    pub(super) id: usize,
    signature: Option<Signature>,
    length: Option<usize>,
}

/// An engine with nothing to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct Idle {
    pub(super) engine: usize,
    /// It waits for company for the oldest call, until then.
    pub(super) until: Option<Instant>,
}

pub(super) struct Dispatch {
    pub(super) lane: Lane<Item>,
    pub(super) cost: CostModel,
    pub(super) idle: Vec<Idle>,
    /// Counts what the cost model has learned.
    pub(super) learned: u64,
    /// Batches that run, and their bytes.
    running: (usize, usize),
    policy: BatchPolicy,
    engines: usize,
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
        let (lane, cost) = (Lane::new(limits), CostModel::default());
        Dispatch { lane, cost, idle: Vec::new(), learned: 0, running: (0, 0), policy, engines }
    }

    pub(super) fn admit(&mut self, announced: usize, deadline: Instant, now: Instant) -> Result<(), Refusal> {
        let wait = self.predicted_wait(announced);
        if wait > deadline.saturating_duration_since(now) {
            return Err(Refusal::Late(wait));
        }
        self.lane.reserve(announced).map_err(|full| Refusal::Full(format!("{full:?}")))
    }

    /// When a call that comes now will have its answer: after what runs, what waits, and its own run. Without the first
    /// and the last, a lane under overload fills with calls that are let in and then all come a little too late.
    fn predicted_wait(&self, announced: usize) -> Duration {
        let (running, running_bytes) = self.running;
        if self.lane.rows() == 0 && running < self.engines {
            return Duration::ZERO;
        }
        let batches = (self.lane.rows() + 1).div_ceil(self.policy.max_rows.max(1)) + running;
        let bytes = self.lane.waiting_bytes() + announced + running_bytes;
        let work = self.cost.drain(batches, bytes).unwrap_or_default();
        work / u32::try_from(self.engines).unwrap_or(u32::MAX)
    }

    /// Lets a call enter.
    pub(super) fn enter(&mut self, id: usize, call: &Call, reserved: usize, deadline: Instant, now: Instant) -> Ticket {
        let signature = call.shape.map(|shape| Signature(Box::new([shape])));
        let item = Item { id, signature, length: call.length };
        let waiting = Waiting { item, rows: call.rows, bytes: call.bytes, entered: now, deadline };
        self.lane.enter(reserved, waiting)
    }

    /// Calls that idle engines should look at, one each.
    pub(super) fn calls_to_show(&self) -> usize {
        self.lane.waiting().min(self.idle.len())
    }

    /// Whether an engine waits for company: it may be for a call that has just left, and another one has less time.
    pub(super) fn lingers(&self) -> bool {
        self.idle.iter().any(|idle| idle.until.is_some())
    }

    /// The idle engines that shall look at the lane now.
    pub(super) fn wake(&mut self, now: Instant) -> Vec<usize> {
        (0..self.calls_to_show()).filter_map(|_| self.engine_to_wake(now)).collect()
    }

    fn engine_to_wake(&mut self, now: Instant) -> Option<usize> {
        let Some(index) = self.idle.iter().position(|idle| idle.until.is_some()) else {
            return self.idle.pop().map(|idle| idle.engine);
        };
        let sooner = match self.decide(now) {
            Decision::Take { .. } => true,
            // A call may leave less time than the engine means to wait.
            Decision::Wait(until) => self.idle[index].until.is_some_and(|armed| until < armed),
            Decision::Empty => false,
        };
        sooner.then(|| self.idle.swap_remove(index).engine)
    }

    pub(super) fn decide(&self, now: Instant) -> Decision<Ticket> {
        let waiting = self.lane.iter().map(|(ticket, call)| {
            let candidate = Candidate {
                rows: call.rows,
                bytes: call.bytes,
                signature: call.item.signature.as_ref(),
                length: call.item.length,
                entered: call.entered,
                deadline: call.deadline,
            };
            (ticket, candidate)
        });
        form(&self.policy, &self.cost, now, waiting)
    }

    /// A free engine asks for its next batch.
    pub(super) fn pull(&mut self, engine: usize, now: Instant) -> Pull {
        self.idle.retain(|idle| idle.engine != engine);
        match self.decide(now) {
            Decision::Take { keys, reason } => {
                let calls: Vec<Waiting<Item>> = keys.into_iter().filter_map(|key| self.lane.remove(key)).collect();
                self.running.0 += 1;
                let bytes = padded(&calls);
                self.running.1 += bytes;
                Pull::Took { calls, bytes, reason }
            }
            Decision::Wait(until) => {
                self.idle.push(Idle { engine, until: Some(until) });
                Pull::Until(until)
            }
            Decision::Empty => {
                self.idle.push(Idle { engine, until: None });
                Pull::Empty
            }
        }
    }

    /// A batch ended; `took` is how long it ran, unless it was stopped.
    pub(super) fn ran(&mut self, bytes: usize, took: Option<Duration>) {
        self.running.0 -= 1;
        self.running.1 -= bytes;
        if let Some(took) = took {
            self.cost.observe(bytes, took);
            self.learned += 1;
        }
    }
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
