//! Executes one batch on a model: joins, runs, splits, and takes a failed batch apart so that a wrong call fails alone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use weirgate_models::{Model, RunError};
use weirgate_protocol::{Error, Tensor};

use crate::job::{Finished, Job, Ran, Run};
use crate::joined::Joined;
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

/// Runs `jobs`: as one batch, unless a load came between their checks and now, and they are for several models. Every job is
/// finished, once.
pub(crate) fn execute(versions: &mut Versions, mut jobs: Vec<Job>) -> (BatchReport, Vec<Finished>, Health) {
    let Some(first) = jobs.first().map(|job| versions.place(&job.call.payload)) else {
        return (BatchReport::default(), Vec::new(), Health::Good);
    };
    let others = jobs.extract_if(.., |job| versions.place(&job.call.payload) != first).collect();
    let done = match first {
        Some(place) => run_batch(versions.at(place), jobs),
        None => (BatchReport::default(), refuse(jobs, &unloaded()), Health::Good),
    };
    run_others(versions, others, done)
}

/// Goes on with the jobs of other models.
fn run_others(
    versions: &mut Versions,
    others: Vec<Job>,
    (mut report, mut finished, health): (BatchReport, Vec<Finished>, Health),
) -> (BatchReport, Vec<Finished>, Health) {
    if others.is_empty() {
        return (report, finished, health);
    }
    if let Health::Panicked(text) = &health {
        finished.extend(refuse(others, &panicked(text)));
        return (report, finished, health);
    }
    let (more, rest, then) = execute(versions, others);
    report.join_with(&more);
    finished.extend(rest);
    (report, finished, health.worse(then))
}

/// Runs jobs of one model as one batch.
fn run_batch(model: &mut dyn Model, jobs: Vec<Job>) -> (BatchReport, Vec<Finished>, Health) {
    let calls = jobs.len();
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

impl Health {
    /// The worse of two.
    fn worse(self, other: Health) -> Health {
        let rank = |health: &Health| match health {
            Health::Good => 0,
            Health::MixesRows => 1,
            Health::Suspect(_) => 2,
            Health::Panicked(_) => 3,
        };
        if rank(&other) > rank(&self) { other } else { self }
    }
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
        let ran = Ran::of(&jobs, started, engine);
        let version = &self.model.spec().version;
        for (job, outputs) in jobs.into_iter().zip(rows) {
            self.finished.push(job.answer(outputs, version.clone(), &ran, &mut self.report.answered));
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
    let joined = Joined::new(jobs);
    let started = Instant::now();
    let result = model.run(&joined.inputs, &joined.wanted);
    let engine = started.elapsed();
    let outputs = match result {
        Ok(outputs) => outputs,
        Err(RunError::Interrupted) => return Attempt::Interrupted,
        Err(error) => return Attempt::Failed(error),
    };
    match joined.share(&outputs, jobs) {
        Some(rows) => Attempt::Done { rows, bytes: joined.bytes(), started, engine },
        None => Attempt::MixesRows,
    }
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("no text").to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use weirgate_models::Interrupt;
    use weirgate_protocol::tensor::raw_bytes;
    use weirgate_protocol::{
        Call, Datatype, Dim, ErrorCode, Head, InferRequest, ModelSpec, Priority, Protocol, Shape, Target, TensorSpec,
    };

    use super::*;

    /// Adds its version to every element.
    struct Adds(Arc<ModelSpec>);

    struct Never;

    impl Interrupt for Never {
        fn stop(&self) {}
        fn reset(&self) {}
    }

    impl Model for Adds {
        fn spec(&self) -> &Arc<ModelSpec> {
            &self.0
        }

        fn run(&mut self, inputs: &[Tensor], _: &[usize]) -> Result<Vec<Tensor>, RunError> {
            let more: u8 = self.0.version.as_deref().and_then(|version| version.parse().ok()).unwrap_or(0);
            let data: Vec<u8> = inputs[0].data.iter().map(|value| value + more).collect();
            Ok(vec![Tensor { data: data.into(), ..inputs[0].clone() }])
        }

        fn interrupt(&self) -> Arc<dyn Interrupt> {
            Arc::new(Never)
        }
    }

    fn spec(version: Option<&str>, datatype: Datatype) -> Arc<ModelSpec> {
        let tensor = TensorSpec { name: "x".into(), datatype, shape: vec![Dim::Dynamic("batch".into())] };
        Arc::new(ModelSpec {
            version: version.map(Arc::from),
            platform: "test",
            inputs: vec![tensor.clone()],
            outputs: vec![tensor],
            pads: false,
        })
    }

    /// A call with the one value 10, checked against `spec`.
    fn job(spec: &Arc<ModelSpec>, pinned: bool) -> Job {
        let datatype = spec.inputs[0].datatype;
        let x = Tensor::new("x", datatype, Shape::from_slice(&[1]), raw_bytes(vec![10_u8])).unwrap();
        let (work, payload) = spec.bind(&mut InferRequest { inputs: vec![x], ..Default::default() }, pinned).unwrap();
        let now = Instant::now();
        let head = Head {
            request_id: "".into(),
            traceparent: None,
            protocol: Protocol::V2Http,
            arrived: now,
            identity: None,
            priority: Priority::default(),
        };
        let target = Target { namespace: "".into(), service: "".into(), model: "".into() };
        let deadline = now + Duration::from_secs(60);
        let (job, parts) = Job::new(Call { head, target, deadline, work, payload }, now);
        // Dropping it would cancel the call.
        std::mem::forget(parts);
        job
    }

    fn runs(newest: &Arc<ModelSpec>, jobs: Vec<Job>) -> Vec<Result<(u8, Option<String>), ErrorCode>> {
        let model: Box<dyn Model> = Box::new(Adds(newest.clone()));
        let (_, finished, health) = execute(&mut model.into(), jobs);
        assert_eq!(health, Health::Good);
        let said = |finished: Finished| {
            let answer = finished.answer.map_err(|error| error.code())?;
            Ok((answer.outputs[0].data[0], answer.version.map(|version| version.to_string())))
        };
        finished.into_iter().map(said).collect()
    }

    #[test]
    fn a_pinned_call_is_never_run_on_another_version_whoever_is_beside_it() {
        let (one, two) = (spec(Some("1"), Datatype::Uint8), spec(Some("2"), Datatype::Uint8));
        let newest = Ok((12, Some("2".to_owned())));
        let gone = Err(ErrorCode::Unavailable);
        assert_eq!(runs(&two, vec![job(&one, false), job(&one, true)]), [newest.clone(), gone.clone()]);
        assert_eq!(runs(&two, vec![job(&one, true), job(&one, false)]), [gone, newest]);
    }

    #[test]
    fn calls_that_were_checked_against_other_types_are_not_joined() {
        let (before, after) = (spec(None, Datatype::Int8), spec(None, Datatype::Uint8));
        let jobs = vec![job(&after, false), job(&before, false), job(&after, false)];
        assert_eq!(runs(&after, jobs), [Ok((10, None)), Ok((10, None)), Err(ErrorCode::Unavailable)]);
    }
}
