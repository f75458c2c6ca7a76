//! The lane of one revision, as its replicas see it, and the courier between them and the callers.

use std::sync::Arc;
use std::time::Instant;

use weirgate_replicas::{BatchReport, Feed, Finished, Grant, Job, Pull, Remote, Replica, SetState};
use weirgate_replicas_core::{Candidate, Decision};
use weirgate_router::Ticket;

use super::lane::{Core, Engine};
use super::life::Phase;
use super::{Lane, Readiness};

impl Lane {
    /// Delivers answers and wakes idle replicas, both in bulk: that is what keeps a call's share of thread switches small.
    /// Ends when the lane is closed.
    ///
    /// A replica is woken only after the other connections that are ready have had their turn, so calls that arrive
    /// together are seen together. Waking it with the first of them would have it run a batch of one while the rest are
    /// still being read. For a lone call the turn comes at once.
    pub async fn courier(self: Arc<Self>) {
        loop {
            self.courier.notified().await;
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
        }
    }

    /// Leaves answers to the courier. The caller holds the core's lock, so that a lane that is found empty has none left.
    fn answer(&self, _: &mut Core, finished: impl IntoIterator<Item = Finished>) {
        self.finished.lock().extend(finished);
        self.call_courier(true);
    }
}

impl Core {
    fn wake(&mut self, now: Instant) -> Vec<Engine> {
        self.dispatch.wake(now, self.queue.waiting(), || candidates(&self.queue))
    }
}

/// The queue as the batch former sees it.
fn candidates(queue: &weirgate_router::Lane<Job>) -> impl Iterator<Item = (Ticket, Candidate<'_>)> {
    queue.iter().map(|(ticket, call)| {
        let work = &call.item.call.work;
        let candidate = Candidate {
            rows: call.rows,
            bytes: call.bytes,
            signature: work.signature.as_ref(),
            length: work.length,
            entered: call.entered,
            deadline: call.deadline,
        };
        (ticket, candidate)
    })
}

impl Feed for Lane {
    fn pull(&self, replica: &Arc<dyn Replica>) -> Pull {
        let Grant::Batch(policy) = replica.credits().grant() else { return Pull::Empty };
        let (engine, now) = (Engine(replica.clone()), Instant::now());
        let mut core = self.core.lock();
        core.policy = Some(policy);
        let Core { queue, dispatch, .. } = &mut *core;
        let (keys, reason) = match dispatch.pull(&engine, &policy, now, candidates(queue)) {
            Decision::Take { keys, reason } => (keys, reason),
            Decision::Wait(until) => return Pull::Until(until),
            Decision::Empty => return Pull::Empty,
        };
        let mut jobs: Vec<Job> = Vec::with_capacity(keys.len());
        jobs.extend(keys.into_iter().filter_map(|key| queue.remove(key)).map(|call| call.item));
        let bytes = jobs.iter().map(|job| job.call.work.bytes).sum();
        dispatch.took(&engine, jobs.len(), bytes);
        self.show(&core);
        // What is left may be for another replica that is idle.
        self.call_courier(core.calls_to_show() > 0);
        drop(core);
        self.metrics.closed(reason);
        for mut job in jobs {
            job.taken_at(now);
            replica.submit(job);
        }
        Pull::Took(reason)
    }

    fn leave(&self, replica: &Arc<dyn Replica>) {
        let mut core = self.core.lock();
        core.dispatch.leave(&Engine(replica.clone()));
        // A call may have woken the replica that leaves: let another one look.
        self.call_courier(core.calls_to_show() > 0);
    }

    fn ran(&self, replica: &Arc<dyn Replica>, report: &BatchReport, finished: Vec<Finished>) {
        // First, so that whoever has an answer finds its run counted.
        if report.rows > 0 {
            self.metrics.batch(report);
        }
        let mut core = self.core.lock();
        core.dispatch.done(&Engine(replica.clone()), report.engine.map(|took| (report.bytes, took)));
        self.answer(&mut core, finished);
        self.show(&core);
    }

    fn remote_joined(&self, _: Arc<Remote>) {}

    fn remote_changed(&self, _: u64) {}

    fn remote_drains(&self, _: u64) {}

    fn remote_left(&self, _: u64) {}

    fn state_changed(&self, state: SetState) {
        let mut batching = None;
        let (readiness, ready) = match state {
            SetState::Loading => (Readiness::Loading, 0),
            SetState::Ready { model, ready, took, policy, .. } => {
                batching = Some(policy);
                self.metrics.loaded(took);
                (Readiness::Ready(model), ready)
            }
            SetState::Failed(failure) => (Readiness::Failed(failure.reason), 0),
        };
        let mut core = self.core.lock();
        core.dispatch.set_engines(ready);
        core.policy = batching.or(core.policy);
        core.failed = match &readiness {
            Readiness::Failed(reason) => Some(reason.clone()),
            Readiness::Loading | Readiness::Ready(_) => None,
        };
        // Calls that entered while a replica was there are told like those that come now.
        if let Some(reason) = &core.failed {
            let error = self.failed(reason);
            let calls = core.queue.drain();
            self.answer(&mut core, calls.into_iter().map(|call| call.item.finish(Err(error.clone()))));
        }
        self.show(&core);
        if core.phase != Phase::Closed {
            self.metrics.replicas(ready);
        }
        drop(core);
        self.readiness.send_replace(readiness);
        (self.on_change)();
    }
}
