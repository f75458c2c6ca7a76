//! The lane of one revision, as its replicas see it.

use std::sync::Arc;
use std::time::Instant;

use weirgate_replicas::embed::EmbedObserver;
use weirgate_replicas::text::TextObserver;
use weirgate_replicas::{BatchReport, Counts, Feed, Finished, Grant, Job, Pull, Remote, Replica, SetState};
use weirgate_replicas_core::{Candidate, Decision};
use weirgate_router::Ticket;

use super::lane::{Back, Core, Engine, Entry};
use super::life::Phase;
use super::remotes::Remotes;
use super::{Lane, Readiness};

/// The queue as the batch former sees it: calls for tensors, those of them that are `asked`.
pub(super) fn candidates(
    queue: &weirgate_router::Lane<Entry>,
    asked: impl Fn(&Option<Back>) -> bool,
) -> impl Iterator<Item = (Ticket, Candidate<'_>)> {
    queue.iter().filter_map(move |(ticket, call)| {
        let Entry::Job(job, past) = &call.item else { return None };
        if !asked(&past.back) {
            return None;
        }
        let work = &job.call.work;
        let candidate = Candidate {
            rows: call.rows,
            bytes: call.bytes,
            signature: work.signature.as_ref(),
            length: work.length,
            entered: call.entered,
            deadline: call.deadline,
        };
        Some((ticket, candidate))
    })
}

impl Feed for Lane {
    fn pull(&self, replica: &Arc<dyn Replica>) -> Pull {
        let Grant::Batch(policy) = replica.credits().grant() else { return Pull::Empty };
        let (engine, now) = (Engine(replica.clone()), Instant::now());
        let mut core = self.core.lock();
        if core.policy.replace(policy) != Some(policy) {
            self.tell(&core);
        }
        let Core { queue, dispatch, .. } = &mut *core;
        let (keys, reason) = match dispatch.pull(&engine, &policy, now, candidates(queue, |_| true)) {
            Decision::Take { keys, reason } => (keys, reason),
            Decision::Wait(until) => return Pull::Until(until),
            Decision::Empty => return Pull::Empty,
        };
        let mut jobs: Vec<Job> = Vec::with_capacity(keys.len());
        jobs.extend(keys.into_iter().filter_map(|key| queue.remove(key)?.item.into_job()));
        let bytes = jobs.iter().map(|job| job.call.work.bytes).sum();
        dispatch.took(&engine, jobs.len(), bytes);
        self.show(&core);
        // What is left may be for another replica that is idle.
        self.call_courier(core.calls_to_show() > 0);
        drop(core);
        self.metrics.closed(reason);
        for mut job in jobs {
            job.taken_at(now, reason);
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

    fn observe_text(&self) -> Arc<dyn TextObserver> {
        Arc::new(self.metrics.text())
    }

    fn observe_embed(&self) -> Arc<dyn EmbedObserver> {
        Arc::new(self.metrics.text())
    }

    fn remote_joined(&self, remote: Arc<Remote>) {
        self.with_remotes(|remotes| remotes.join(remote, Instant::now()));
    }

    fn remote_changed(&self, id: u64) {
        self.with_remotes(|remotes| remotes.changed(id));
    }

    fn remote_drains(&self, id: u64) {
        self.with_remotes(|remotes| remotes.drain(id));
    }

    fn remote_left(&self, id: u64) {
        self.with_remotes(|remotes| remotes.leave(id));
    }

    fn counts_changed(&self, counts: Counts) {
        *self.metrics.counts.lock() = counts;
    }

    fn state_changed(&self, state: SetState) {
        let mut batching = None;
        let (readiness, ready) = match state {
            SetState::Loading { .. } => (Readiness::Loading, 0),
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
        self.tell(&core);
        // Calls that entered while a replica was there are told like those that come now.
        let mut turned = Vec::new();
        if let Some(reason) = &core.failed {
            let error = self.failed(reason);
            let calls = core.queue.drain();
            let mut jobs = Vec::with_capacity(calls.len());
            for call in calls {
                match call.item {
                    Entry::Job(job, _) => jobs.push(job.finish(Err(error.clone()))),
                    Entry::Pass(waiter) => turned.push((waiter, error.clone())),
                }
            }
            self.answer(&mut core, jobs);
        }
        self.show(&core);
        if core.phase != Phase::Closed {
            self.metrics.replicas(ready);
        }
        drop(core);
        for (waiter, error) in turned {
            waiter.turn_away(error);
        }
        self.readiness.send_replace(readiness);
        (self.on_change)();
    }
}

impl Lane {
    /// Changes the servers, and has the courier hand out what waits.
    fn with_remotes(&self, change: impl FnOnce(&mut Remotes)) {
        let mut core = self.core.lock();
        if let Some(remotes) = &mut core.remotes {
            change(remotes);
            self.tell(&core);
        }
        drop(core);
        self.call_courier(true);
    }
}
