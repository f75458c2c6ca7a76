//! A caller's place in a lane: reserved before its body is read, used once, given back when dropped.

use std::sync::Arc;
use std::time::Instant;

use weirgate_protocol::{Call, Error, Priority, Result, RetryClass};
use weirgate_replicas::{Along, Answer, Job, Parts};
use weirgate_router::Ticket;

use super::comeback::Spare;
use super::lane::{Core, Entry};
use super::lease::{Waiter, Waits};
use super::{Lane, Lease, Trail, Wanting};

/// A call for tensors, as it enters its lane.
pub struct Submission {
    pub call: Call,
    /// What goes to a server with it.
    pub along: Along,
    /// Executing it twice does no harm.
    pub repeats: bool,
    /// Where the servers are noted that have it; none for engines of this process.
    pub trail: Option<Arc<Trail>>,
}

/// A place in a lane.
pub struct Reservation {
    lane: Arc<Lane>,
    bytes: usize,
    priority: Priority,
    used: bool,
}

impl Reservation {
    pub(super) fn new(lane: Arc<Lane>, priority: Priority) -> Self {
        Reservation { lane, bytes: 0, priority, used: false }
    }

    /// Makes sure that the place holds at least `bytes`, as they come.
    pub fn cover(&mut self, bytes: usize) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        if more > 0 {
            self.lane.grow(self.bytes, more, self.priority)?;
            self.bytes += more;
        }
        Ok(())
    }

    /// Enters the lane. From here on, dropping what is returned withdraws or cancels the call.
    pub fn submit(mut self, submission: Submission, now: Instant) -> Result<Submitted> {
        let Submission { call, along, repeats, trail } = submission;
        let deadline = call.deadline;
        let (mut job, parts) = Job::new(call, now);
        (job.along, job.repeats) = (along, repeats);
        let ticket = self.lane.enter(self.bytes, job, trail, now)?;
        self.used = true;
        Ok(Submitted { lane: self.lane.clone(), ticket, parts: Some(parts), deadline, settled: false })
    }

    /// Takes a server's slot for a call that is passed as bytes: at once where nobody waits and one has room, else in turn.
    pub async fn lease(self, wanting: &Wanting, deadline: Instant, now: Instant) -> Result<Lease> {
        let waits = match self.lease_now(wanting, deadline, now)? {
            Ok(lease) => return Ok(lease),
            Err(waits) => waits,
        };
        waits.lease().await
    }

    fn lease_now(mut self, wanting: &Wanting, deadline: Instant, now: Instant) -> Result<Result<Lease, Waits>> {
        let lane = self.lane.clone();
        let mut core = lane.core.lock();
        if let Some(reason) = &core.failed {
            let error = lane.failed(reason);
            drop(core);
            return Err(error);
        }
        self.used = true;
        let Core { queue, remotes, .. } = &mut *core;
        let taken = remotes.as_mut().and_then(|remotes| {
            remotes.repeats.deposit(now);
            let spare = Spare::Until(now);
            if queue.waiting() == 0 { remotes.take(&wanting.as_wish(), spare, 1, now) } else { None }
        });
        if let Some(taken) = taken {
            queue.release(self.bytes);
            lane.show(&core);
            drop(core);
            return Ok(Ok(Lease::new(lane, taken, 1, now, now).until(deadline)));
        }
        let (waiter, granted) = Waiter::new(wanting.clone(), Spare::Until(now), now);
        let ticket = queue.enter(self.bytes, waiter.waits(self.bytes, deadline));
        // A server may have been left free for a reason that this call does not share.
        lane.hand_out(core, now);
        Ok(Err(Waits { lane, ticket, granted, deadline, settled: false }))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.used {
            self.lane.release(self.bytes);
        }
    }
}

/// A call in a lane or with a replica.
pub struct Submitted {
    lane: Arc<Lane>,
    ticket: Ticket,
    /// None once the caller waits no more.
    parts: Option<Parts>,
    deadline: Instant,
    settled: bool,
}

impl Submitted {
    /// Waits for the answer, until the deadline.
    pub async fn answer(mut self) -> Result<Answer> {
        let next = async {
            match &mut self.parts {
                Some(parts) => parts.next().await,
                None => None,
            }
        };
        let answer = tokio::time::timeout_at(self.deadline.into(), next).await;
        match answer {
            Ok(Some(answer)) => {
                self.settled = true;
                answer
            }
            Ok(None) => Err(Error::internal("the call ended without an answer")),
            Err(_) => {
                self.settled = true;
                let queued = self.leave();
                let (place, retry) = match queued.map(Entry::into_job) {
                    Some(Some(job)) if job.may_have_executed => ("in the queue", RetryClass::MayHaveExecuted),
                    Some(_) => ("in the queue", RetryClass::NotExecuted),
                    None => ("in the engine", RetryClass::MayHaveExecuted),
                };
                Err(Error::deadline(format!("the deadline passed while the call was {place}"), retry))
            }
        }
    }
}

impl Submitted {
    /// Cancels the call first: a server that gives it back at this moment either sees that, or puts it back in time to be
    /// taken out. Returns it where no replica had it.
    fn leave(&mut self) -> Option<Entry> {
        self.parts = None;
        self.lane.withdraw(self.ticket)
    }
}

impl Drop for Submitted {
    fn drop(&mut self) {
        if !self.settled {
            let queued = self.leave();
            self.lane.metrics.abandoned(queued.is_some());
        }
    }
}
