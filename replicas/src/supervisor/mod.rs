//! The supervisor of one revision's replicas: starts them, replaces those that fail, and says what the set can do.
//!
//! ```text
//!            Loaded               stop               Exited
//! starting ─────────► ready ───────────► draining ───────────► gone
//!     ▲                │ │                                      ▲
//!     └────────────────┘ └──────────────────────────────────────┘
//!          NotReady                     Exited
//! ```
//!
//! It is the same for engines of this process, commands and servers elsewhere. A replica that is gone is dropped at once and
//! started anew. One that is only suspect goes on serving until its replacement has loaded, so that a call which upsets an
//! engine takes nothing else down.

mod slot;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use tokio::task::JoinSet;

use self::slot::{Handle, Slot};
use crate::child::{Children, ChildrenConfig};
use crate::kind::{Event, EventKind, Kind, Start, Tell};
use crate::language::{LanguageModels, LanguageSetConfig};
use crate::local::{Engines, Loader};
use crate::replica::{Counts, Failure, FailureKind, Feed, SetState};
use crate::upstream::{Upstreams, UpstreamsConfig};

/// What a set of engines of this process runs.
#[derive(Clone)]
pub struct ReplicaSetConfig {
    /// Shown in thread names: the service's name.
    pub name: String,
    /// Shown in logs: `namespace/name`.
    pub service: String,
    pub max_batch_size: Option<NonZeroUsize>,
    pub max_latency: Option<Duration>,
    pub container_concurrency: Option<NonZeroUsize>,
    pub loader: Arc<Loader>,
}

/// What a set of replicas is to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// With 0 the set ends.
    pub replicas: usize,
    /// How often the model was asked to be loaded anew: where it grows, every replica is replaced by one that has just
    /// loaded it, and serves until then.
    pub load: u64,
}

impl Wanted {
    /// So many replicas, with the model as it is.
    pub fn replicas(replicas: usize) -> Wanted {
        Wanted { replicas, load: 0 }
    }
}

/// The longest wait before a start for which calls are held: those that can wait longer are few.
const HELD: Duration = Duration::from_secs(5);

/// The replicas of one revision.
pub struct ReplicaSet {
    /// Shown in logs: `namespace/name`.
    service: String,
    kind: Box<dyn Kind>,
    feed: Arc<dyn Feed>,
    slots: Vec<Slot>,
    /// Replicas that were asked to stop and have not ended yet. A download stops soon; a model that is being read in does not.
    leaving: Vec<u64>,
    next_id: u64,
    events: (UnboundedSender<Event>, UnboundedReceiver<Event>),
    /// How long the newest replica took to load.
    took: Duration,
    /// The last [`Wanted::load`].
    load: u64,
    /// Failures so far.
    failures: u64,
    /// How often one was started, or is to be, because another had failed.
    restarts: u64,
    /// As the feed was told them last.
    counts: Counts,
    /// What replicas outside of this process need here.
    tasks: JoinSet<()>,
}

impl ReplicaSet {
    /// Engines of this process.
    pub fn new(config: ReplicaSetConfig, feed: Arc<dyn Feed>) -> Self {
        ReplicaSet::of(config.service.clone(), Box::new(Engines(config)), feed)
    }

    /// Servers elsewhere, one in each place, of `service`: `namespace/name`.
    pub fn upstreams(service: String, config: UpstreamsConfig, feed: Arc<dyn Feed>) -> Self {
        ReplicaSet::of(service, Box::new(Upstreams::new(config)), feed)
    }

    /// Processes of this machine.
    pub fn children(config: ChildrenConfig, feed: Arc<dyn Feed>) -> Self {
        ReplicaSet::of(config.service.to_string(), Box::new(Children::new(config)), feed)
    }

    /// Language models of this process.
    pub fn language(config: LanguageSetConfig, feed: Arc<dyn Feed>) -> Self {
        ReplicaSet::of(config.service.clone(), Box::new(LanguageModels::new(config)), feed)
    }

    fn of(service: String, kind: Box<dyn Kind>, feed: Arc<dyn Feed>) -> Self {
        ReplicaSet {
            service,
            kind,
            feed,
            slots: Vec::new(),
            leaving: Vec::new(),
            next_id: 0,
            events: unbounded_channel(),
            took: Duration::ZERO,
            load: 0,
            failures: 0,
            restarts: 0,
            counts: Counts::default(),
            tasks: JoinSet::new(),
        }
    }

