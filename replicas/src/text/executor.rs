//! The engine's thread: it plans a step, runs it, draws tokens, and delivers them.

use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use weirgate_models::network::Row;
use weirgate_protocol::{Error, RetryClass};
use weirgate_replicas_core::sampling::Scratch;
use weirgate_replicas_core::tokens::{Departure, EndReason, Ended, Leave, Sample, Scheduler, SequenceId, Step};

use super::answer::{FinishReason, Finished, GenerationTiming, LengthCause, Usage};
use super::engine::{EngineEnd, Shared};
use super::forward::Forward;
use super::inbox::{Phase, Submission};
use super::mailbox::{Outlet, Unread};
use super::observer::{StepReport, TextObserver, TextStats};
use super::writer::AnswerWriter;
use crate::engine::panic_text;

/// A sequence that is let in, as its caller sees it.
pub(super) struct Live {
    pub writer: AnswerWriter,
    pub outlet: Outlet,
    pub arrived: Instant,
    pub deadline: Option<Instant>,
    pub prompt_tokens: usize,
    /// When it was first in a step.
    pub started: Option<Instant>,
    pub first_token: Option<Instant>,
    pub last_token: Option<Instant>,
    /// Text that came with the step at hand, and tokens that the reader was not told of yet.
    pub text: String,
    pub tokens: usize,
    /// Why it is taken out, where the scheduler is told but that it is.
    pub failure: Option<Error>,
}

/// What the thread owns.
pub(super) struct Executor<F> {
    network: F,
    scheduler: Scheduler,
    live: HashMap<SequenceId, Live>,
    scratch: Scratch,
    samples: Vec<Sample>,
    /// Blocks of all rows of a step, one table after the other.
    tables: Vec<u32>,
    shared: Arc<Shared>,
    observer: Arc<dyn TextObserver>,
    /// What is told of itself; all that the scheduler doesn't know.
    stats: TextStats,
}

impl<F: Forward> Executor<F> {
    pub fn new(
        network: F,
        scheduler: Scheduler,
        stats: TextStats,
        shared: Arc<Shared>,
        observer: Arc<dyn TextObserver>,
    ) -> Executor<F> {
        Executor {
            network,
            scheduler,
            live: HashMap::new(),
            scratch: Scratch::default(),
            samples: Vec::new(),
            tables: Vec::new(),
            shared,
            observer,
            stats,
        }
    }

    /// Serves until it is asked to end, or has to. All that it was given has its end by then.
    pub fn run(mut self) {
        let served = catch_unwind(AssertUnwindSafe(|| self.serve()));
        let end = match served {
            Ok(Ok(())) => EngineEnd::Stopped,
            Ok(Err(fault)) => EngineEnd::Failed(format!("a fault of the engine itself: {fault}").into()),
            Err(panic) => EngineEnd::Failed(format!("the engine panicked: {}", panic_text(panic.as_ref())).into()),
        };
        if let EngineEnd::Failed(reason) = &end {
            tracing::error!(engine = %self.shared.name, %reason, "the text engine has ended");
        }
        for Submission { live, .. } in self.shared.inbox.close(end.clone()) {
            let error = ended_with(&end, live.started.is_some());
            self.finish_early(live, error);
        }
        for live in std::mem::take(&mut self.live).into_values() {
            let error = ended_with(&end, live.started.is_some());
            self.finish_early(live, error);
        }
        // Only now, as the network's threads and memory are part of what has ended.
        let Executor { network, shared, stats, observer, .. } = self;
        drop(network);
        let stats = TextStats { scheduler: Default::default(), submitted: 0, ..stats };
        *shared.stats.lock() = stats;
        observer.stands(&stats);
        shared.ended.send_replace(Some(end));
    }

    /// The error is a fault of this.
    fn serve(&mut self) -> Result<(), Error> {
        loop {
            self.publish();
            let (submissions, phase) = self.shared.inbox.take(self.live.is_empty());
            submissions.into_iter().for_each(|submission| self.let_in(submission));
            match phase {
                Phase::Stopping | Phase::Ended(_) => return Ok(()),
                Phase::Draining if self.live.is_empty() => return Ok(()),
                Phase::Serving | Phase::Draining => {}
            }
            self.take_out_abandoned();
            self.step()?;
        }
    }

    fn publish(&mut self) {
        self.stats.scheduler = self.scheduler.stats();
        *self.shared.stats.lock() = self.stats;
        self.observer.stands(&self.stats);
    }

