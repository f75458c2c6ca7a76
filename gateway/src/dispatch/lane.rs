//! The lane of one revision, as callers see it: a place is taken, the model waited for, the call entered or withdrawn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use weirgate_deploy::plane::LaneOf;
use weirgate_protocol::oip::Batching;
use weirgate_protocol::{Error, LoadedModel, Priority, Result, RetryClass};
use weirgate_replicas::{Finished, Job, Replica};
use weirgate_replicas_core::{Backlog, BatchPolicy, Dispatch};
use weirgate_router::lane::Waiting;
use weirgate_router::{Ahead, Full, LaneLimits, Ticket};

use super::Reservation;
use super::hand_out::Batch;
use super::lease::Waiter;
use super::life::Phase;
use super::remotes::{Remotes, Standings};
use super::seen::Seen;
use super::spoken::Spoken;
use super::trail::Trail;
use crate::observe::LaneMetrics;

/// Whether a lane's calls can be answered.
#[derive(Clone, Debug)]
pub enum Readiness {
    /// Calls are held until the model has loaded.
    Loading,
    Ready(Arc<LoadedModel>),
    /// Calls are refused with this reason.
    Failed(Arc<str>),
}

/// Why a call has no place in a lane, or none any more.
#[derive(Clone, Debug)]
pub enum Turned {
    /// The lane takes no more calls: the call is to be routed again.
    Moved,
    /// The revision has failed. Another may answer a call that did not ask for this one.
    Failed(Error),
    Refused(Error),
}

impl From<Error> for Turned {
    fn from(error: Error) -> Self {
        Turned::Refused(error)
    }
}

/// A lane and the replicas that pull from it.
pub struct Lane {
    /// How errors name it.
    name: String,
    /// The revision's name, as answers carry it.
    revision: HeaderValue,
    pub(super) core: Mutex<Core>,
    /// Calls are passed to its replicas; else these pull them.
    pub(super) passes: bool,
    /// The replicas are in other processes.
    remote: bool,
    /// What of the core is read without its lock.
    seen: ArcSwap<Seen>,
    /// Answers to be delivered.
    pub(super) finished: Mutex<Vec<Finished>>,
    /// Batches that servers are to execute.
    pub(super) batches: Mutex<Vec<Batch>>,
    /// Tells the courier of answers, of batches, of calls that an idle replica should look at, or that the lane is closed.
    pub(super) courier: Notify,
    /// Tells that a retired lane has become empty.
    pub(super) emptied: Notify,
    pub(super) readiness: watch::Sender<Readiness>,
    pub(super) on_change: Box<dyn Fn() + Send + Sync>,
    pub metrics: LaneMetrics,
}

pub(super) struct Core {
    pub(super) queue: weirgate_router::Lane<Entry>,
    pub(super) dispatch: Dispatch<Engine>,
    /// The servers that calls are passed to; none where engines of this process execute them.
    pub(super) remotes: Option<Remotes>,
    pub(super) phase: Phase,
    /// Why no call can be answered now. It is set with the lock under which the queue is emptied, so that none slips in after.
    pub(super) failed: Option<Arc<str>>,
    /// What a replica takes for a batch, as the last that loaded or pulled has it.
    pub(super) policy: Option<BatchPolicy>,
}

/// What waits in a lane.
#[expect(
    clippy::large_enum_variant,
    reason = "a lane as a rule has one kind, and a box would cost each call an allocation"
)]
pub(super) enum Entry {
    /// A call for tensors.
    Job(Job, Past),
    /// A call that its caller sends to a server, as soon as it has a slot there.
    Pass(Waiter),
}

/// What a call for tensors has behind it.
#[derive(Default)]
pub(super) struct Past {
    /// Whence it comes back.
    pub back: Option<Back>,
    /// Where that is noted; none where engines of this process execute it.
    pub trail: Option<Arc<Trail>>,
}

/// Whence a call for tensors comes back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Back {
    /// The server that had it last.
    pub from: u64,
    /// Another one is preferred, and until then nobody else will do.
    pub spared_until: Instant,
}

impl Entry {
    pub fn into_job(self) -> Option<Job> {
        match self {
            Entry::Job(job, _) => Some(job),
            Entry::Pass(_) => None,
        }
    }
}

/// A call for tensors, as it waits.
pub(super) fn waiting(job: Job, past: Past) -> Waiting<Entry> {
    Waiting {
        rows: job.call.work.rows,
        bytes: job.call.work.bytes,
        priority: job.call.head.priority,
        entered: job.entered(),
        deadline: job.call.deadline,
        item: Entry::Job(job, past),
    }
}

/// A replica, the same as another if it is that very one.
#[derive(Clone)]
pub(super) struct Engine(pub(super) Arc<dyn Replica>);

