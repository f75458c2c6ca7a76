//! The lane of one revision, between callers and replicas.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use weirgate_protocol::{Error, ModelSpec, Result, RetryClass};
use weirgate_replicas::{BatchReport, Feed, Finished, Grant, Job, Pull, Replica, SetState};
use weirgate_replicas_core::{Backlog, Candidate, Decision, Dispatch};
use weirgate_router::lane::Waiting;
use weirgate_router::{Full, LaneLimits, Ticket};

use super::Reservation;
use crate::observe::LaneMetrics;

/// Whether a lane's calls can be answered.
#[derive(Clone, Debug)]
pub enum Readiness {
    /// Calls are held until the model has loaded.
    Loading,
    Ready(Arc<ModelSpec>),
    /// Calls are refused with this reason.
    Failed(Arc<str>),
}

/// A lane and the replicas that pull from it.
pub struct Lane {
    /// `namespace/service`, as errors and logs show it.
    name: String,
    core: Mutex<Core>,
    /// Answers to be delivered.
    finished: Mutex<Vec<Finished>>,
    /// Tells the courier of answers, or of calls that an idle replica should look at.
    courier: Notify,
    readiness: watch::Sender<Readiness>,
    on_change: Box<dyn Fn() + Send + Sync>,
    pub metrics: LaneMetrics,
}

struct Core {
    queue: weirgate_router::Lane<Job>,
    dispatch: Dispatch<Engine>,
}

/// A replica, the same as another if it is that very one.
#[derive(Clone)]
struct Engine(Arc<dyn Replica>);