    fn let_in(&mut self, Submission { new, live }: Submission) {
        match self.scheduler.submit(new) {
            Ok(id) => {
                self.live.insert(id, live);
            }
            Err(refusal) => self.finish_early(live, refusal.into()),
        }
    }

    /// Takes sequences out whose readers have gone.
    fn take_out_abandoned(&mut self) {
        let gone = self.live.iter().filter(|(_, live)| live.outlet.reader_gone());
        for id in gone.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.take_out(id, Error::cancelled("nobody waited for the answer any more"));
        }
    }

    /// Takes a sequence out between two steps, for this reason.
    fn take_out(&mut self, id: SequenceId, error: Error) {
        if let Some(live) = self.live.get_mut(&id) {
            live.failure = Some(error);
        }
        if let Departure::Gone(ended) = self.scheduler.leave(id, Leave::Cancelled) {
            self.finish(&ended, Instant::now());
        }
    }

    fn step(&mut self) -> Result<(), Error> {
        let planned = Instant::now();
        let step = self.scheduler.plan(planned)?;
        step.ended.iter().for_each(|ended| self.finish(ended, planned));
        for id in &step.admitted {
            if let Some(live) = self.live.get_mut(id) {
                live.started.get_or_insert(planned);
            }
        }
        if step.rows.is_empty() {
            return Ok(());
        }
        match self.compute(&step) {
            Ok(report) => {
                self.stats.steps += 1;
                self.stats.rows += step.rows.len() as u64;
                self.stats.tokens += step.tokens.len() as u64;
                self.observer.step(&report);
                self.deliver(&step)
            }
            Err(reason) => self.fail(&step, &reason),
        }
    }

    /// Computes a step, and draws a token for each row that wants one.
    fn compute(&mut self, step: &Step) -> Result<StepReport, String> {
        let Executor { network, live, scratch, samples, tables, .. } = self;
        tables.clear();
        let mut table = |blocks: &[weirgate_replicas_core::tokens::BlockId]| -> Range<usize> {
            let start = tables.len();
            tables.extend(blocks.iter().map(|block| block.number()));
            start..tables.len()
        };
        let places: Vec<Range<usize>> = step.rows.iter().map(|row| table(&row.blocks)).collect();
        let rows = step.rows.iter().zip(places).map(|(row, place)| Row {
            tokens: &step.tokens[row.tokens.clone()],
            start: row.positions.start,
            blocks: &tables[place],
            logits: row.logits,
        });
        let rows: Vec<Row<'_>> = rows.collect();
        samples.clear();
        let mut wanted = step.rows.iter().filter(|row| row.logits);
        let mut sampling = Duration::ZERO;
        let started = Instant::now();
        network.step(&rows, &mut |logits| {
            let began = Instant::now();
            let live = wanted.next().and_then(|row| live.get_mut(&row.sequence));
            // Each row's sequence is alive; if one were not, nobody would wait for its token.
            samples.push(match live {
                Some(Live { writer, text, .. }) => writer.next(logits, scratch, text),
                None => Sample::End(Leave::Cancelled),
            });
            sampling += began.elapsed();
        })?;
        let (rows, tokens, samples) = (rows.len(), step.tokens.len(), samples.len());
        Ok(StepReport { rows, tokens, samples, took: started.elapsed(), sampling })
    }

    /// Reports a step done, and hands its tokens to their readers.
    fn deliver(&mut self, step: &Step) -> Result<(), Error> {
        let progress = self.scheduler.done(step, &self.samples)?;
        // Before anyone hears of an end, its blocks are told to be free.
        self.publish();
        let now = Instant::now();
        for produced in &progress.produced {
            self.stamp(produced.sequence, now);
        }
        progress.ended.iter().for_each(|ended| self.finish(ended, now));
        for produced in &progress.produced {
            let Some(live) = self.live.get_mut(&produced.sequence) else { continue };
            match live.outlet.push(&live.text, live.tokens) {
                Ok(()) => {
                    live.text.clear();
                    live.tokens = 0;
                }
                Err(Unread { bytes, limit }) => {
                    let text = format!(
                        "the answer was stopped: {bytes} bytes of it wait to be read, and the limit is {limit}; read as it comes"
                    );
                    self.take_out(produced.sequence, Error::cancelled(text));
                }
            }
        }
        Ok(())
    }

    /// Notes when a sequence's token came.
    fn stamp(&mut self, id: SequenceId, now: Instant) {
        let Some(live) = self.live.get_mut(&id) else { return };
        live.tokens += 1;
        match live.last_token.replace(now) {
            Some(last) => self.observer.token(now.saturating_duration_since(last)),
            None => {
                live.first_token = Some(now);
                self.observer.first_token(now.saturating_duration_since(live.arrived));
                // The one for the first token is kept.
                self.scheduler.set_deadline(id, live.deadline);
            }
        }
    }

    /// A step failed, and nothing of it was computed: its sequences end, and others go on.
    fn fail(&mut self, step: &Step, reason: &str) -> Result<(), Error> {
        tracing::error!(engine = %self.shared.name, %reason, "a step failed");
        self.observer.step_failed(reason);
        for row in &step.rows {
            if let Some(live) = self.live.get_mut(&row.sequence) {
                live.failure = Some(Error::engine(format!("the engine failed: {reason}")));
            }
            self.scheduler.leave(row.sequence, Leave::Failed);
        }
        let now = Instant::now();
        self.scheduler.undo(step)?.ended.iter().for_each(|ended| self.finish(ended, now));
        Ok(())
    }

    /// Tells a reader of its sequence's end.
    fn finish(&mut self, ended: &Ended, now: Instant) {
        let Some(mut live) = self.live.remove(&ended.sequence) else { return };
        let known = live.writer.finish(&mut live.text);
        let failure = live.failure.take().map(FinishReason::Failed);
        let Ended { prompt_tokens, cached_tokens, new_tokens, preemptions, .. } = *ended;
        let usage = Usage { prompt_tokens, cached_tokens, new_tokens };
        let reason = failure.or(known).unwrap_or_else(|| reason(ended, live.started.is_some()));
        self.tell_end(
            live,
            Finished { reason, usage, timing: GenerationTiming { preemptions, ..Default::default() } },
            now,
        );
    }

    /// The same for one that the scheduler has not, or not any more.
    fn finish_early(&self, live: Live, error: Error) {
        let usage = Usage { prompt_tokens: live.prompt_tokens, ..Usage::default() };
        let finished = Finished { reason: FinishReason::Failed(error), usage, timing: GenerationTiming::default() };
        self.tell_end(live, finished, Instant::now());
    }

    fn tell_end(&self, live: Live, mut finished: Finished, now: Instant) {
        let since = |at: Instant| at.saturating_duration_since(live.arrived);
        finished.timing.queue = live.started.map(since);
        finished.timing.first_token = live.first_token.map(since);
        finished.timing.total = since(now);
        self.observer.finished(&finished);
        live.outlet.finish(&live.text, live.tokens, finished);
    }
}