    /// Keeps the replicas that are wanted. With 0 it ends when all of them have; where the sender is gone, it does not wait for
    /// engines that still load.
    pub async fn run(mut self, mut wanted: watch::Receiver<Wanted>) {
        let wait_for_loading = loop {
            let now = *wanted.borrow_and_update();
            if now.replicas == 0 {
                break true;
            }
            self.load_anew(now.load, Instant::now());
            self.scale(now.replicas, Instant::now());
            self.replace_next(Instant::now());
            self.start_due(Instant::now());
            self.count();
            let waits = self.slots.iter().filter(|slot| slot.loading.is_none());
            let due = waits.filter_map(|slot| slot.start_at).min();
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { break false },
                Some(event) = self.events.1.recv() => self.handle(event, Instant::now()),
                Some(_) = self.tasks.join_next() => {}
                () = sleep_until(due) => {}
            }
        };
        self.end(wait_for_loading).await;
    }

    /// Where the model is to be loaded anew, has every replica replaced, and forgets why one failed before.
    fn load_anew(&mut self, load: u64, now: Instant) {
        if load <= self.load {
            return;
        }
        self.load = load;
        for slot in self.slots.iter_mut().filter(|slot| slot.serving.is_none()) {
            slot.start_at = Some(now);
        }
        let forgotten = self.slots.iter_mut().filter_map(|slot| slot.failure.take()).count();
        if forgotten > 0 {
            self.report();
        }
    }

    /// Has the next replica replaced that serves a model from before the last load: one at a time, so that only one more
    /// model than usual is in memory.
    fn replace_next(&mut self, now: Instant) {
        if self.slots.iter().any(|slot| slot.loading.is_some()) {
            return;
        }
        let load = self.load;
        let stale = |slot: &&mut Slot| slot.serving.as_ref().is_some_and(|serving| serving.load < load);
        if let Some(slot) = self.slots.iter_mut().filter(stale).find(|slot| slot.start_at.is_none()) {
            slot.start_at = Some(now);
        }
    }

    /// Adds places, or takes away those that serve least.
    fn scale(&mut self, wanted: usize, now: Instant) {
        let before = self.slots.len();
        while self.slots.len() < wanted {
            let taken = |place: &usize| self.slots.iter().any(|slot| slot.place == *place);
            let place = (0..).find(|place| !taken(place)).unwrap_or_default();
            self.slots.push(Slot { place, start_at: Some(now), ..Slot::default() });
        }
        if before > wanted {
            self.slots.sort_by_key(|slot| slot.serving.is_none());
            for slot in self.slots.split_off(wanted) {
                self.stop_slot(slot);
            }
            self.report();
        }
    }

    fn stop_slot(&mut self, slot: Slot) {
        for handle in [slot.loading, slot.serving].into_iter().flatten() {
            self.stop_replica(handle);
        }
    }

    /// Has a replica finish what it holds and end.
    fn stop_replica(&mut self, mut handle: Handle) {
        if let Some(remote) = handle.remote.take() {
            self.feed.remote_drains(remote.id);
            self.feed.remote_left(remote.id);
        }
        handle.replica.stop();
        self.leaving.push(handle.id);
    }

    fn start_due(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let slot = &mut self.slots[index];
            if slot.loading.is_some() || slot.start_at.is_none_or(|at| at > now) {
                continue;
            }
            slot.start_at = None;
            let id = self.next_id;
            self.next_id += 1;
            tracing::info!(service = %self.service, replica = id, "starting a replica");
            let tell = Tell { replica: id, events: self.events.0.clone() };
            let start = Start { id, place: slot.place, feed: self.feed.clone(), tell };
            match self.kind.start(start, &mut self.tasks) {
                Ok(replica) => {
                    slot.loading = Some(Handle { id, replica, load: self.load, model: None, remote: None });
                }
                Err(error) => self.failed_to_load(index, (FailureKind::Start, error), now),
            }
        }
    }

    fn handle(&mut self, event: Event, now: Instant) {
        let id = event.replica;
        let Some(index) = self.slots.iter().position(|slot| slot.is_serving(id) || slot.is_loading(id)) else {
            self.left(&event);
            return;
        };
        let service = self.service.as_str();
        let slot = &mut self.slots[index];
        match event.kind {
            EventKind::Loaded { model, took, remote } => {
                tracing::info!(%service, replica = id, seconds = took.as_secs_f64(), "replica is ready");
                let Some(mut loaded) = slot.loading.take() else { return };
                if let Some(remote) = &remote {
                    self.feed.remote_joined(remote.clone());
                }
                (loaded.model, loaded.remote) = (Some(model), remote);
                let old = slot.serving.replace(loaded);
                (slot.start_at, slot.failure, slot.waits_for) = (None, None, None);
                slot.policy.loaded(now);
                if let Some(old) = old {
                    self.stop_replica(old);
                }
                self.took = took;
                self.report();
            }
            EventKind::Starts(reason) => {
                tracing::info!(%service, replica = id, reason, "replica is not ready yet");
                let failure = Failure { kind: FailureKind::NotReady, reason: reason.into(), load: self.load };
                self.feed.noted(&failure);
                slot.waits_for = Some(failure);
                self.report();
            }
            EventKind::NotReady(kind, reason) => self.not_ready(index, id, kind, &reason),
            EventKind::Changed(model) => {
                let Some(serving) = slot.serving.as_mut().filter(|serving| serving.id == id) else { return };
                serving.model = model.or(serving.model.take());
                if let Some(remote) = &serving.remote {
                    self.feed.remote_changed(remote.id);
                }
                self.report();
            }
            EventKind::LoadFailed(error) => self.load_failed(index, (FailureKind::Load, error.0), now),
            EventKind::Suspect(error) => {
                let delay = slot.policy.failed(now);
                slot.start_at = Some(now + delay);
                tracing::error!(%service, replica = id, %error, ?delay, "replica failed and will be replaced");
            }
            EventKind::Exited(ended) => self.exited(index, id, ended, now),
        }
    }

    /// A replica that goes on without being ready is one that loads.
    fn not_ready(&mut self, index: usize, id: u64, kind: FailureKind, reason: &str) {
        let slot = &mut self.slots[index];
        tracing::warn!(service = %self.service, replica = id, reason, "replica is not ready");
        let load = slot.handles().find(|handle| handle.id == id).map_or(self.load, |handle| handle.load);
        if let Some(mut lost) = slot.serving.take_if(|serving| serving.id == id) {
            if let Some(remote) = lost.remote.take() {
                self.feed.remote_drains(remote.id);
                self.feed.remote_left(remote.id);
            }
            match slot.loading {
                None => slot.loading = Some(lost),
                // Its replacement is under way.
                Some(_) => self.stop_replica(lost),
            }
        }
        let failure = Failure { kind, reason: reason.into(), load };
        self.feed.noted(&failure);
        self.fail(index, failure);
    }

    /// A replica is gone: calls are not passed to it any more, and another one is started. Calls are held meanwhile; where
    /// the start has to wait long, they are told why.
    fn exited(&mut self, index: usize, id: u64, ended: Option<(FailureKind, String)>, now: Instant) {
        let (kind, reason) = ended.unwrap_or((FailureKind::Exit { code: None }, "it ended".to_owned()));
        let slot = &mut self.slots[index];
        if slot.loading.as_ref().is_some_and(|loading| loading.id == id && loading.model.is_none()) {
            return self.load_failed(index, (kind, reason), now);
        }
        let serving = slot.serving.take_if(|serving| serving.id == id);
        let Some(gone) = serving.or_else(|| slot.loading.take_if(|loading| loading.id == id)) else { return };
        if let Some(remote) = &gone.remote {
            self.feed.remote_left(remote.id);
        }
        let delay = slot.policy.failed(now);
        // What it failed by before is over with it.
        (slot.start_at, slot.failure) = (Some(now + delay), None);
        tracing::error!(service = %self.service, replica = id, reason, ?delay, "replica is gone: starting another");
        let failure = self.starts_again(kind, reason, gone.load, delay);
        if delay > HELD {
            return self.fail(index, failure);
        }
        self.slots[index].waits_for = Some(failure);
        self.report();
    }

    /// A replica ended before it was ready.
    fn load_failed(&mut self, index: usize, error: (FailureKind, String), now: Instant) {
        let slot = &mut self.slots[index];
        match slot.loading.take() {
            // What it tried to load is not what is asked for any more.
            Some(loading) if loading.load < self.load => slot.start_at = Some(now),
            _ => self.failed_to_load(index, error, now),
        }
    }

    fn failed_to_load(&mut self, index: usize, (kind, error): (FailureKind, String), now: Instant) {
        let delay = self.slots[index].policy.failed(now);
        self.slots[index].start_at = Some(now + delay);
        tracing::error!(service = %self.service, error, retry_in = ?delay, "replica failed to start");
        let failure = self.starts_again(kind, error, self.load, delay);
        self.fail(index, failure);
    }

    /// The failure of a replica whose place another takes after `delay`. Of a process it says the how manieth that is, and when.
    fn starts_again(&mut self, kind: FailureKind, reason: String, load: u64, delay: Duration) -> Failure {
        self.restarts += 1;
        let reason = match kind {
            FailureKind::Start | FailureKind::Exit { .. } | FailureKind::Unhealthy => {
                format!("{reason}; restart {} {}", self.restarts, when(delay))
            }
            FailureKind::Load | FailureKind::NotReady | FailureKind::Upstream => reason,
        };
        let failure = Failure { kind, reason: reason.into(), load };
        self.feed.noted(&failure);
        failure
    }

    fn fail(&mut self, index: usize, failure: Failure) {
        self.failures += 1;
        let slot = &mut self.slots[index];
        (slot.failure, slot.waits_for) = (Some((self.failures, failure)), None);
        self.report();
    }

    fn report(&self) {
        let serving = || self.slots.iter().filter_map(|slot| slot.serving.as_ref());
        let oldest = serving().min_by_key(|serving| serving.load);
        let failed = || self.slots.iter().filter_map(|slot| slot.failure.as_ref());
        let last = failed().max_by_key(|(number, _)| *number).map(|(_, failure)| failure.clone());
        let state = match (oldest, last) {
            (Some(Handle { model: Some(model), replica, load, .. }), failure) => SetState::Ready {
                model: model.clone(),
                ready: serving().count(),
                took: self.took,
                failure,
                policy: replica.policy(),
                load: *load,
            },
            (_, Some(failure)) if failed().count() == self.slots.len() => SetState::Failed(failure),
            _ => SetState::Loading { reason: self.slots.iter().rev().find_map(|slot| slot.waits_for.clone()) },
        };
        self.feed.state_changed(state);
    }

    /// Tells what the replicas are at, where that has changed.
    fn count(&mut self) {
        let at = |is: fn(&Slot) -> bool| self.slots.iter().filter(|slot| is(slot)).count();
        let counts = Counts {
            starting: at(|slot| slot.loading.is_some()),
            ready: at(|slot| slot.serving.is_some()),
            waiting: at(|slot| slot.handles().next().is_none()),
            draining: self.leaving.len(),
            restarts: self.restarts,
        };
        if self.counts != counts {
            self.counts = counts;
            self.feed.counts_changed(counts);
        }
    }

    fn left(&mut self, event: &Event) {
        if matches!(event.kind, EventKind::Exited(_) | EventKind::LoadFailed(_)) {
            self.leaving.retain(|leaving| *leaving != event.replica);
        }
    }

    /// Stops every replica and waits for them.
    async fn end(mut self, wait_for_loading: bool) {
        for mut slot in std::mem::take(&mut self.slots) {
            if let Some(loading) = slot.loading.take_if(|_| !wait_for_loading) {
                loading.replica.stop();
            }
            self.stop_slot(slot);
        }
        while !self.leaving.is_empty() {
            self.count();
            let Some(event) = self.events.1.recv().await else { return };
            self.left(&event);
        }
        // What a process left behind is waited for too.
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A set that is dropped, by a panic too, leaves no replica behind that nobody could stop.
impl Drop for ReplicaSet {
    fn drop(&mut self) {
        for handle in self.slots.iter().flat_map(Slot::handles) {
            handle.replica.stop();
        }
    }
}

/// When another one is started, in UTC: people read it later.
fn when(delay: Duration) -> String {
    match delay {
        Duration::ZERO => "at once".to_owned(),
        delay => format!("at {}", humantime::format_rfc3339_seconds(SystemTime::now() + delay)),
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
