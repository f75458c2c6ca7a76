//! A lease: the slot of a server that a passed call has, from the pick until its answer has ended.
//!
//! A call that finds the queue empty and a server with room has its lease at once, under one short lock. Else it waits in
//! the lane's queue like any other call, and whoever gives a slot back hands it to the next. Dropping a lease gives the slot
//! back, whatever happens to its caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use weirgate_protocol::{Error, Priority, Result, RetryClass};
use weirgate_replicas::Remote;
use weirgate_router::Ticket;
use weirgate_router::lane::Waiting;
use weirgate_router::pool::{Because, Considered, Era, Outcome, Wish};

use super::Lane;
use super::comeback::{Spare, spared_until};
use super::lane::{Core, Entry};
use super::remotes::{Ended, Remotes, Taken};

/// What a passed call would like, kept while it waits.
#[derive(Clone, Debug, Default)]
pub struct Wanting {
    /// Hashes of its prefix, block by block, each with all before it.
    pub prefix: Vec<u64>,
    pub session: Option<u64>,
    /// Servers that have had the call.
    pub avoid: Vec<u64>,
    pub priority: Priority,
}

impl Wanting {
    pub(super) fn as_wish(&self) -> Wish<'_> {
        Wish { prefix: &self.prefix, session: self.session, avoid: &self.avoid }
    }
}

/// A passed call in the queue.
pub(super) struct Waiter {
    pub wanting: Wanting,
    /// How long the servers are spared that it avoids.
    pub spare: Spare,
    /// When it first entered.
    pub entered: Instant,
    pub grant: oneshot::Sender<Result<Lease>>,
}

/// A slot of a server.
pub struct Lease {
    lane: Arc<Lane>,
    remote: Arc<Remote>,
    because: Because,
    era: Era,
    calls: usize,
    entered: Instant,
    taken: Instant,
    /// The call's own; none where several share the slot.
    deadline: Option<Instant>,
    /// How it ends, and when that was first known. Until then its caller may still go away.
    ends: Option<(Outcome, Instant)>,
    given_back: bool,
}

impl Lease {
    pub(super) fn new(lane: Arc<Lane>, taken: Taken, calls: usize, entered: Instant, now: Instant) -> Lease {
        let Taken { remote, because, era } = taken;
        Lease { lane, remote, because, era, calls, entered, taken: now, deadline: None, ends: None, given_back: false }
    }

    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Why this server.
    pub fn because(&self) -> Because {
        self.because
    }

    /// When the slot was taken.
    pub fn taken(&self) -> Instant {
        self.taken
    }

    /// How long the call has waited for it, from when it first entered the lane.
    pub fn queued(&self) -> Duration {
        self.taken.saturating_duration_since(self.entered)
    }

    /// The same lease, of a call with this deadline.
    pub(super) fn until(mut self, deadline: Instant) -> Lease {
        self.deadline = Some(deadline);
        self
    }

    /// Notes how the call went. What is noted later replaces it, but the time to the first byte stays.
    ///
    /// A caller's own deadline that passes without a first byte says nothing of the server, unless calls take much less as a
    /// rule: a server that hangs would be invisible where all callers have short deadlines.
    pub fn ends(&mut self, outcome: Outcome, now: Instant) {
        let late = outcome == Outcome::Cancelled && self.deadline.is_some_and(|deadline| deadline <= now);
        let outcome = if late && self.is_overdue(now) { Outcome::Failed } else { outcome };
        let first = self.ends.map_or(now, |(_, first)| first);
        if self.ends.is_none() && self.because == Because::Probe && outcome == Outcome::Answered {
            let (id, era) = (self.remote.id, self.era);
            self.with_remotes(|remotes| remotes.tried(id, era, now));
            // What waits may go there now, though the answer has not ended.
            self.lane.call_courier(true);
        }
        self.ends = Some((outcome, first));
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let took = now.saturating_duration_since(self.taken);
        self.ends.is_none() && self.with_remotes(|remotes| remotes.is_overdue(took)).unwrap_or(false)
    }

    /// Gives the slot back, and waits for another one at the call's old turn: another server's, or after a pause that of one
    /// that the call avoids. `bytes`: what it holds meanwhile.
    pub async fn again(mut self, wanting: &Wanting, bytes: usize, deadline: Instant) -> Result<Lease> {
        let (lane, entered, now) = (self.lane.clone(), self.entered, Instant::now());
        let asked = match self.ends {
            Some((Outcome::Overloaded { retry_after }, _)) => retry_after,
            _ => None,
        };
        let spare = Spare::Until(spared_until(wanting.avoid.len(), asked, deadline, now));
        let (waiter, granted) = Waiter::new(wanting.clone(), spare, entered);
        let ticket = {
            // Under one lock: a retired lane must not be found empty in between.
            let mut core = lane.core.lock();
            if let Some(reason) = &core.failed {
                let error = lane.failed(reason);
                drop(core);
                return Err(error);
            }
            let ticket = core.queue.put_back(waiter.waits(bytes, deadline), None);
            self.give_back(&mut core, now);
            lane.hand_out(core, now);
            ticket
        };
        Waits { lane, ticket, granted, deadline, settled: false }.lease().await
    }

