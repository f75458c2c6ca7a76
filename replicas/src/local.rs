//! A replica in this process: one thread that owns one loaded model and pulls batches for it.

use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Instant;

use parking_lot::Mutex;
use tokio::task::JoinSet;
use weirgate_models::{LoadError, Stop};
use weirgate_replicas_core::BatchPolicy;

use crate::credits::{Credits, LocalCredits};
use crate::engine::{Health, execute};
use crate::job::Job;
use crate::kind::{EventKind, Kind, Start, Started, Tell};
use crate::replica::{FailureKind, Feed, Pull, Replica};
use crate::supervisor::ReplicaSetConfig;
use crate::versions::Versions;

/// Loads the model of one replica, every version that is served. Called on the replica's own thread; it may take its time,
/// and end early with any error where a stop is asked for.
pub type Loader = dyn Fn(&Stop) -> Result<Versions, LoadError> + Send + Sync;

/// Engines of this process, each with a thread of its own.
pub(crate) struct Engines(pub ReplicaSetConfig);

impl Kind for Engines {
    fn start(&self, start: Start, _: &mut JoinSet<()>) -> Result<Arc<dyn Started>, String> {
        let config = &self.0;
        let credits = LocalCredits::new(config.max_batch_size, config.container_concurrency, config.max_latency);
        let name = format!("{}-{}", config.name, start.id);
        let started = LocalReplica::start(&name, credits, config.loader.clone(), start.feed, start.tell);
        let replica = started.map_err(|error| format!("no thread could be started for a replica: {error}"))?;
        Ok(replica)
    }
}

/// An engine thread, seen from outside.
pub(crate) struct LocalReplica {
    credits: LocalCredits,
    inbox: Mutex<Vec<Job>>,
    stopping: Stop,
    thread: OnceLock<Thread>,
}

impl Replica for LocalReplica {
    fn credits(&self) -> &dyn Credits {
        &self.credits
    }

    fn submit(&self, job: Job) {
        self.inbox.lock().push(job);
    }

    fn notify(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl LocalReplica {
    /// Starts the thread; it loads the model and then pulls from `feed` until it is stopped or its engine panics.
    pub(crate) fn start(
        name: &str,
        credits: LocalCredits,
        loader: Arc<Loader>,
        feed: Arc<dyn Feed>,
        tell: Tell,
    ) -> std::io::Result<Arc<LocalReplica>> {
        let replica = Arc::new(LocalReplica {
            credits,
            inbox: Mutex::default(),
            stopping: Stop::default(),
            thread: OnceLock::new(),
        });
        let body = Body { replica: replica.clone(), feed, tell };
        // The thread ends after `stop`, and says so by its last event.
        std::thread::Builder::new().name(name.to_owned()).spawn(move || body.run(&*loader))?;
        Ok(replica)
    }
}

impl Started for LocalReplica {
    /// The thread ends after the batch it runs, or soon where it still brings its model here.
    fn stop(&self) {
        self.stopping.ask();
        self.notify();
    }

    fn policy(&self) -> BatchPolicy {
        self.credits.policy()
    }
}

/// The thread's side.
struct Body {
    replica: Arc<LocalReplica>,
    feed: Arc<dyn Feed>,
    tell: Tell,
}

impl Body {
    fn run(self, loader: &Loader) {
        // Set here and not by `start`: the first `notify` may come before `spawn` has returned.
        let _ = self.replica.thread.set(std::thread::current());
        let started = Instant::now();
        let loaded = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| loader(&self.replica.stopping)));
        let versions = match loaded {
            Ok(Ok(versions)) => versions,
            Ok(Err(error)) => return self.tell.tell(EventKind::LoadFailed(error)),
            Err(_) => return self.tell.tell(EventKind::LoadFailed(LoadError("loading the model panicked".to_owned()))),
        };
        let model = Arc::new(versions.loaded());
        self.tell.tell(EventKind::Loaded { model, took: started.elapsed(), remote: None });
        // A panic of the model itself is caught where its batch can be answered. This is for our own: it must not leave
        // the supervisor waiting for a thread that is gone.
        let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.serve(versions)));
        let reason = served.unwrap_or_else(|_| Some("a fault of the replica itself".to_owned()));
        self.tell.tell(EventKind::Exited(reason.map(|reason| (FailureKind::Exit { code: None }, reason))));
    }

    fn serve(&self, mut versions: Versions) -> Option<String> {
        let replica: Arc<dyn Replica> = self.replica.clone();
        let mut suspect = false;
        let panicked = loop {
            if self.replica.stopping.asked() {
                break None;
            }
            self.replica.credits.set_free(true);
            match self.feed.pull(&replica) {
                Pull::Took(_) => {}
                Pull::Until(at) => std::thread::park_timeout(at.saturating_duration_since(Instant::now())),
                Pull::Empty => std::thread::park(),
            }
            self.replica.credits.set_free(false);
            let jobs = std::mem::take(&mut *self.replica.inbox.lock());
            if jobs.is_empty() {
                continue;
            }
            let (report, finished, health) = execute(&mut versions, jobs);
            self.feed.ran(&replica, &report, finished);
            match health {
                Health::Good => {}
                Health::MixesRows => {
                    tracing::warn!("the model does not keep rows apart: its calls run one by one from now on");
                    self.replica.credits.stop_batching();
                }
                Health::Suspect(error) => {
                    if !std::mem::replace(&mut suspect, true) {
                        self.tell.tell(EventKind::Suspect(error));
                    }
                }
                Health::Panicked(text) => break Some(text),
            }
        };
        self.feed.leave(&replica);
        panicked
    }
}
