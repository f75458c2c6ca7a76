//! Kinds of replicas, as the supervisor sees them: how one is started, and what it tells of itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weirgate_models::LoadError;
use weirgate_protocol::{LoadedModel, ModelSpec};
use weirgate_replicas_core::BatchPolicy;

use crate::remote::Remote;
use crate::replica::{FailureKind, Feed};

/// A kind of replica.
pub(crate) trait Kind: Send + Sync {
    /// Starts a replica, which tells how it fares from then on. Tasks that it needs are the supervisor's.
    fn start(&self, start: Start, tasks: &mut JoinSet<()>) -> Result<Arc<dyn Started>, String>;
}

/// A replica that was started.
pub(crate) trait Started: Send + Sync {
    /// Asks it to end once it has finished what it holds. Its last event says that it has.
    fn stop(&self);

    /// What one of its batches may hold.
    fn policy(&self) -> BatchPolicy;
}

/// What a replica is started with.
pub(crate) struct Start {
    pub id: u64,
    /// Which of the set's places it takes, from 0.
    pub place: usize,
    pub feed: Arc<dyn Feed>,
    pub tell: Tell,
}

/// A replica's way to tell its supervisor.
#[derive(Clone)]
pub(crate) struct Tell {
    pub replica: u64,
    pub events: UnboundedSender<Event>,
}

/// What a replica tells its supervisor.
pub(crate) struct Event {
    pub replica: u64,
    pub kind: EventKind,
}

pub(crate) enum EventKind {
    /// It is ready, for the first time or again.
    Loaded {
        model: Arc<LoadedModel>,
        took: Duration,
        /// The server that its calls are passed to; an engine of this process has none, it pulls.
        remote: Option<Arc<Remote>>,
    },
    /// It is not ready yet, for this reason: it starts.
    Starts(String),
    /// It goes on and may become ready, but is not, or not any more.
    NotReady(FailureKind, String),
    /// Its server takes another number of calls, or speaks, takes or gives something else than before.
    Changed(Option<Arc<LoadedModel>>),
    /// It ended before it was ready.
    LoadFailed(LoadError),
    /// It failed and goes on until it is replaced.
    Suspect(String),
    /// It ended: asked to, or for the reason that is told.
    Exited(Option<(FailureKind, String)>),
}

impl Tell {
    pub fn tell(&self, kind: EventKind) {
        // The supervisor is gone only at the very end of the process.
        let _ = self.events.send(Event { replica: self.replica, kind });
    }
}

/// Resolves when a replica is asked to stop. Nobody could ask any more where the supervisor is gone, and then it is over too.
pub(crate) async fn stop_asked(mut stopping: watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stop| *stop).await;
}

/// Tells that a task has ended where it did not say so itself: it panicked.
pub(crate) struct Ending(Option<Tell>);

impl Ending {
    pub fn new(tell: Tell) -> Ending {
        Ending(Some(tell))
    }

    /// The last event.
    pub fn tell(mut self, kind: EventKind) {
        if let Some(tell) = self.0.take() {
            tell.tell(kind);
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(tell) = self.0.take() {
            let reason = "a fault of the replica itself".to_owned();
            tell.tell(EventKind::Exited(Some((FailureKind::Exit { code: None }, reason))));
        }
    }
}

/// The model of a server that does not say what it takes and gives.
pub(crate) fn undescribed() -> Arc<LoadedModel> {
    let spec = ModelSpec { version: None, platform: "", inputs: Vec::new(), outputs: Vec::new(), pads: false };
    Arc::new(LoadedModel::new(Arc::new(spec), []))
}
