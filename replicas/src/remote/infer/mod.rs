//! Executes one batch of tensor calls on a server: joined into one exchange, in a protocol that it speaks.
//!
//! ```text
//! exchange  one request and its answer, in V2 over HTTP or gRPC, or in V1
//! refusal   what a server's refusal means for the calls, and for the server
//! ```
//!
//! A batch is handed over once. Only where the server has refused it as a whole, for what it was sent, are its calls sent
//! again, each on its own: so a wrong one fails alone. What was handed over and not answered goes back to the lane, with the
//! fault that says whether it may have been executed.

mod exchange;
mod refusal;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use weirgate_models::Interrupt;
use weirgate_protocol::{Error, ModelSpec, Payload, RetryClass, Tensor};

use self::exchange::Exchange;
use self::refusal::{Blame, Refusal};
use super::fault::Fault;
use super::{Described, Remote};
use crate::job::{Finished, Job, Ran, Run};
use crate::joined::Joined;
use crate::replica::BatchReport;

/// What became of a batch. Every job of it is in `finished` or in `unanswered`.
#[derive(Debug)]
pub struct Executed {
    pub report: BatchReport,
    pub finished: Vec<Finished>,
    /// The calls that the server has not answered, and whether it may have executed them. They can be executed elsewhere, or
    /// be finished with the fault's error.
    pub unanswered: Vec<(Job, Fault)>,
    pub conduct: Conduct,
}

/// How the server did: what its breaker and its balance are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conduct {
    Answered,
    /// A 5xx, a reset, too slow, or something that is no answer.
    Failed,
    /// 429 or 503, with what its `Retry-After` said.
    Overloaded {
        retry_after: Option<Duration>,
    },
    /// It has executed nothing.
    NotExecuted,
    /// Every caller left: nothing is learned.
    Cancelled,
}

impl Conduct {
    /// Of several exchanges the one that says most against the server.
    fn worse(self, other: Conduct) -> Conduct {
        let rank = |conduct: &Conduct| match conduct {
            Conduct::Cancelled => 0,
            Conduct::Answered => 1,
            Conduct::NotExecuted => 2,
            Conduct::Overloaded { .. } => 3,
            Conduct::Failed => 4,
        };
        if rank(&other) > rank(&self) { other } else { self }
    }
}

impl Remote {
    /// Executes `jobs` as one batch; those that were checked against different models or versions, or have come by different
    /// ways, one after the other.
    /// Dropping this ends the exchange, and the jobs with it.
    pub async fn execute(self: &Arc<Self>, jobs: Vec<Job>) -> Executed {
        let mut rest = jobs;
        let mut execution = Execution::new(self, self.described());
        while let Some(first) = rest.first() {
            let (model, via) = (asked_model(first), first.along.via.clone());
            let like_first = |job: &Job| job.along.via == via && asked_model(job) == model;
            let (batch, others) = rest.into_iter().partition(like_first);
            execution.run_batch(batch).await;
            rest = others;
        }
        execution.executed
    }
}

/// What a call was checked against, and the version that alone may answer it.
fn asked_model(job: &Job) -> Option<(Arc<ModelSpec>, Option<Arc<str>>)> {
    // The one payload there is; `#[non_exhaustive]` asks for the other arm.
    let Payload::Infer { spec, pinned, .. } = &job.call.payload else { return None };
    Some((spec.clone(), spec.version.clone().filter(|_| *pinned)))
}

/// Stops an exchange that nobody waits for any more.
#[derive(Default)]
struct Stop(Notify);

impl Interrupt for Stop {
    fn stop(&self) {
        self.0.notify_one();
    }

    /// Each batch has one of its own.
    fn reset(&self) {}
}

struct Execution<'a> {
    remote: &'a Remote,
    described: Arc<Described>,
    executed: Executed,
}

