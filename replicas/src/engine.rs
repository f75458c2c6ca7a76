//! Executes one batch on a model: joins, runs, splits, and takes a failed batch apart so that a wrong call fails alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use weirgate_models::{Model, RunError};
use weirgate_protocol::{Error, Payload, Tensor};

use crate::batch::{join, join_padded, split};
use crate::job::{Answer, Finished, Job, Run, Timing};
use crate::replica::BatchReport;
use crate::versions::Versions;

/// How the engine is after a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    Good,
    /// The model gave outputs that don't keep rows apart: run calls one by one from now on.
    MixesRows,
    /// The engine returned an error that no input explains: replace it, but it can serve until then.
    Suspect(String),
    /// The engine panicked: its state is unknown, and it must not run again.
    Panicked(String),
}

/// Runs `jobs` as one batch. Every job is finished, once.
pub(crate) fn execute(versions: &mut Versions, jobs: Vec<Job>) -> (BatchReport, Vec<Finished>, Health) {
    let calls = jobs.len();
    // Calls of different versions have different signatures, so those of one batch are for one model.
    let Some(model) = jobs.first().and_then(|job| versions.of(&job.call.payload)) else {
        return (BatchReport::default(), refuse(jobs, &unloaded()), Health::Good);
    };
    let run = Run::new(model.interrupt());
    let (jobs, gone): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| job.start(&run));
    let report = BatchReport { rows: jobs.iter().map(|job| job.call.work.rows).sum(), ..BatchReport::default() };
    let mut batch = Execution { model, report, finished: Vec::with_capacity(calls) };
    batch.refuse(gone, &nobody_waits());
    run.leave();
    let health = if jobs.is_empty() { Health::Good } else { batch.run(jobs) };
    run.finish();
    (batch.report, batch.finished, health)
}

/// The version was there when the call was checked, and a load of newer ones took it away.
fn unloaded() -> Error {
    Error::unavailable("the model was loaded anew while the call waited, and has another version or other inputs now")
}

fn nobody_waits() -> Error {
    Error::cancelled("the call was stopped because nobody waited for it any more")
}

struct Execution<'a> {
    model: &'a mut dyn Model,
    report: BatchReport,
    finished: Vec<Finished>,
}

impl Execution<'_> {
    fn run(&mut self, jobs: Vec<Job>) -> Health {
        self.report.runs += 1;
        match attempt(self.model, &jobs) {
            Attempt::Done { rows, bytes, started, engine } => {
                self.report.engine = Some(engine);
                self.report.bytes = bytes;
                let taken = jobs.first().and_then(|job| job.taken).unwrap_or(started);
                self.report.join = started.saturating_duration_since(taken);
                self.answer(jobs, rows, started, engine);
                Health::Good
            }
            Attempt::Interrupted => {
                self.refuse(jobs, &nobody_waits());
                Health::Good
            }
            Attempt::Panicked(text) => {
                self.refuse(jobs, &panicked(&text));
                Health::Panicked(text)
            }
            Attempt::MixesRows => match self.run_alone(jobs) {
                Health::Good => Health::MixesRows,
                worse => worse,
            },
            Attempt::Failed(_) if jobs.len() > 1 => self.run_alone(jobs),
            Attempt::Failed(RunError::Engine(text)) => {
                self.refuse(jobs, &Error::engine(format!("the engine failed: {text}")));
                Health::Suspect(text)
            }
            Attempt::Failed(error) => {
                self.refuse(jobs, &Error::invalid(error.to_string()));
                Health::Good
            }
        }
    }

    /// Runs each call on its own, so that only the one at fault fails.
    fn run_alone(&mut self, jobs: Vec<Job>) -> Health {
        let mut worst = Health::Good;
        let mut jobs = jobs.into_iter();
        while let Some(job) = jobs.next() {
            if job.is_cancelled() {
                self.refuse(vec![job], &nobody_waits());
                continue;
            }
            match self.run(vec![job]) {
                Health::Good | Health::MixesRows => {}
                Health::Panicked(text) => {
                    self.refuse(jobs.collect(), &panicked(&text));
                    return Health::Panicked(text);
                }
                suspect => worst = suspect,
            }
        }
        // Times of single runs would teach the cost model that batches are dear.
        self.report.engine = None;
        worst
    }

    /// Finishes every job with its own rows.
    fn answer(&mut self, jobs: Vec<Job>, rows: Vec<Vec<Tensor>>, started: Instant, engine: Duration) {
        for (job, outputs) in jobs.into_iter().zip(rows) {
            let taken = job.taken.unwrap_or(started);
            let timing = Timing {
                queue: taken.saturating_duration_since(job.entered),
                batch: started.saturating_duration_since(taken),
                engine,
            };
            self.report.answered.add(job.call.work.rows, &timing);
            let version = self.model.spec().version.clone();
            self.finished.push(job.finish(Ok(Answer { outputs, version, timing })));
        }
    }

    fn refuse(&mut self, jobs: Vec<Job>, error: &Error) {
        self.finished.extend(refuse(jobs, error));
    }
}

