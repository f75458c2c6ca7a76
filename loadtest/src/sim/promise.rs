//! What must hold: at each step, for each batch, and in the end.

use std::fmt;
use std::time::{Duration, Instant};

use weirgate_replicas_core::{BatchPolicy, CloseReason, Decision};
use weirgate_router::Lane;
use weirgate_router::lane::Waiting;

use super::dispatch::{Dispatch, Item};

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answered,
    /// The lane was full, or the call could not have been in time.
    Refused,
    /// Its caller left.
    Cancelled,
    /// Its deadline passed first.
    Expired,
}

/// A broken promise, and the history that led to it.
#[derive(Clone, Debug)]
pub struct Violation {
    pub seed: u64,
    pub what: String,
    /// The last steps.
    pub history: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\nrun it again with WEIRGATE_SEED={}; the last steps were", self.what, self.seed)?;
        self.history.iter().try_for_each(|step| writeln!(f, "  {step}"))
    }
}

impl std::error::Error for Violation {}

/// What a history came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub answered: usize,
    pub refused: usize,
    pub cancelled: usize,
    pub expired: usize,
    pub batches: usize,
    /// Calls and rows that engines ran.
    pub ran: usize,
    pub rows: usize,
    /// Batches by why they closed, in the order of [`CloseReason::ALL`].
    pub closed: [usize; 4],
    /// How long each call that was run had waited in the lane.
    pub waits: Vec<Duration>,
    /// From the first arrival to the last end.
    pub took: Duration,
}

impl Summary {
    pub fn mean_batch(&self) -> f64 {
        self.ran as f64 / self.batches.max(1) as f64
    }

    pub fn longest_wait(&self) -> Duration {
        self.waits.iter().copied().max().unwrap_or_default()
    }

    pub fn closed_for(&self, reason: CloseReason) -> usize {
        CloseReason::ALL.iter().position(|known| *known == reason).map_or(0, |index| self.closed[index])
    }

    pub(super) fn ended(&mut self, fate: Fate) {
        match fate {
            Fate::Answered => self.answered += 1,
            Fate::Refused => self.refused += 1,
            Fate::Cancelled => self.cancelled += 1,
            Fate::Expired => self.expired += 1,
        }
    }

    pub(super) fn took_batch(&mut self, calls: &[Waiting<Item>], reason: CloseReason, now: Instant) {
        self.batches += 1;
        self.ran += calls.len();
        self.rows += calls.iter().map(|call| call.rows).sum::<usize>();
        if let Some(index) = CloseReason::ALL.iter().position(|known| *known == reason) {
            self.closed[index] += 1;
        }
        self.waits.extend(calls.iter().map(|call| now - call.entered));
    }
}

/// The lane never holds more than it may, but for one call that is larger than all its room.
pub(super) fn bounds(lane: &Lane<Item>, calls_with_bytes: impl FnOnce() -> usize) -> Result<(), String> {
    let limits = lane.limits();
    if lane.held() > limits.max_calls {
        return Err(format!("the lane holds {} calls, its limit is {}", lane.held(), limits.max_calls));
    }
    if lane.bytes() > limits.max_bytes && calls_with_bytes() > 1 {
        return Err(format!("the lane holds {} bytes, its limit is {}", lane.bytes(), limits.max_bytes));
    }
    Ok(())
}

/// No engine idles while a call waits that could still be in time, but to wait for company as asked to. `waking` engines
/// are about to look.
pub(super) fn nobody_waits_beside_an_idle_engine(
    dispatch: &Dispatch,
    waking: usize,
    armed_at: Option<u64>,
    now: Instant,
) -> Result<(), String> {
    let (idle, armed) = dispatch.idle();
    if waking > 0 || idle == 0 {
        return Ok(());
    }
    match (dispatch.decide(now), armed) {
        (Decision::Empty, _) => Ok(()),
        (decision, None) => Err(format!("{idle} engines idle, and none looks again: {decision:?}")),
        // What was learned since may have moved the latest start; the engine will look when it meant to.
        _ if armed_at != Some(dispatch.learned) => Ok(()),
        (Decision::Take { reason, .. }, Some(_)) => {
            Err(format!("a batch that closed as {} waits beside an idle engine", reason.label()))
        }
        (Decision::Wait(until), Some(armed)) if armed > until => {
            Err(format!("an engine looks again {:?} after the latest start", armed - until))
        }
        (Decision::Wait(_), Some(_)) => Ok(()),
    }
}

/// A batch is led by the first call in time, has no late call, and is within its bounds.
pub(super) fn batch(
    calls: &[Waiting<Item>],
    first: Option<usize>,
    reason: CloseReason,
    policy: &BatchPolicy,
    shape: impl Fn(usize) -> Option<usize>,
    now: Instant,
) -> Result<(), String> {
    let Some(lead) = calls.first() else { return Err("a batch is empty".to_owned()) };
    if Some(lead.item.id) != first {
        return Err(format!("call {} leads, but it is the turn of {first:?}", lead.item.id));
    }
    if let Some(late) = calls.iter().find(|call| call.deadline <= now) {
        return Err(format!("call {} is run after its deadline", late.item.id));
    }
    let rows: usize = calls.iter().map(|call| call.rows).sum();
    if calls.len() > 1 && (rows > policy.max_rows || calls.len() > policy.max_calls) {
        return Err(format!("a batch of {} calls with {rows} rows passes {policy:?}", calls.len()));
    }
    let common = shape(lead.item.id);
    if calls.len() > 1 && (common.is_none() || calls.iter().any(|call| shape(call.item.id) != common)) {
        return Err("a batch mixes shapes".to_owned());
    }
    let waited = now - lead.entered;
    if reason == CloseReason::Latency && (policy.linger.is_zero() || waited < policy.linger) {
        return Err(format!("a batch closed for its latency after {waited:?}"));
    }
    Ok(())
}
