//! The engine's thread: it plans a run, computes it, and delivers what is complete.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use weirgate_models::RunError;
use weirgate_models::embed::EmbedderSpec;
use weirgate_protocol::Error;
use weirgate_replicas_core::embedding::{CallId, Plan, Run};

use super::compute::Compute;
use super::observer::RunReport;
use super::shared::{Farewell, Shared, State, late};
use crate::engine::panic_text;
use crate::text::{EngineEnd, Phase, ended_with};

/// What the thread owns.
pub(super) struct Executor<C> {
    embedder: C,
    spec: Arc<EmbedderSpec>,
    shared: Arc<Shared>,
}

/// A run, with the tokens of its texts in its order.
struct Work {
    run: Run,
    texts: Vec<Vec<u32>>,
}

/// What became of a run: a vector for each text, or why there is none.
type Outcome = Vec<Result<Vec<f32>, RunError>>;

impl<C: Compute> Executor<C> {
    pub fn new(embedder: C, spec: Arc<EmbedderSpec>, shared: Arc<Shared>) -> Executor<C> {
        Executor { embedder, spec, shared }
    }

    /// Serves until it is asked to end, or has to. All that it was given has its end by then.
    pub fn run(mut self) {
        let end = match catch_unwind(AssertUnwindSafe(|| self.serve())) {
            Ok(()) => EngineEnd::Stopped,
            Err(panic) => EngineEnd::Failed(format!("the engine panicked: {}", panic_text(panic.as_ref())).into()),
        };
        let Executor { embedder, shared, .. } = self;
        if let EngineEnd::Failed(reason) = &end {
            tracing::error!(engine = %shared.name, %reason, "the embedding engine has ended");
        }
        let mut state = shared.state.lock();
        state.phase = Phase::Ended(end.clone());
        state.running.clear();
        let left: Vec<CallId> = state.live.keys().copied().collect();
        let farewells: Vec<Farewell> =
            left.into_iter().filter_map(|call| state.fail(call, |live| ended_with(&end, live.has_started()))).collect();
        drop(state);
        shared.tell(farewells);
        // Only now, as its threads and memory are part of what has ended.
        drop(embedder);
        shared.ended.send_replace(Some(end));
    }

    fn serve(&mut self) {
        while let Some(work) = self.next() {
            let started = Instant::now();
            let outcome = self.compute(&work);
            self.deliver(work, outcome, started.elapsed());
        }
    }

    /// The next run; none where the engine is to end. It waits until there is one.
    fn next(&self) -> Option<Work> {
        let mut state = self.shared.state.lock();
        loop {
            if !matches!(state.phase, Phase::Serving | Phase::Draining) {
                return None;
            }
            let now = Instant::now();
            let Plan { expired, run } = state.queue.plan(now);
            let farewells: Vec<Farewell> = expired.into_iter().filter_map(|call| state.fail(call, late)).collect();
            if let Some(run) = run {
                let work = state.begin(run, now);
                self.shared.interrupt.reset();
                drop(state);
                self.shared.tell(farewells);
                return Some(work);
            }
            if !farewells.is_empty() {
                drop(state);
                self.shared.tell(farewells);
                state = self.shared.state.lock();
                continue;
            }
            if state.phase == Phase::Draining && state.queue.is_empty() {
                return None;
            }
            match state.queue.next_deadline() {
                Some(deadline) => _ = self.shared.wake.wait_until(&mut state, deadline),
                None => self.shared.wake.wait(&mut state),
            }
        }
    }

