//! The supervisor of one revision's replicas: starts them, replaces those that fail, and says what the set can do.
//!
//! A replica whose engine panicked is gone and is started anew. One whose engine returned an error goes on serving until
//! its replacement has loaded, so that a call which upsets the engine takes nothing else down.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;
use weirgate_protocol::LoadedModel;
use weirgate_replicas_core::RestartPolicy;

use crate::credits::LocalCredits;
use crate::local::{Event, EventKind, Loader, LocalReplica};
use crate::replica::{Failure, Feed, SetState};

/// What a set of replicas runs.
#[derive(Clone)]
pub struct ReplicaSetConfig {
    /// Shown in thread names and logs: the service's name.
    pub name: String,
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

/// The replicas of one revision, in this process.
pub struct ReplicaSet {
    config: ReplicaSetConfig,
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
    last_failure: Option<Failure>,
}

/// The place of one replica: who serves, and who is loading to serve next.
#[derive(Default)]
struct Slot {
    serving: Option<Handle>,
    loading: Option<Handle>,
    policy: RestartPolicy,
    start_at: Option<Instant>,
}

struct Handle {
    id: u64,
    replica: Arc<LocalReplica>,
    /// The [`Wanted::load`] that it loads by.
    load: u64,
    /// What it takes and gives, once it has loaded.
    model: Option<Arc<LoadedModel>>,
}

impl Slot {
    fn has(handle: &Option<Handle>, id: u64) -> bool {
        handle.as_ref().is_some_and(|handle| handle.id == id)
    }
}

impl ReplicaSet {
    pub fn new(config: ReplicaSetConfig, feed: Arc<dyn Feed>) -> Self {
        ReplicaSet {
            config,
            feed,
            slots: Vec::new(),
            leaving: Vec::new(),
            next_id: 0,
            events: unbounded_channel(),
            took: Duration::ZERO,
            load: 0,
            last_failure: None,
        }
    }

    /// Keeps the replicas that are wanted. With 0 it ends when all its threads have; where the sender is gone, it does not
    /// wait for those that still load.
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
            let waits = self.slots.iter().filter(|slot| slot.loading.is_none());
            let due = waits.filter_map(|slot| slot.start_at).min();
            tokio::select! {
                changed = wanted.changed() => if changed.is_err() { break false },
                Some(event) = self.events.1.recv() => self.handle(event, Instant::now()),
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
        if self.last_failure.take().is_some() {
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
            self.slots.push(Slot { start_at: Some(now), ..Slot::default() });
        }
        if before > wanted {
            self.slots.sort_by_key(|slot| slot.serving.is_none());
            for slot in self.slots.split_off(wanted) {
                self.stop_slot(slot);
            }
            self.forget_failure();
            self.report();
        }
    }

    fn stop_slot(&mut self, slot: Slot) {
        for handle in [slot.loading, slot.serving].into_iter().flatten() {
            self.stop_replica(&handle);
        }
    }

    fn stop_replica(&mut self, handle: &Handle) {
        handle.replica.stop();
        self.leaving.push(handle.id);
    }