fn refuse(jobs: Vec<Job>, error: &Error) -> Vec<Finished> {
    jobs.into_iter().map(|job| job.finish(Err(error.clone()))).collect()
}

fn panicked(text: &str) -> Error {
    Error::engine(format!("the engine panicked: {text}: the replica is being replaced"))
}

enum Attempt {
    Done { rows: Vec<Vec<Tensor>>, bytes: usize, started: Instant, engine: Duration },
    MixesRows,
    Failed(RunError),
    Interrupted,
    Panicked(String),
}

fn attempt(model: &mut dyn Model, jobs: &[Job]) -> Attempt {
    catch_unwind(AssertUnwindSafe(|| join_run_share(model, jobs)))
        .unwrap_or_else(|panic| Attempt::Panicked(panic_text(panic.as_ref())))
}

fn join_run_share(model: &mut dyn Model, jobs: &[Job]) -> Attempt {
    let payloads: Vec<(&[Tensor], &[usize])> = jobs
        .iter()
        .map(|job| match &job.call.payload {
            Payload::Infer { inputs, outputs, .. } => (inputs.as_slice(), outputs.as_slice()),
            // The lane of a tensor model is only ever given tensors; `#[non_exhaustive]` asks for this arm.
            _ => (&[][..], &[][..]),
        })
        .collect();
    let mut wanted: Vec<usize> = payloads.iter().flat_map(|(_, outputs)| outputs.iter().copied()).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let lengths = || jobs.iter().filter_map(|job| job.call.work.length);
    let padded = lengths().max().filter(|longest| lengths().any(|length| length != *longest));
    let inputs: Vec<Tensor> = (0..payloads[0].0.len())
        .map(|index| {
            let parts: Vec<&Tensor> = payloads.iter().map(|(inputs, _)| &inputs[index]).collect();
            match padded {
                Some(length) => join_padded(&parts, length),
                None => join(&parts),
            }
        })
        .collect();
    let started = Instant::now();
    let result = model.run(&inputs, &wanted);
    let engine = started.elapsed();
    let outputs = match result {
        Ok(outputs) => outputs,
        Err(RunError::Interrupted) => return Attempt::Interrupted,
        Err(error) => return Attempt::Failed(error),
    };
    match share(&outputs, &wanted, jobs, &payloads) {
        Some(rows) => {
            let bytes = inputs.iter().map(|input| input.data.len()).sum();
            Attempt::Done { rows, bytes, started, engine }
        }
        None => Attempt::MixesRows,
    }
}

/// Each caller's own rows of the outputs it asked for, in the order it asked.
fn share(
    outputs: &[Tensor],
    wanted: &[usize],
    jobs: &[Job],
    payloads: &[(&[Tensor], &[usize])],
) -> Option<Vec<Vec<Tensor>>> {
    let place = |output: &usize| wanted.binary_search(output).ok();
    if jobs.len() == 1 {
        let asked = payloads[0].1.iter().map(|output| Some(outputs[place(output)?].clone()));
        return Some(vec![asked.collect::<Option<_>>()?]);
    }
    let rows: Vec<usize> = jobs.iter().map(|job| job.call.work.rows).collect();
    let mut parts = Vec::with_capacity(outputs.len());
    for output in outputs {
        parts.push(split(output, &rows)?.into_iter());
    }
    let mut shares = Vec::with_capacity(jobs.len());
    for (_, asked) in payloads {
        let mut own: SmallVec<[Option<Tensor>; 4]> = parts.iter_mut().map(Iterator::next).collect();
        shares.push(asked.iter().map(|output| own[place(output)?].take()).collect::<Option<_>>()?);
    }
    Some(shares)
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").to_owned()
}