    /// Computes a run; where that fails, its texts one by one, so that only the one at fault fails.
    fn compute(&mut self, work: &Work) -> Outcome {
        let texts: Vec<&[u32]> = work.texts.iter().map(Vec::as_slice).collect();
        let width = self.spec.dimensions;
        let failure = match self.embedder.embed(&texts) {
            Ok(values) if values.len() == width * texts.len() => {
                return values.chunks_exact(width).map(|vector| Ok(vector.to_vec())).collect();
            }
            Ok(values) => {
                let (found, count) = (values.len(), texts.len());
                RunError::Engine(format!("the embedder gave {found} values for {count} texts of {width} each"))
            }
            Err(error) => error,
        };
        if failure == RunError::Interrupted {
            return texts.iter().map(|_| Err(RunError::Interrupted)).collect();
        }
        let reason = failure.to_string();
        tracing::error!(engine = %self.shared.name, %reason, texts = texts.len(), "a run failed");
        self.shared.observer.run_failed(&reason);
        self.shared.state.lock().stats.failed_runs += 1;
        match texts[..] {
            [_] => vec![Err(failure)],
            _ => work.run.texts.iter().zip(texts).map(|(text, tokens)| self.alone(text.call, tokens)).collect(),
        }
    }

    fn alone(&mut self, call: CallId, text: &[u32]) -> Result<Vec<f32>, RunError> {
        let state = self.shared.state.lock();
        if !state.live.contains_key(&call) || state.phase == Phase::Stopping {
            return Err(RunError::Interrupted);
        }
        drop(state);
        self.embedder.embed(&[text]).map(<[f32]>::to_vec)
    }

    /// Puts vectors in their places, and hands over what is complete.
    fn deliver(&self, work: Work, outcome: Outcome, took: Duration) {
        let Work { run, .. } = work;
        let sound = outcome.iter().all(Result::is_ok);
        let mut farewells = Vec::new();
        let mut state = self.shared.state.lock();
        let calls = std::mem::take(&mut state.running).len();
        for (text, result) in run.texts.iter().zip(outcome) {
            match result {
                Ok(mut vector) => {
                    if let Some(live) = state.live.get_mut(&text.call) {
                        self.spec.cut(&mut vector, live.dimensions);
                        live.put(text.index, &vector);
                    }
                }
                // It was interrupted because the engine is to end; else nobody waits for it, and nobody is told.
                Err(RunError::Interrupted) if state.phase == Phase::Stopping => {
                    farewells.extend(state.fail(text.call, |_| ended_with(&EngineEnd::Stopped, true)));
                }
                Err(error) => farewells.extend(state.fail(text.call, |_| failed(text.index, &error))),
            }
        }
        // What was tried again one by one says nothing of what a run takes.
        let complete = state.queue.done(&run, sound.then_some(took));
        for call in complete {
            if let Some(live) = state.live.remove(&call) {
                farewells.push(Farewell { live, error: None });
            }
        }
        if sound {
            let stats = &mut state.stats;
            stats.runs += 1;
            stats.texts += run.texts.len() as u64;
            stats.tokens += run.tokens as u64;
            stats.computed += run.computed as u64;
        }
        drop(state);
        if sound {
            let (texts, tokens, computed) = (run.texts.len(), run.tokens, run.computed);
            self.shared.observer.run(&RunReport { calls, texts, tokens, computed, took });
        }
        self.shared.tell(farewells);
    }
}

impl State {
    /// Takes the texts of a run out of their calls.
    fn begin(&mut self, run: Run, now: Instant) -> Work {
        let mut began = HashSet::new();
        let texts = run.texts.iter().map(|text| {
            let Some(live) = self.live.get_mut(&text.call) else { return Vec::new() };
            if began.insert(text.call) {
                live.start(now);
            }
            live.texts.get_mut(text.index).map(std::mem::take).unwrap_or_default()
        });
        let texts = texts.collect();
        self.running = began;
        Work { run, texts }
    }
}

fn failed(text: usize, error: &RunError) -> Error {
    match error {
        RunError::Input(reason) => Error::invalid(format!("text {text} was refused by the model: {reason}")),
        RunError::Engine(reason) => Error::engine(format!("the engine failed: {reason}")),
        RunError::Interrupted => Error::cancelled("the run was stopped"),
    }
}