    fn start_due(&mut self, now: Instant) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if slot.loading.is_some() || slot.start_at.is_none_or(|at| at > now) {
                continue;
            }
            self.slots[index].start_at = None;
            let id = self.next_id;
            self.next_id += 1;
            let config = &self.config;
            let credits = LocalCredits::new(config.max_batch_size, config.container_concurrency, config.max_latency);
            let name = format!("{}-{id}", config.name);
            tracing::info!(service = config.name, replica = id, "loading the model");
            let started = LocalReplica::start(
                id,
                &name,
                credits,
                config.loader.clone(),
                self.feed.clone(),
                self.events.0.clone(),
            );
            match started {
                Ok(replica) => self.slots[index].loading = Some(Handle { id, replica, load: self.load, model: None }),
                Err(error) => {
                    self.failed_to_load(index, &format!("no thread could be started for a replica: {error}"), now);
                }
            }
        }
    }

    fn handle(&mut self, event: Event, now: Instant) {
        let id = event.replica;
        let Some(index) =
            self.slots.iter().position(|slot| Slot::has(&slot.serving, id) || Slot::has(&slot.loading, id))
        else {
            self.left(&event);
            return;
        };
        let name = self.config.name.as_str();
        let slot = &mut self.slots[index];
        match event.kind {
            EventKind::Loaded { model, took } => {
                tracing::info!(service = name, replica = id, seconds = took.as_secs_f64(), "replica is ready");
                let old = std::mem::replace(&mut slot.serving, slot.loading.take());
                slot.start_at = None;
                if let Some(serving) = &mut slot.serving {
                    serving.model = Some(model);
                }
                slot.policy.loaded(now);
                if let Some(old) = old {
                    self.stop_replica(&old);
                }
                self.took = took;
                self.forget_failure();
                self.report();
            }
            EventKind::LoadFailed(error) => match slot.loading.take() {
                // What it tried to load is not what is asked for any more.
                Some(loading) if loading.load < self.load => slot.start_at = Some(now),
                _ => self.failed_to_load(index, &error.0, now),
            },
            EventKind::Suspect(error) => {
                let delay = slot.policy.failed(now);
                slot.start_at = Some(now + delay);
                tracing::error!(service = name, replica = id, %error, ?delay, "engine failed: replica will be replaced");
            }
            EventKind::Exited { panicked } => {
                slot.serving = None;
                let delay = slot.policy.failed(now);
                slot.start_at = Some(now + delay);
                let error = panicked.as_deref().unwrap_or("its thread ended");
                tracing::error!(service = name, replica = id, error, ?delay, "replica is gone: starting another");
                self.report();
            }
        }
    }

    fn failed_to_load(&mut self, index: usize, error: &str, now: Instant) {
        let delay = self.slots[index].policy.failed(now);
        self.slots[index].start_at = Some(now + delay);
        tracing::error!(service = %self.config.name, error, retry_in = ?delay, "model failed to load");
        self.last_failure = Some(Failure { reason: error.into(), load: self.load });
        self.report();
    }

    fn forget_failure(&mut self) {
        if self.slots.iter().all(|slot| slot.serving.is_some()) {
            self.last_failure = None;
        }
    }

    fn report(&self) {
        let serving = || self.slots.iter().filter_map(|slot| slot.serving.as_ref());
        let oldest = serving().min_by_key(|serving| serving.load);
        let state = match (oldest, &self.last_failure) {
            (Some(Handle { model: Some(model), replica, load, .. }), failure) => SetState::Ready {
                model: model.clone(),
                ready: serving().count(),
                took: self.took,
                failure: failure.clone(),
                policy: replica.policy(),
                load: *load,
            },
            (_, Some(failure)) => SetState::Failed(failure.clone()),
            _ => SetState::Loading,
        };
        self.feed.state_changed(state);
    }

    fn left(&mut self, event: &Event) {
        if matches!(event.kind, EventKind::Exited { .. } | EventKind::LoadFailed(_)) {
            self.leaving.retain(|leaving| *leaving != event.replica);
        }
    }

    /// Stops every thread and waits for them.
    async fn end(mut self, wait_for_loading: bool) {
        for mut slot in std::mem::take(&mut self.slots) {
            if let Some(loading) = slot.loading.take_if(|_| !wait_for_loading) {
                loading.replica.stop();
            }
            self.stop_slot(slot);
        }
        while !self.leaving.is_empty() {
            let Some(event) = self.events.1.recv().await else { return };
            self.left(&event);
        }
    }
}

/// A set that is dropped, by a panic too, leaves no thread behind that nobody could stop.
impl Drop for ReplicaSet {
    fn drop(&mut self) {
        for handle in self.slots.iter().flat_map(|slot| [&slot.serving, &slot.loading]).flatten() {
            handle.replica.stop();
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
