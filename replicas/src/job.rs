//! A job: a call, and the sending end of its parts. The other end is the caller's, and dropping it cancels the call.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::HeaderValue;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use weirgate_models::Interrupt;
use weirgate_protocol::{Call, Error, Extras, Result, RetryClass, Tensor};
use weirgate_replicas_core::CloseReason;

use crate::replica::AnsweredCalls;

/// Where a call's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// From entering the lane to being taken by a replica.
    pub queue: Duration,
    /// From being taken to the start of the run: joining rows, and reruns where a batch had to be taken apart.
    pub batch: Duration,
    /// The model's own time.
    pub engine: Duration,
}

/// The part that a tensor call is answered with.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The outputs asked for, in the order asked.
    pub outputs: Vec<Tensor>,
    /// The version of the model that ran; none where it has none.
    pub version: Option<Arc<str>>,
    pub timing: Timing,
    pub batch: BatchOf,
}

/// The batch that a call was executed in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchOf {
    pub rows: usize,
    /// Why it was closed; none where no batch former did.
    pub closed: Option<CloseReason>,
}

/// A run that several calls shared, on an engine or at another server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ran {
    /// Of all its calls.
    pub rows: usize,
    pub started: Instant,
    /// The model's time, or the server's.
    pub took: Duration,
}

impl Ran {
    pub fn of(jobs: &[Job], started: Instant, took: Duration) -> Ran {
        Ran { rows: jobs.iter().map(|job| job.call.work.rows).sum(), started, took }
    }
}

/// What goes to a server with a call's tensors, where one executes it.
#[derive(Clone, Debug, Default)]
pub struct Along {
    /// What its caller calls it.
    pub id: Option<String>,
    /// What it says besides. A call that says anything shares no batch.
    pub extras: Option<Box<Extras>>,
    /// The gateways that it has passed, as [`via::of`](crate::remote::via::of) has them. Calls that came by different ways
    /// share no exchange.
    pub via: Option<HeaderValue>,
}

/// A call on its way to a replica.
#[derive(Debug)]
pub struct Job {
    pub call: Call,
    pub along: Along,
    /// Its turn in its lane, as that counts.
    pub turn: u64,
    /// How often it was handed over.
    pub attempts: usize,
    /// Executing it twice does no harm.
    pub repeats: bool,
    /// A server that did not answer may have executed it. Once it is so it stays so.
    pub may_have_executed: bool,
    pub(crate) entered: Instant,
    pub(crate) taken: Option<Instant>,
    closed: Option<CloseReason>,
    reply: oneshot::Sender<Result<Answer>>,
    state: Arc<CallState>,
}

/// The caller's end: the parts of a call, as they come.
#[derive(Debug)]
pub struct Parts {
    reply: Option<oneshot::Receiver<Result<Answer>>>,
    state: Arc<CallState>,
}

impl Job {
    /// Makes a job of a call that enters a lane at `now`.
    pub fn new(call: Call, now: Instant) -> (Job, Parts) {
        let (sender, receiver) = oneshot::channel();
        let state = Arc::new(CallState(Mutex::new(Phase::Waiting)));
        let job = Job {
            call,
            along: Along::default(),
            turn: 0,
            attempts: 0,
            repeats: false,
            may_have_executed: false,
            entered: now,
            taken: None,
            closed: None,
            reply: sender,
            state: state.clone(),
        };
        (job, Parts { reply: Some(receiver), state })
    }

    /// When it entered its lane, the first time.
    pub fn entered(&self) -> Instant {
        self.entered
    }

    /// Notes when a replica took the call out of its lane, in a batch that was closed for this reason.
    pub fn taken_at(&mut self, now: Instant, closed: CloseReason) {
        self.taken = Some(now);
        self.closed = Some(closed);
        self.attempts += 1;
    }

    /// Ends the call with this answer, to be delivered. An error says of the call what holds for all its attempts together.
    pub fn finish(self, answer: Result<Answer>) -> Finished {
        let answer = match answer {
            Err(error) if self.may_have_executed && error.retry_class() == RetryClass::NotExecuted => {
                Err(error.with_retry_class(RetryClass::MayHaveExecuted))
            }
            answer => answer,
        };
        Finished { job: self, answer }
    }

