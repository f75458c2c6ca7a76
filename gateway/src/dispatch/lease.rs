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
use weirgate_router::lane::Waiting;
use weirgate_router::pool::{Because, Considered, Outcome, Wish};
use weirgate_router::Ticket;

use super::lane::{Core, Entry};
use super::remotes::{Ended, Taken};
use super::{Lane, Reservation};

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
    /// When it first entered: what is handed out again keeps its place.
    pub entered: Instant,
    pub grant: oneshot::Sender<Result<Lease>>,
}

/// A slot of a server.
pub struct Lease {
    lane: Arc<Lane>,
    remote: Arc<Remote>,
    because: Because,
    calls: usize,
    entered: Instant,
    taken: Instant,
    /// How it ends, and when that was known. Until then its caller may still go away.
    ends: Option<(Outcome, Instant)>,
    given_back: bool,
}

impl Lease {
    pub(super) fn new(lane: Arc<Lane>, taken: Taken, calls: usize, entered: Instant, now: Instant) -> Lease {
        let Taken { remote, because } = taken;
        Lease { lane, remote, because, calls, entered, taken: now, ends: None, given_back: false }
    }

    pub fn remote(&self) -> &Arc<Remote> {
        &self.remote
    }

    /// Why this server.
    pub fn because(&self) -> Because {
        self.because
    }

    /// When the call entered the lane, the first time.
    pub fn entered(&self) -> Instant {
        self.entered
    }

    pub fn taken(&self) -> Instant {
        self.taken
    }

    /// How long the call has waited for it.
    pub fn queued(&self) -> Duration {
        self.taken.saturating_duration_since(self.entered)
    }

    /// Notes how the call went, as of `now`. What is noted later replaces it, but the time to the first byte stays.
    pub fn ends(&mut self, outcome: Outcome, now: Instant) {
        let at = self.ends.map_or(now, |(_, first)| first);
        self.ends = Some((outcome, at));
    }

    /// Gives the slot back, and has the call wait for another one in its old place.
    pub async fn again(mut self, wanting: Wanting, bytes: usize, deadline: Instant) -> Result<Lease> {
        let (lane, entered) = (self.lane.clone(), self.entered);
        let now = Instant::now();
        let (entry, grant) = Waiter::new(wanting, entered);
        let ticket = {
            // Under one lock: a retired lane must not be found empty in between.
            let mut core = lane.core.lock();
            let mut handed = if let Some(reason) = &core.failed {
                return Err(lane.failed(reason));
            } else {
                let ticket = core.queue.enter_again(waiting(entry, bytes, entered, deadline));
                self.end(&mut core, now);
                let handed = core.hand_out(&lane, now);
                lane.show(&core);
                lane.send_batches_of(&mut core, handed, ticket)
            };
            drop(core);
            handed.0.send();
            handed.1
        };
        Waits { lane, ticket, grant, deadline, settled: false }.lease().await
    }

    fn end(&mut self, core: &mut Core, now: Instant) {
        if std::mem::replace(&mut self.given_back, true) {
            return;
        }
        let (outcome, at) = self.ends.unwrap_or((Outcome::Cancelled, now));
        let since = |at: Instant| at.saturating_duration_since(self.taken);
        let member = self.remote.id;
        let ended = Ended { member, outcome, took: since(at), held: since(now), calls: self.calls };
        if let Some(remotes) = &mut core.remotes {
            remotes.done(&ended, now);
        }
        self.lane.metrics.passed(outcome);
    }
}