impl Execution<'_> {
    fn new(remote: &Remote, described: Arc<Described>) -> Execution<'_> {
        let executed = Executed {
            report: BatchReport::default(),
            finished: Vec::new(),
            unanswered: Vec::new(),
            conduct: Conduct::Cancelled,
        };
        Execution { remote, described, executed }
    }

    /// Executes jobs of one model.
    async fn run_batch(&mut self, jobs: Vec<Job>) {
        let stop = Arc::new(Stop::default());
        let run = Run::new(stop.clone());
        let (jobs, gone): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.start(&run));
        self.finish(gone, &nobody_waits());
        run.leave();
        self.executed.report.rows += jobs.iter().map(|job| job.call.work.rows).sum::<usize>();
        if !jobs.is_empty() {
            self.run(jobs, &stop).await;
        }
        run.finish();
    }

    async fn run(&mut self, jobs: Vec<Job>, stop: &Stop) {
        let alone = jobs.len() == 1;
        match self.attempt(&jobs, stop).await {
            Attempt::Done { shares, version, bytes, started, took } => {
                let report = &mut self.executed.report;
                report.bytes += bytes;
                // The times of several runs together would teach nothing about one.
                report.engine = (report.runs == 1).then_some(took);
                let taken = jobs.first().and_then(|job| job.taken).unwrap_or(started);
                report.join = started.saturating_duration_since(taken);
                self.conduct(Conduct::Answered);
                self.answer(jobs, shares, version.as_ref(), started, took);
            }
            Attempt::Refused(Refusal { blame: Blame::Call, .. }) if !alone => self.run_alone(jobs, stop).await,
            Attempt::Refused(Refusal { error, blame }) => {
                self.conduct(blame.conduct());
                self.finish(jobs, &error);
            }
            Attempt::Unanswered(fault) => {
                self.conduct(if fault.not_executed() { Conduct::NotExecuted } else { Conduct::Failed });
                self.executed.unanswered.extend(jobs.into_iter().map(|job| (job, fault.clone())));
            }
            Attempt::Late => {
                self.conduct(Conduct::Failed);
                tracing::warn!(server = &*self.remote.name, "the deadline passed before a server answered");
                self.finish(jobs, &late());
            }
            Attempt::Stopped => self.finish(jobs, &nobody_waits()),
        }
    }

    /// Sends each call on its own, so that only the one at fault fails.
    async fn run_alone(&mut self, jobs: Vec<Job>, stop: &Stop) {
        for job in jobs {
            if job.is_cancelled() {
                self.finish(vec![job], &nobody_waits());
            } else {
                // Boxed, because a run of several comes here and goes back.
                Box::pin(self.run(vec![job], stop)).await;
            }
        }
        self.executed.report.engine = None;
    }

    async fn attempt(&mut self, jobs: &[Job], stop: &Stop) -> Attempt {
        let Some(deadline) = jobs.iter().map(|job| job.call.deadline).max() else { return Attempt::Stopped };
        let joined = heavy(work_bytes(jobs), || Joined::new(jobs));
        let bytes = joined.bytes();
        let exchange = match Exchange::new(&self.described, &jobs[0], &joined, jobs.len() == 1, deadline) {
            Ok(exchange) => exchange,
            Err(refusal) => return Attempt::Refused(refusal),
        };
        self.executed.report.runs += 1;
        let started = Instant::now();
        let sent = tokio::time::timeout_at(deadline.into(), exchange.send(&self.remote.link));
        let outcome = tokio::select! {
            outcome = sent => outcome,
            () = stop.0.notified() => {
                // Callers leave at their deadlines, too: then it is the server that is slow.
                return if Instant::now() >= deadline { Attempt::Late } else { Attempt::Stopped };
            }
        };
        let took = started.elapsed();
        let given = match outcome {
            Ok(Ok(given)) => given,
            Ok(Err(exchange::Failed::Fault(fault))) => return Attempt::Unanswered(fault),
            Ok(Err(exchange::Failed::Refused(refusal))) => return Attempt::Refused(refusal),
            Err(_) => return Attempt::Late,
        };
        match joined.share(&given.outputs, jobs) {
            Some(shares) => Attempt::Done { shares, version: given.version, bytes, started, took },
            None => Attempt::Refused(Refusal::unusable(mixed(&given.outputs, jobs))),
        }
    }

    fn conduct(&mut self, conduct: Conduct) {
        self.executed.conduct = self.executed.conduct.worse(conduct);
    }

    /// Finishes every job with its own rows.
    fn answer(
        &mut self,
        jobs: Vec<Job>,
        shares: Vec<Vec<Tensor>>,
        version: Option<&Arc<str>>,
        started: Instant,
        engine: Duration,
    ) {
        let ran = Ran::of(&jobs, started, engine);
        for (job, outputs) in jobs.into_iter().zip(shares) {
            let version = version.cloned().or_else(|| asked_model(&job)?.0.version.clone());
            self.executed.finished.push(job.answer(outputs, version, &ran, &mut self.executed.report.answered));
        }
    }

    fn finish(&mut self, jobs: Vec<Job>, error: &Error) {
        self.executed.finished.extend(jobs.into_iter().map(|job| job.finish(Err(error.clone()))));
    }
}

enum Attempt {
    Done {
        shares: Vec<Vec<Tensor>>,
        version: Option<Arc<str>>,
        bytes: usize,
        started: Instant,
        took: Duration,
    },
    Refused(Refusal),
    Unanswered(Fault),
    /// The last caller's deadline passed.
    Late,
    /// The last caller left before that.
    Stopped,
}

fn nobody_waits() -> Error {
    Error::cancelled("the call was stopped because nobody waited for it any more")
}

/// It names no server, for not every caller may know them.
fn late() -> Error {
    Error::deadline("the deadline passed before the server answered", RetryClass::MayHaveExecuted)
}

/// Why an answer can't be shared: it has been executed, and must not be once more.
fn mixed(outputs: &[Tensor], jobs: &[Job]) -> String {
    let rows: usize = jobs.iter().map(|job| job.call.work.rows).sum();
    let wrong = outputs.iter().find(|output| output.shape.first() != Some(&rows));
    match wrong {
        Some(output) => format!(
            "output '{}' has shape {:?} for a batch of {rows} rows: where the server does not keep rows apart, remove \
             'batcher' from its manifest",
            output.name,
            &output.shape[..]
        ),
        None => format!("its outputs don't hold the {rows} rows of the batch"),
    }
}

fn work_bytes(jobs: &[Job]) -> usize {
    jobs.iter().map(|job| job.call.work.bytes).sum()
}

/// Works on so many bytes: where they are many, so that it does not hold up the other connections of a thread.
fn heavy<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    const HEAVY: usize = 256 << 10;
    let may_block = || {
        let runtime = tokio::runtime::Handle::try_current();
        runtime.is_ok_and(|runtime| runtime.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread)
    };
    if bytes >= HEAVY && may_block() { tokio::task::block_in_place(work) } else { work() }
}