impl PartialEq for Engine {
    fn eq(&self, other: &Engine) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Lane {
    pub fn new(of: &LaneOf<'_>, limits: LaneLimits, on_change: Box<dyn Fn() + Send + Sync>) -> Arc<Lane> {
        let LaneOf { namespace, service, revision, passes, remote } = *of;
        let queue = weirgate_router::Lane::new(limits);
        let core = Core {
            queue,
            dispatch: Dispatch::default(),
            remotes: passes.then(|| Remotes::new(rand::random(), Instant::now())),
            phase: Phase::Open,
            failed: None,
            policy: None,
        };
        Arc::new(Lane {
            name: format!("revision '{revision}' of service '{namespace}/{service}'"),
            // Names are DNS labels, which headers can carry.
            revision: HeaderValue::from_str(revision).unwrap_or_else(|_| HeaderValue::from_static("unprintable")),
            passes,
            remote,
            seen: ArcSwap::from_pointee(Seen::of(&core)),
            core: Mutex::new(core),
            finished: Mutex::default(),
            batches: Mutex::default(),
            courier: Notify::new(),
            emptied: Notify::new(),
            readiness: watch::Sender::new(Readiness::Loading),
            on_change,
            metrics: LaneMetrics::new(namespace, service),
        })
    }

    /// The name of the lane's revision.
    pub fn revision(&self) -> &HeaderValue {
        &self.revision
    }

    /// Calls that wait or hold a place, and calls that a replica has.
    pub fn load(&self) -> (usize, usize) {
        let core = self.core.lock();
        (core.queue.held(), core.running())
    }

    /// Whether calls are passed to its replicas; else these pull them.
    pub fn passes(&self) -> bool {
        self.passes
    }

    /// Whether its replicas are in other processes.
    pub fn is_remote(&self) -> bool {
        self.remote
    }

    /// What the servers speak that calls are passed to; none where engines of this process execute them.
    pub fn spoken(&self) -> Option<Spoken> {
        self.seen.load().spoken
    }

    /// Where the servers stand that calls are passed to; none where engines of this process execute them.
    pub fn standings(&self) -> Option<Standings> {
        Some(self.core.lock().remotes.as_ref()?.standings(Instant::now()))
    }

    /// Servers that calls are passed to.
    pub fn servers(&self) -> usize {
        self.seen.load().servers
    }

    /// Calls that the servers take at a time, all together.
    pub fn slots(&self) -> usize {
        self.seen.load().slots
    }

    /// Whether the servers are to be sent batches that are formed here.
    pub fn batches(&self) -> bool {
        self.seen.load().batches
    }

    /// Call whenever the servers change, or what a batch may be.
    pub(super) fn tell(&self, core: &Core) {
        let seen = Seen::of(core);
        if **self.seen.load() != seen {
            self.seen.store(Arc::new(seen));
        }
    }

    pub fn readiness(&self) -> Readiness {
        self.readiness.borrow().clone()
    }

    pub fn has_failed(&self) -> bool {
        matches!(*self.readiness.borrow(), Readiness::Failed(_))
    }

    /// The model, if it has loaded.
    pub fn loaded(&self) -> Result<Arc<LoadedModel>> {
        match &*self.readiness.borrow() {
            Readiness::Ready(model) => Ok(model.clone()),
            Readiness::Failed(reason) => Err(self.failed(reason)),
            Readiness::Loading => Err(self.still_loading()),
        }
    }

    /// How calls share runs; `None` until a replica has loaded.
    pub fn batching(&self) -> Option<Batching> {
        let BatchPolicy { max_rows, linger, .. } = self.core.lock().policy?;
        let decoupled = self.spoken().is_some_and(|spoken| spoken.generates);
        Some(Batching { max_rows, linger, replicas: self.metrics.ready_replicas(), decoupled })
    }

    /// The error of what has to wait until the model has loaded.
    pub fn still_loading(&self) -> Error {
        Error::unavailable(format!("{} is loading its model", self.name))
    }

    /// Takes a place for a call of this class that announces `bytes`, or says at once why there is none.
    pub fn admit(
        self: &Arc<Self>,
        bytes: usize,
        priority: Priority,
        deadline: Instant,
        now: Instant,
    ) -> Result<Reservation, Turned> {
        let mut core = self.core.lock();
        if core.phase != Phase::Open {
            return Err(Turned::Moved);
        }
        if let Some(reason) = &core.failed {
            return Err(Turned::Failed(self.failed(reason)));
        }
        let wait = core.predicted_wait(bytes, priority, now);
        let left = deadline.saturating_duration_since(now);
        if wait > left {
            let (wait_s, left_s) = (wait.as_secs_f64(), left.as_secs_f64());
            let text = format!(
                "{} is behind: the predicted wait of {wait_s:.3} s passes the deadline in {left_s:.3} s",
                self.name
            );
            return Err(Turned::Refused(Error::unavailable(text).with_retry_after(wait - left)));
        }
        core.queue.reserve(bytes).map_err(|full| self.full(full, wait))?;
        self.show(&core);
        Ok(Reservation::new(self.clone(), priority))
    }

    /// Waits until the model has loaded, for as long as the caller has. Where the lane is retired before that, the call
    /// is to be routed again.
    pub async fn ready(&self, deadline: Instant) -> Result<Arc<LoadedModel>, Turned> {
        if let Readiness::Ready(model) = &*self.readiness.borrow() {
            return Ok(model.clone());
        }
        let mut changes = self.readiness.subscribe();
        let settled = changes.wait_for(|readiness| !matches!(readiness, Readiness::Loading) || !self.takes_calls());
        let readiness = tokio::time::timeout_at(deadline.into(), settled).await.map_err(|_| {
            Error::deadline(
                format!("the deadline passed while {} was loading its model", self.name),
                RetryClass::NotExecuted,
            )
        })?;
        match readiness.as_deref() {
            Ok(Readiness::Ready(model)) => Ok(model.clone()),
            _ if !self.takes_calls() => Err(Turned::Moved),
            Ok(Readiness::Failed(reason)) => Err(Turned::Failed(self.failed(reason))),
            Ok(Readiness::Loading) | Err(_) => Err(Turned::Moved),
        }
    }

    pub(super) fn grow(&self, own: usize, bytes: usize, priority: Priority) -> Result<()> {
        let mut core = self.core.lock();
        if let Err(full) = core.queue.grow(own, bytes) {
            let wait = core.predicted_wait(bytes, priority, Instant::now());
            return Err(self.full(full, wait));
        }
        self.show(&core);
        Ok(())
    }

    pub(super) fn release(&self, bytes: usize) {
        let mut core = self.core.lock();
        core.queue.release(bytes);
        self.show(&core);
    }

    /// Lets a call enter, unless the revision has failed since its model was waited for: it would wait for nobody.
    pub(super) fn enter(&self, reserved: usize, job: Job, trail: Option<Arc<Trail>>, now: Instant) -> Result<Ticket> {
        let mut core = self.core.lock();
        if let Some(reason) = &core.failed {
            return Err(self.failed(reason));
        }
        if let Some(remotes) = &mut core.remotes {
            remotes.repeats.deposit(now);
        }
        let ticket = core.queue.enter(reserved, waiting(job, Past { back: None, trail }));
        self.show(&core);
        self.call_courier(core.calls_to_show() > 0 || self.passes);
        Ok(ticket)
    }

    /// Takes a call out whose caller is gone, if no replica has it.
    pub(super) fn withdraw(&self, ticket: Ticket) -> Option<Entry> {
        let mut core = self.core.lock();
        let call = core.queue.remove(ticket);
        self.show(&core);
        // A replica may have waited for company for this very call.
        self.call_courier(call.is_some() && core.dispatch.lingers());
        call.map(|call| call.item)
    }

    pub(super) fn call_courier(&self, needed: bool) {
        if needed {
            self.courier.notify_one();
        }
    }

    /// Call whenever the lane holds or runs more or less than before.
    pub(super) fn show(&self, core: &Core) {
        self.metrics.holds(core.queue.held(), core.queue.bytes(), core.running());
        if core.phase == Phase::Retired && core.is_empty() {
            self.emptied.notify_waiters();
        }
    }

    /// The error of a call that comes while the revision has failed. Why servers are not ready names them.
    pub(super) fn failed(&self, reason: &str) -> Error {
        let full = format!("{} failed to load its model: {reason}", self.name);
        if !self.remote {
            return Error::unavailable(full);
        }
        let text = format!("{} has no server that is ready: the gateway's log says why", self.name);
        Error::unavailable(text).with_inside(full)
    }

    fn full(&self, full: Full, wait: Duration) -> Error {
        let name = &self.name;
        let text = match full {
            Full::Calls { limit } => format!(
                "the queue of {name} is full: {limit} requests wait, which is the limit for its share of the calls \
                 (annotation weirgate.dev/max-queued-requests)"
            ),
            Full::Bytes { held, asked, limit } => format!(
                "the queue of {name} is full: waiting requests hold {held} bytes, this one brings {asked}, the limit for \
                 its share of the calls is {limit} (flag --max-queued-bytes)"
            ),
        };
        Error::queue_full(text, wait.max(Duration::from_secs(1)))
    }
}

impl Core {
    /// How long a call waits that comes now: for those alone that are served before it.
    fn predicted_wait(&mut self, bytes: usize, priority: Priority, now: Instant) -> Duration {
        let Ahead { calls, rows, bytes: held } = self.queue.ahead(priority, now);
        if let Some(remotes) = &mut self.remotes {
            return remotes.predicted_wait(calls, now);
        }
        let backlog = Backlog { calls, rows, bytes: held };
        self.dispatch.predicted_wait(backlog, bytes)
    }

    pub(super) fn calls_to_show(&self) -> usize {
        self.dispatch.to_show(self.queue.waiting())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.held() == 0 && self.running() == 0
    }

    /// Calls that replicas have.
    fn running(&self) -> usize {
        self.dispatch.running_calls() + self.remotes.as_ref().map_or(0, Remotes::running)
    }
}