    /// A slot of another server for the same call, if one has room and nobody waits.
    pub fn second(&self, wanting: &Wanting, now: Instant) -> Option<Lease> {
        let lane = self.lane.clone();
        let mut core = self.lane.core.lock();
        let Core { queue, remotes: Some(remotes), .. } = &mut *core else { return None };
        if queue.waiting() > 0 {
            return None;
        }
        let taken = remotes.take(&wanting.as_wish(), Spare::Always, 1, now)?;
        let mut lease = Lease::new(lane, taken, 1, now, now);
        lease.deadline = self.deadline;
        self.lane.show(&core);
        Some(lease)
    }

    /// A slot of any server for the same call, another one as a rule, if one has room and nobody waits.
    pub fn at_once(&self, wanting: &Wanting, now: Instant) -> Option<Lease> {
        let mut core = self.lane.core.lock();
        let Core { queue, remotes: Some(remotes), .. } = &mut *core else { return None };
        if queue.waiting() > 0 {
            return None;
        }
        let taken = remotes.take(&wanting.as_wish(), Spare::Until(now), 1, now)?;
        let mut lease = Lease::new(self.lane.clone(), taken, 1, now, now);
        lease.deadline = self.deadline;
        self.lane.show(&core);
        Some(lease)
    }

    /// Whether the call may be repeated though it may have been executed, within the budget of its lane.
    pub fn may_repeat(&self, now: Instant) -> bool {
        self.with_remotes(|remotes| remotes.repeats.withdraw(now)).unwrap_or(false)
    }

    /// After how long a second server is to be asked, if one is.
    pub fn hedge_after(&self, now: Instant) -> Option<Duration> {
        self.with_remotes(|remotes| remotes.hedge.delay(now)).flatten()
    }

    /// Whether a second server may be asked now.
    pub fn may_hedge(&self, now: Instant) -> bool {
        self.with_remotes(|remotes| remotes.hedge.fire(now)).unwrap_or(false)
    }

    /// How long the server has had the call when it was answered, by whomever: what hedging learns from.
    pub fn had(&self, took: Duration) {
        self.with_remotes(|remotes| remotes.hedge.answered(took));
    }

    /// What the server was picked among, as it is now.
    pub fn considered(&self, wanting: &Wanting, now: Instant) -> Vec<(Arc<str>, Considered)> {
        self.with_remotes(|remotes| remotes.considered(&wanting.as_wish(), now)).unwrap_or_default()
    }

    pub fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    fn with_remotes<T>(&self, look: impl FnOnce(&mut Remotes) -> T) -> Option<T> {
        self.lane.core.lock().remotes.as_mut().map(look)
    }

    fn give_back(&mut self, core: &mut Core, now: Instant) {
        if std::mem::replace(&mut self.given_back, true) {
            return;
        }
        let since = |at: Instant| at.saturating_duration_since(self.taken);
        let (outcome, at) = self.ends.unwrap_or((Outcome::Cancelled, now));
        let (member, era, calls) = (self.remote.id, self.era, self.calls);
        if let Some(remotes) = &mut core.remotes {
            remotes.done(&Ended { member, era, outcome, took: since(at), held: since(now), calls }, now);
        }
        self.lane.metrics.passed(outcome);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.given_back {
            let (lane, now) = (self.lane.clone(), Instant::now());
            let mut core = lane.core.lock();
            self.give_back(&mut core, now);
            lane.hand_out(core, now);
        }
    }
}

impl Waiter {
    pub(super) fn new(wanting: Wanting, spare: Spare, entered: Instant) -> (Waiter, oneshot::Receiver<Result<Lease>>) {
        let (grant, granted) = oneshot::channel();
        (Waiter { wanting, spare, entered, grant }, granted)
    }

    pub(super) fn turn_away(self, error: Error) {
        // Where nobody waits any more, nobody needs to know.
        drop(self.grant.send(Err(error)));
    }

    pub(super) fn waits(self, bytes: usize, deadline: Instant) -> Waiting<Entry> {
        let (priority, entered) = (self.wanting.priority, self.entered);
        Waiting { rows: 1, bytes, priority, entered, deadline, item: Entry::Pass(self) }
    }
}

/// A passed call that waits. Dropping it takes it out of the queue, or gives back what it was handed meanwhile.
pub(super) struct Waits {
    pub lane: Arc<Lane>,
    pub ticket: Ticket,
    pub granted: oneshot::Receiver<Result<Lease>>,
    pub deadline: Instant,
    pub settled: bool,
}

impl Waits {
    pub async fn lease(mut self) -> Result<Lease> {
        let granted = tokio::time::timeout_at(self.deadline.into(), &mut self.granted).await;
        self.settled = granted.is_ok();
        match granted {
            Ok(Ok(lease)) => lease,
            Ok(Err(_)) => Err(Error::internal("the call left the queue without a server")),
            Err(_) => {
                let text = "the deadline passed while the call was in the queue";
                Err(Error::deadline(text, RetryClass::NotExecuted))
            }
        }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        if !self.settled {
            let queued = self.lane.withdraw(self.ticket);
            if Instant::now() < self.deadline {
                self.lane.metrics.abandoned(queued.is_some());
            }
        }
    }
}
