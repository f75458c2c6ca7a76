//! A lane's courier: the one task that delivers answers, wakes idle engines, and has servers execute batches.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use weirgate_protocol::Error;
use weirgate_replicas::remote::{Conduct, Fault, FaultKind};
use weirgate_replicas::{Finished, Job};
use weirgate_router::pool::Outcome;

use super::comeback::spared_until;
use super::feed::candidates;
use super::hand_out::Batch;
use super::lane::{Back, Core, Engine, Past, waiting};
use super::{Lane, MOST_ATTEMPTS, Trail};
use crate::explain;

impl Lane {
    /// Delivers answers and wakes idle replicas, both in bulk: that is what keeps a call's share of thread switches small.
    /// Ends when the lane is closed.
    ///
    /// A replica is woken only after the other connections that are ready have had their turn, so calls that arrive
    /// together are seen together. Waking it with the first of them would have it run a batch of one while the rest are
    /// still being read. For a lone call the turn comes at once.
    pub async fn courier(self: Arc<Self>) {
        let mut batches = JoinSet::new();
        loop {
            self.called().await;
            // Asked before the answers are taken: a closed lane gets no more of them.
            let closed = self.is_closed();
            let finished = std::mem::take(&mut *self.finished.lock());
            for finished in finished {
                finished.deliver();
            }
            if closed {
                return;
            }
            if self.core.lock().calls_to_show() > 0 {
                tokio::task::yield_now().await;
                let awake = self.core.lock().wake(Instant::now());
                for engine in awake {
                    engine.0.notify();
                }
            }
            if self.passes {
                // Those that have ended.
                while batches.try_join_next().is_some() {}
                for batch in self.hand_out_batches(self.core.lock(), Instant::now()) {
                    batches.spawn(self.clone().execute(batch));
                }
            }
        }
    }

    /// Waits until there is something to do, or servers are to be looked at again.
    async fn called(&self) {
        let again = if self.passes { self.core.lock().sleeps() } else { None };
        match again {
            None => self.courier.notified().await,
            // Whether it was called or the time has come is all the same.
            Some(again) => drop(tokio::time::timeout_at(again.into(), self.courier.notified()).await),
        }
    }

    /// Has a server execute a batch, and leaves the answers to the courier. What was not executed is executed elsewhere.
    async fn execute(self: Arc<Self>, batch: Batch) {
        let Batch { mut lease, jobs, trails, bytes, reason } = batch;
        let trail_of = |turn| trails.iter().find(|(of, _)| *of == turn).map(|(_, trail)| trail);
        self.metrics.closed(reason);
        let from = lease.remote().id;
        let executed = lease.remote().clone().execute(jobs).await;
        let now = Instant::now();
        lease.ends(outcome(executed.conduct), now);
        for finished in &executed.finished {
            if let Some(trail) = trail_of(finished.turn()) {
                trail.ends(now, explain::outcome(outcome(executed.conduct)), finished.error().map(Error::full));
            }
        }
        if executed.report.rows > 0 {
            self.metrics.batch(&executed.report);
        }
        let mut core = self.core.lock();
        if let (Some(remotes), Some(took)) = (&mut core.remotes, executed.report.engine) {
            remotes.learn(bytes, took);
        }
        let mut finished = executed.finished;
        for (job, fault) in executed.unanswered {
            let trail = trail_of(job.turn);
            if let Some(trail) = trail {
                trail.ends(now, explain::outcome(blame(&fault)), Some(fault.error.full()));
            }
            finished.extend(self.take_back(&mut core, (job, trail.cloned()), fault, from, now));
        }
        self.answer(&mut core, finished);
        drop(core);
        drop(lease);
    }

    /// Puts a call that a server did not answer back to its place, or ends it with the server's fault.
    fn take_back(
        &self,
        core: &mut Core,
        (mut job, trail): (Job, Option<Arc<Trail>>),
        fault: Fault,
        from: u64,
        now: Instant,
    ) -> Option<Finished> {
        let executed = !fault.not_executed();
        job.may_have_executed |= executed;
        let Core { queue, remotes: Some(remotes), failed: None, .. } = core else {
            return Some(job.finish(Err(told(&fault))));
        };
        let goes_on = !job.is_cancelled() && job.call.deadline > now && job.attempts < MOST_ATTEMPTS;
        let harmless = !executed || (job.repeats && fault.kind == FaultKind::Broken && remotes.repeats.withdraw(now));
        if !(goes_on && harmless) {
            return Some(job.finish(Err(told(&fault))));
        }
        self.metrics.repeated(executed);
        let turn = job.turn;
        let asked = fault.error.retry_after();
        let spared_until = spared_until(job.attempts, asked, job.call.deadline, now);
        let past = Past { back: Some(Back { from, spared_until }), trail };
        queue.put_back(waiting(job, past), Some(turn));
        None
    }

    /// Leaves answers to the courier. The caller holds the core's lock, so that a lane that is found empty has none left.
    pub(super) fn answer(&self, _: &mut Core, finished: impl IntoIterator<Item = Finished>) {
        self.finished.lock().extend(finished);
        self.call_courier(true);
    }
}

/// What callers are told who may not know the servers; the rest is logged.
fn told(fault: &Fault) -> Error {
    tracing::warn!(reason = fault.error.message(), "a server did not answer");
    fault.discreet()
}

/// What a fault says of its server.
pub fn blame(fault: &Fault) -> Outcome {
    match fault.kind {
        FaultKind::Connect | FaultKind::Broken => Outcome::Failed,
        FaultKind::Unsent | FaultKind::NotExecuted => Outcome::NotExecuted,
        FaultKind::Caller => Outcome::Cancelled,
    }
}

/// How a batch went, as the pool counts it.
fn outcome(conduct: Conduct) -> Outcome {
    match conduct {
        Conduct::Answered => Outcome::Answered,
        Conduct::Failed => Outcome::Failed,
        Conduct::Overloaded { retry_after } => Outcome::Overloaded { retry_after },
        Conduct::NotExecuted => Outcome::NotExecuted,
        Conduct::Cancelled => Outcome::Cancelled,
    }
}

impl Core {
    fn sleeps(&mut self) -> Option<Instant> {
        self.remotes.as_mut()?.alarm.sleeps()
    }

    fn wake(&mut self, now: Instant) -> Vec<Engine> {
        self.dispatch.wake(now, self.queue.waiting(), || candidates(&self.queue, |_| true))
    }
}
