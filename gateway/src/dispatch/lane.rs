//! The lane of one revision, between callers and replicas.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use weirgate_protocol::{Error, ModelSpec, Result, RetryClass};
use weirgate_replicas::{BatchReport, Feed, Finished, Grant, Job, Pull, Replica, SetState};
use weirgate_replicas_core::{BatchPolicy, Candidate, CostModel, Decision, form};
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
    cost: CostModel,
    idle: Vec<Idle>,
    /// Calls that replicas have taken and not finished.
    running: usize,
    /// Replicas that are ready.
    replicas: usize,
    /// Rows of a full batch, as the last pull had it.
    max_rows: usize,
}

/// A replica with nothing to do.
struct Idle {
    replica: Arc<dyn Replica>,
    /// It waits for company for the oldest call, by this policy.
    lingers: Option<BatchPolicy>,
}

impl Lane {
    pub fn new(
        namespace: &str,
        service: &str,
        limits: LaneLimits,
        on_change: Box<dyn Fn() + Send + Sync>,
    ) -> Arc<Lane> {
        let core = Core {
            queue: weirgate_router::Lane::new(limits),
            cost: CostModel::default(),
            idle: Vec::new(),
            running: 0,
            replicas: 0,
            max_rows: 1,
        };
        Arc::new(Lane {
            name: format!("{namespace}/{service}"),
            core: Mutex::new(core),
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
        (core.queue.held(), core.running)
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

    /// Takes a place for a call of `bytes`, or says at once why there is none.
    pub fn admit(self: &Arc<Self>, bytes: usize, deadline: Instant, now: Instant) -> Result<Reservation> {
        if let Readiness::Failed(reason) = &*self.readiness.borrow() {
            return Err(self.failed(reason));
        }
        let mut core = self.core.lock();
        let wait = core.predicted_wait();
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
        self.metrics.queue(core.queue.waiting(), core.queue.bytes());
        Ok(Reservation::new(self.clone(), bytes))
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

    pub(super) fn grow(&self, bytes: usize) -> Result<()> {
        let mut core = self.core.lock();
        let wait = core.predicted_wait();
        core.queue.grow(bytes).map_err(|full| self.full(full, wait))?;
        self.metrics.queue(core.queue.waiting(), core.queue.bytes());
        Ok(())
    }

    pub(super) fn release(&self, bytes: usize) {
        let mut core = self.core.lock();
        core.queue.release(bytes);
        self.metrics.queue(core.queue.waiting(), core.queue.bytes());
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
                self.wake_replicas();
            }
        }
    }

    fn wake_replicas(&self) {
        let now = Instant::now();
        let mut core = self.core.lock();
        let mut awake = Vec::new();
        for _ in 0..core.calls_to_show() {
            awake.extend(core.replica_to_wake(now));
        }
        drop(core);
        for replica in awake {
            replica.notify();
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
        let show = core.calls_to_show() > 0;
        self.metrics.queue(core.queue.waiting(), core.queue.bytes());
        drop(core);
        if show {
            self.courier.notify_one();
        }
        ticket
    }

    /// Takes a call out whose caller is gone, if no replica has it yet.
    pub(super) fn withdraw(&self, ticket: Ticket) -> bool {
        let mut core = self.core.lock();
        let call = core.queue.remove(ticket);
        self.metrics.queue(core.queue.waiting(), core.queue.bytes());
        drop(core);
        call.is_some()
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
    /// How long the calls that wait now will keep the replicas busy, by what batches took so far.
    fn predicted_wait(&self) -> Duration {
        let rows = self.queue.rows();
        if rows == 0 {
            return Duration::ZERO;
        }
        let batches = rows.div_ceil(self.max_rows.max(1));
        let work = self.cost.drain(batches, self.queue.waiting_bytes()).unwrap_or_default();
        work / u32::try_from(self.replicas.max(1)).unwrap_or(u32::MAX)
    }

    /// Calls that idle replicas should look at, one each.
    fn calls_to_show(&self) -> usize {
        self.queue.waiting().min(self.idle.len())
    }

    /// The idle replica that shall look at the queue now that a call came.
    fn replica_to_wake(&mut self, now: Instant) -> Option<Arc<dyn Replica>> {
        let lingering = self.idle.iter().position(|idle| idle.lingers.is_some());
        if let Some(index) = lingering {
            let policy = self.idle[index].lingers?;
            return match self.decide(&policy, now) {
                Decision::Take { .. } => Some(self.idle.swap_remove(index).replica),
                Decision::Wait(_) | Decision::Empty => None,
            };
        }
        self.idle.pop().map(|idle| idle.replica)
    }

    fn decide(&self, policy: &BatchPolicy, now: Instant) -> Decision<Ticket> {
        let waiting = self.queue.iter().map(|(ticket, call)| {
            let candidate = Candidate {
                rows: call.rows,
                bytes: call.bytes,
                signature: call.item.call.work.signature.as_ref(),
                length: call.item.call.work.length,
                entered: call.entered,
                deadline: call.deadline,
            };
            (ticket, candidate)
        });
        form(policy, &self.cost, now, waiting)
    }

    fn forget(&mut self, replica: &Arc<dyn Replica>) {
        self.idle.retain(|idle| !Arc::ptr_eq(&idle.replica, replica));
    }
}

impl Feed for Lane {
    fn pull(&self, replica: &Arc<dyn Replica>) -> Pull {
        let Grant::Batch(policy) = replica.credits().grant() else { return Pull::Empty };
        let now = Instant::now();
        let mut core = self.core.lock();
        core.forget(replica);
        core.max_rows = policy.max_rows;
        let (keys, reason) = match core.decide(&policy, now) {
            Decision::Take { keys, reason } => (keys, reason),
            Decision::Wait(until) => {
                core.idle.push(Idle { replica: replica.clone(), lingers: Some(policy) });
                return Pull::Until(until);
            }
            Decision::Empty => {
                core.idle.push(Idle { replica: replica.clone(), lingers: None });
                return Pull::Empty;
            }
        };
        let mut jobs: Vec<Job> = Vec::with_capacity(keys.len());
        jobs.extend(keys.into_iter().filter_map(|key| core.queue.remove(key)).map(|call| call.item));
        core.running += jobs.len();
        self.metrics.queue(core.queue.waiting(), core.queue.bytes());
        self.metrics.running(core.running);
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
        core.forget(replica);
        // A call may have woken the replica that leaves: let another one look.
        let wake = if core.queue.waiting() > 0 { core.idle.pop() } else { None };
        drop(core);
        if let Some(idle) = wake {
            idle.replica.notify();
        }
    }

    fn ran(&self, report: &BatchReport, finished: Vec<Finished>) {
        self.finished.lock().extend(finished);
        self.courier.notify_one();
        let mut core = self.core.lock();
        core.running -= report.calls;
        if let Some(engine) = report.engine {
            core.cost.observe(report.bytes, engine);
        }
        self.metrics.running(core.running);
        drop(core);
        if report.rows > 0 {
            self.metrics.batch(report.rows);
        }
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
        self.core.lock().replicas = ready;
        self.metrics.replicas(ready);
        self.readiness.send_replace(readiness);
        (self.on_change)();
    }
}