impl PartialEq for Engine {
    fn eq(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Lane {
    pub fn new(
        namespace: &str,
        service: &str,
        limits: LaneLimits,
        on_change: Box<dyn Fn() + Send + Sync>,
    ) -> Arc<Lane> {
        Arc::new(Lane {
            name: format!("{namespace}/{service}"),
            core: Mutex::new(Core { queue: weirgate_router::Lane::new(limits), dispatch: Dispatch::default() }),
            finished: Mutex::default(),
            courier: Notify::new(),
            readiness: watch::Sender::new(Readiness::Loading),
            on_change,
            metrics: LaneMetrics::new(namespace, service),
        })
    }

    /// Calls that wait or hold a place, and calls that a replica has.
    pub fn load(&self) -> (usize, usize) {
        let core = self.core.lock();
        (core.queue.held(), core.dispatch.running_calls())
    }

    pub fn readiness(&self) -> Readiness {
        self.readiness.borrow().clone()
    }

    /// The model's spec, if it has loaded.
    pub fn loaded(&self) -> Result<Arc<ModelSpec>> {
        match &*self.readiness.borrow() {
            Readiness::Ready(spec) => Ok(spec.clone()),
            Readiness::Failed(reason) => Err(self.failed(reason)),
            Readiness::Loading => Err(Error::unavailable(format!("service '{}' is loading its model", self.name))),
        }
    }

    /// Takes a place for a call that announces `bytes`, or says at once why there is none.
    pub fn admit(self: &Arc<Self>, bytes: usize, deadline: Instant, now: Instant) -> Result<Reservation> {
        if let Readiness::Failed(reason) = &*self.readiness.borrow() {
            return Err(self.failed(reason));
        }
        let mut core = self.core.lock();
        let wait = core.predicted_wait(bytes);
        let left = deadline.saturating_duration_since(now);
        if wait > left {
            let (wait_s, left_s) = (wait.as_secs_f64(), left.as_secs_f64());
            return Err(Error::unavailable(format!(
                "service '{}' is behind: the predicted wait of {wait_s:.3} s passes the deadline in {left_s:.3} s",
                self.name
            ))
            .with_retry_after(wait - left));
        }
        core.queue.reserve(bytes).map_err(|full| self.full(full, wait))?;
        self.show(&core);
        Ok(Reservation::new(self.clone()))
    }

    /// Waits until the model has loaded, for as long as the caller has.
    pub async fn ready(&self, deadline: Instant) -> Result<Arc<ModelSpec>> {
        if let Readiness::Ready(spec) = &*self.readiness.borrow() {
            return Ok(spec.clone());
        }
        let mut changes = self.readiness.subscribe();
        let settled = changes.wait_for(|readiness| !matches!(readiness, Readiness::Loading));
        let readiness = tokio::time::timeout_at(deadline.into(), settled).await.map_err(|_| {
            Error::deadline(
                format!("the deadline passed while service '{}' was loading its model", self.name),
                RetryClass::NotExecuted,
            )
        })?;
        match readiness.as_deref() {
            Ok(Readiness::Ready(spec)) => Ok(spec.clone()),
            Ok(Readiness::Failed(reason)) => Err(self.failed(reason)),
            Ok(Readiness::Loading) | Err(_) => {
                Err(Error::unavailable(format!("service '{}' is going away", self.name)))
            }
        }
    }

    pub(super) fn grow(&self, own: usize, bytes: usize) -> Result<()> {
        let mut core = self.core.lock();
        let wait = core.predicted_wait(bytes);
        core.queue.grow(own, bytes).map_err(|full| self.full(full, wait))?;
        self.show(&core);
        Ok(())
    }

    pub(super) fn release(&self, bytes: usize) {
        let mut core = self.core.lock();
        core.queue.release(bytes);
        self.show(&core);
    }

    /// Delivers answers and wakes idle replicas, both in bulk: that is what keeps a call's share of thread switches small.
    ///
    /// A replica is woken only after the other connections that are ready have had their turn, so calls that arrive
    /// together are seen together. Waking it with the first of them would have it run a batch of one while the rest are
    /// still being read. For a lone call the turn comes at once.
    pub async fn courier(self: Arc<Self>) {
        loop {
            self.courier.notified().await;
            for finished in std::mem::take(&mut *self.finished.lock()) {
                finished.deliver();
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

    /// Lets a call enter.
    pub(super) fn enter(&self, reserved: usize, job: Job, now: Instant) -> Ticket {
        let call = Waiting {
            rows: job.call.work.rows,
            bytes: job.call.work.bytes,
            entered: now,
            deadline: job.call.deadline,
            item: job,
        };
        let mut core = self.core.lock();
        let ticket = core.queue.enter(reserved, call);
        self.show(&core);
        self.call_courier(core.calls_to_show() > 0);
        ticket
    }

    /// Takes a call out whose caller is gone, if no replica has it yet.
    pub(super) fn withdraw(&self, ticket: Ticket) -> bool {
        let mut core = self.core.lock();
        let call = core.queue.remove(ticket);
        self.show(&core);
        // A replica may have waited for company for this very call.
        self.call_courier(call.is_some() && core.dispatch.lingers());
        call.is_some()
    }

    fn call_courier(&self, needed: bool) {
        if needed {
            self.courier.notify_one();
        }
    }

    fn show(&self, core: &Core) {
        self.metrics.queue(core.queue.held(), core.queue.bytes());
    }

    fn failed(&self, reason: &str) -> Error {
        Error::unavailable(format!("service '{}' failed to load its model: {reason}", self.name))
    }

    fn full(&self, full: Full, wait: Duration) -> Error {
        let name = &self.name;
        let text = match full {
            Full::Calls { limit } => format!(
                "the queue of service '{name}' is full: {limit} requests wait, which is its limit \
                 (annotation weirgate.dev/max-queued-requests)"
            ),
            Full::Bytes { held, asked, limit } => format!(
                "the queue of service '{name}' is full: waiting requests hold {held} bytes, this one brings {asked}, the \
                 limit is {limit} (flag --max-queued-bytes)"
            ),
        };
        Error::queue_full(text, wait.max(Duration::from_secs(1)))
    }
}

impl Core {
    fn predicted_wait(&self, bytes: usize) -> Duration {
        let backlog = Backlog { rows: self.queue.rows(), bytes: self.queue.waiting_bytes() };
        self.dispatch.predicted_wait(backlog, bytes)
    }

    fn calls_to_show(&self) -> usize {
        self.dispatch.to_show(self.queue.waiting())
    }

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
        let Core { queue, dispatch } = &mut *core;
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
        self.metrics.running(core.dispatch.running_calls());
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
        let mut core = self.core.lock();
        core.dispatch.done(&Engine(replica.clone()), report.engine.map(|took| (report.bytes, took)));
        self.metrics.running(core.dispatch.running_calls());
        drop(core);
        if report.rows > 0 {
            self.metrics.batch(report.rows);
        }
        // Last, so that whoever has an answer finds its run counted.
        self.finished.lock().extend(finished);
        self.courier.notify_one();
    }

    fn state_changed(&self, state: SetState) {
        let (readiness, ready) = match state {
            SetState::Loading => (Readiness::Loading, 0),
            SetState::Ready { spec, ready, load } => {
                self.metrics.loaded(load);
                (Readiness::Ready(spec), ready)
            }
            SetState::Failed { reason } => (Readiness::Failed(reason), 0),
        };
        let mut core = self.core.lock();
        core.dispatch.set_engines(ready);
        // Calls that entered while a replica was there are told like those that come now.
        let refused = match &readiness {
            Readiness::Failed(reason) => Some((self.failed(reason), core.queue.drain())),
            Readiness::Loading | Readiness::Ready(_) => None,
        };
        self.show(&core);
        drop(core);
        if let Some((error, calls)) = refused {
            self.finished.lock().extend(calls.into_iter().map(|call| call.item.finish(Err(error.clone()))));
            self.courier.notify_one();
        }
        self.metrics.replicas(ready);
        self.readiness.send_replace(readiness);
        (self.on_change)();
    }
}
