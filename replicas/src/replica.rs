//! The two traits between lanes and replicas, and what replicas report.

use std::sync::Arc;
use std::time::{Duration, Instant};

use weirgate_protocol::LoadedModel;
use weirgate_replicas_core::{BatchPolicy, CloseReason};

use crate::credits::Credits;
use crate::embed::{self, EmbedObserver};
use crate::job::{Finished, Job, Timing};
use crate::remote::Remote;
use crate::text::{TextObserver, Unobserved};

/// Whoever executes calls.
pub trait Replica: Send + Sync {
    /// What this replica takes now.
    fn credits(&self) -> &dyn Credits;

    /// Hands a call over, within a grant. Its parts arrive at the caller's [`Parts`](crate::Parts); dropping those cancels
    /// it. From here on the call counts as executed once.
    fn submit(&self, job: Job);

    /// Calls wait in the lane: come and pull. Never blocks.
    fn notify(&self);
}

/// A lane, as the replicas that it feeds see it.
pub trait Feed: Send + Sync {
    /// Hands the next batch to `replica` by [`Replica::submit`], or notes that it is free and will be notified.
    fn pull(&self, replica: &Arc<dyn Replica>) -> Pull;

    /// The replica leaves; it is not notified any more.
    fn leave(&self, replica: &Arc<dyn Replica>);

    /// A batch ran. The answers are delivered by the lane, all of a batch at once: waking each caller from the engine's
    /// thread would cost a system call each.
    fn ran(&self, replica: &Arc<dyn Replica>, report: &BatchReport, finished: Vec<Finished>);

    /// The set of replicas behind this lane changed.
    fn state_changed(&self, state: SetState);

    /// What the replicas are at, one by one, is another. For people: calls go by the state.
    fn counts_changed(&self, _counts: Counts) {}

    /// A replica has failed, or takes long to be ready: told each time, and before the state says so. For people, too.
    fn noted(&self, _failure: &Failure) {}

    /// Who is told what a text engine of this lane does.
    fn observe_text(&self) -> Arc<dyn TextObserver> {
        Arc::new(Unobserved)
    }

    /// Who is told what an embedding engine of this lane does.
    fn observe_embed(&self) -> Arc<dyn EmbedObserver> {
        Arc::new(embed::Unobserved)
    }

    /// A server is ready to be passed calls to; before the state says so.
    fn remote_joined(&self, remote: Arc<Remote>);

    /// What the server takes at a time, or speaks, is another.
    fn remote_changed(&self, id: u64);

    /// The server is passed no more calls; it finishes those it has.
    fn remote_drains(&self, id: u64);

    /// The server is gone.
    fn remote_left(&self, id: u64);
}

/// What a pull gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pull {
    /// A batch was submitted, closed for this reason.
    Took(CloseReason),
    /// Calls wait for company; pull again at this instant.
    Until(Instant),
    /// Nothing waits.
    Empty,
}

/// What one batch was and took.
#[derive(Clone, Copy, Debug, Default)]
pub struct BatchReport {
    pub rows: usize,
    /// Bytes of input that the model was given, padding included.
    pub bytes: usize,
    /// The model's own time; `None` where no run succeeded, or the batch had to be taken apart.
    pub engine: Option<Duration>,
    /// From being taken to the start of the run, of the call that was taken first.
    pub join: Duration,
    /// Runs of the model, those that failed too.
    pub runs: usize,
    pub answered: AnsweredCalls,
}

impl BatchReport {
    /// Adds another batch that ran behind this one. Their times together would teach nothing about one.
    pub(crate) fn join_with(&mut self, other: &BatchReport) {
        self.rows += other.rows;
        self.bytes += other.bytes;
        self.runs += other.runs;
        self.engine = None;
        self.answered.calls += other.answered.calls;
        self.answered.rows += other.answered.rows;
        self.answered.timing.queue += other.answered.timing.queue;
        self.answered.timing.batch += other.answered.timing.batch;
        self.answered.timing.engine += other.answered.timing.engine;
    }
}

/// The calls of a batch that were answered, and their times added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct AnsweredCalls {
    pub calls: usize,
    pub rows: usize,
    pub timing: Timing,
}

impl AnsweredCalls {
    pub(crate) fn add(&mut self, rows: usize, timing: &Timing) {
        self.calls += 1;
        self.rows += rows;
        self.timing.queue += timing.queue;
        self.timing.batch += timing.batch;
        self.timing.engine += timing.engine;
    }
}

/// What a set of replicas can do at the moment.
#[derive(Clone, Debug)]
pub enum SetState {
    /// No replica is ready yet, and not all have failed; calls wait.
    Loading {
        /// Why the one that was asked last is not ready, where it starts for long, or takes the place of one that is gone.
        reason: Option<Failure>,
    },
    /// At least one replica is ready. Where others are missing, why the last of them failed.
    Ready {
        /// What the replica that loaded first of those that serve takes and gives: as long as a load is under way, calls are
        /// checked against the model before it.
        model: Arc<LoadedModel>,
        ready: usize,
        /// How long the newest replica took to load.
        took: Duration,
        failure: Option<Failure>,
        /// What each of them takes at a time.
        policy: BatchPolicy,
        /// Every replica that serves has loaded the model since this [`Wanted::load`] was asked for.
        load: u64,
    },
    /// No replica is ready, and all have failed: calls are refused with the last one's reason.
    Failed(Failure),
}

/// Why a replica is not ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub kind: FailureKind,
    pub reason: Arc<str>,
    /// The last [`Wanted::load`](crate::Wanted::load) that it was to do.
    pub load: u64,
}

impl Failure {
    /// Nothing of a process or of a server.
    pub fn of_loading(reason: impl Into<Arc<str>>, load: u64) -> Failure {
        Failure { kind: FailureKind::Load, reason: reason.into(), load }
    }
}

/// What a replica has failed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The model could not be loaded, or brought here.
    Load,
    /// Its process could not be started.
    Start,
    /// It ended by itself: its process with this code, as a shell tells it (128 and the signal's number, where one ended
    /// it), or an engine of this process, which has none.
    Exit { code: Option<i32> },
    /// Its process was ended: a probe that says that it lives had failed too often.
    Unhealthy,
    /// Its process runs, and is not ready.
    NotReady,
    /// It is a server elsewhere, which is not ready.
    Upstream,
}

/// The replicas of a set, by what they are at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// They run, or are being started, and are not ready.
    pub starting: usize,
    pub ready: usize,
    /// They have failed, and are started anew later.
    pub waiting: usize,
    /// They finish what they hold, and go.
    pub draining: usize,
    /// How often one was started because another had ended or failed by itself.
    pub restarts: u64,
}