    /// Ends the call with its own rows of a run, and adds it to those that are answered.
    pub(crate) fn answer(
        self,
        outputs: Vec<Tensor>,
        version: Option<Arc<str>>,
        ran: &Ran,
        answered: &mut AnsweredCalls,
    ) -> Finished {
        let taken = self.taken.unwrap_or(ran.started);
        let timing = Timing {
            queue: taken.saturating_duration_since(self.entered),
            batch: ran.started.saturating_duration_since(taken),
            engine: ran.took,
        };
        answered.add(self.call.work.rows, &timing);
        let batch = BatchOf { rows: ran.rows, closed: self.closed };
        self.finish(Ok(Answer { outputs, version, timing, batch }))
    }

    pub fn is_cancelled(&self) -> bool {
        matches!(*self.state.0.lock(), Phase::Cancelled)
    }

    /// Joins the run; `false` where the caller is gone already.
    pub(crate) fn start(&self, run: &Arc<Run>) -> bool {
        let mut phase = self.state.0.lock();
        if matches!(*phase, Phase::Cancelled) {
            return false;
        }
        run.live.fetch_add(1, Ordering::Relaxed);
        *phase = Phase::Running(run.clone());
        true
    }
}

/// A job with its answer, to be delivered.
#[derive(Debug)]
pub struct Finished {
    job: Job,
    pub(crate) answer: Result<Answer>,
}

impl Finished {
    /// The job's turn in its lane.
    pub fn turn(&self) -> u64 {
        self.job.turn
    }

    /// What the call has ended with, where that is no answer.
    pub fn error(&self) -> Option<&Error> {
        self.answer.as_ref().err()
    }

    /// Sends the answer as the last part. A caller that is gone gets nothing.
    pub fn deliver(self) {
        *self.job.state.0.lock() = Phase::Ended;
        let _ = self.job.reply.send(self.answer);
    }
}

impl Parts {
    /// The next part; `None` after the last. A tensor call has one.
    pub async fn next(&mut self) -> Option<Result<Answer>> {
        let reply = self.reply.as_mut()?;
        let answer = reply.await;
        self.reply = None;
        // A job is dropped without an answer only where its engine's thread is gone.
        Some(answer.unwrap_or_else(|_| Err(Error::engine("the replica went away while it held the call"))))
    }
}

impl Drop for Parts {
    fn drop(&mut self) {
        if self.reply.is_some() {
            self.state.cancel();
        }
    }
}

#[derive(Debug)]
struct CallState(Mutex<Phase>);

#[derive(Debug)]
enum Phase {
    Waiting,
    Running(Arc<Run>),
    Ended,
    Cancelled,
}

impl CallState {
    fn cancel(&self) {
        let mut phase = self.0.lock();
        if matches!(*phase, Phase::Ended) {
            return;
        }
        let before = std::mem::replace(&mut *phase, Phase::Cancelled);
        drop(phase);
        if let Phase::Running(run) = before {
            run.leave();
        }
    }
}

/// One run of an engine, stopped when nobody waits for it any more.
pub(crate) struct Run {
    /// Callers that wait, and one for the engine itself until it starts.
    live: AtomicUsize,
    interrupt: Arc<dyn Interrupt>,
    phase: Mutex<RunPhase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RunPhase {
    Open,
    Stopped,
    Finished,
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").field("live", &self.live).field("phase", &*self.phase.lock()).finish_non_exhaustive()
    }
}

impl Run {
    pub(crate) fn new(interrupt: Arc<dyn Interrupt>) -> Arc<Run> {
        Arc::new(Run { live: AtomicUsize::new(1), interrupt, phase: Mutex::new(RunPhase::Open) })
    }

    /// One caller, or the engine's own hold, leaves. The last one stops the run.
    pub(crate) fn leave(&self) {
        if self.live.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let mut phase = self.phase.lock();
        if *phase == RunPhase::Open {
            *phase = RunPhase::Stopped;
            self.interrupt.stop();
        }
    }

    /// The engine is done; a late `leave` must not stop the next run.
    pub(crate) fn finish(&self) {
        let mut phase = self.phase.lock();
        if *phase == RunPhase::Stopped {
            self.interrupt.reset();
        }
        *phase = RunPhase::Finished;
    }
}