/// What the scheduler ended a sequence for.
fn reason(ended: &Ended, started: bool) -> FinishReason {
    let new = ended.new_tokens;
    match ended.reason {
        EndReason::MaxNewTokens => FinishReason::Length(LengthCause::MaxNewTokens),
        EndReason::Context => FinishReason::Length(LengthCause::Context),
        EndReason::Blocks => FinishReason::Length(LengthCause::KeyValueBlocks),
        EndReason::Deadline if new == 0 => {
            let retry = if started { RetryClass::MayHaveExecuted } else { RetryClass::NotExecuted };
            FinishReason::Failed(Error::deadline("the deadline passed before the first token", retry))
        }
        EndReason::Deadline => {
            let text = format!("the deadline passed after {new} tokens of the answer");
            FinishReason::Failed(Error::deadline(text, RetryClass::MayHaveExecuted))
        }
        EndReason::Cancelled => FinishReason::Failed(Error::cancelled("the answer was stopped")),
        // Whoever stops or fails a sequence knows why; a word that is missing is a fault of it.
        EndReason::Stopped | EndReason::Failed => {
            let text = format!("the sequence ended as {}, and nothing says why", ended.reason.label());
            FinishReason::Failed(Error::internal(text))
        }
    }
}

/// What a call is told whose engine has ended.
pub(crate) fn ended_with(end: &EngineEnd, started: bool) -> Error {
    match end {
        EngineEnd::Failed(reason) if started => Error::engine(format!("{reason}: the replica is being replaced")),
        EngineEnd::Failed(reason) => Error::unavailable(format!("{reason}: the replica is being replaced")),
        EngineEnd::Stopped if started => Error::unavailable("the engine was stopped before the answer was complete")
            .with_retry_class(RetryClass::MayHaveExecuted),
        EngineEnd::Stopped => Error::unavailable("the engine was stopped before the call was begun"),
    }
}
