//! The scheduler: who waits, who runs, and the turn of the steps.

use std::collections::BTreeSet;
use std::time::Instant;

use weirgate_protocol::Error;

use super::end::{Departure, EndReason, Ended, Leave};
use super::kv::KvBlocks;
use super::plan::Step;
use super::policy::TokenPolicy;
use super::prefill::Blocked;
use super::queue::WaitingQueue;
use super::refusal::{Refusal, StepError};
use super::sequence::{NewSequence, Sequence, SequenceId, Stage};
use super::sequences::Sequences;
use super::stats::{Stats, Totals};

/// Decides step by step which tokens of which sequences a network computes, and in which blocks their keys and values are.
///
/// An executor submits sequences and takes them out at any time, and in turn asks for a [`plan`](Scheduler::plan), runs it,
/// and reports it [`done`](Scheduler::done).
#[derive(Debug)]
pub struct Scheduler {
    pub(super) policy: TokenPolicy,
    pub(super) kv: KvBlocks,
    pub(super) sequences: Sequences,
    pub(super) queue: WaitingQueue,
    /// Those that have blocks, by rank: whoever goes on first comes first.
    pub(super) running: Vec<SequenceId>,
    /// Those of them that have known tokens to compute, in the order of their admission.
    pub(super) prefilling: Vec<SequenceId>,
    deadlines: BTreeSet<(Instant, SequenceId)>,
    /// Why the first in the queue was not admitted.
    pub(super) blocked: Option<Blocked>,
    /// Steps that were planned.
    pub(super) steps: u64,
    /// The step under way.
    pub(super) under_way: Option<u64>,
    pub(super) totals: Totals,
}

impl Scheduler {
    /// Fails where the policy can't work.
    pub fn new(policy: TokenPolicy) -> Result<Scheduler, Error> {
        policy.check()?;
        Ok(Scheduler {
            policy,
            kv: KvBlocks::new(&policy),
            sequences: Sequences::default(),
            queue: WaitingQueue::new(&policy),
            running: Vec::new(),
            prefilling: Vec::new(),
            deadlines: BTreeSet::new(),
            blocked: None,
            steps: 0,
            under_way: None,
            totals: Totals::default(),
        })
    }

    /// Lets a sequence into the queue, unless it can never run or the queue is full.
    pub fn submit(&mut self, new: NewSequence) -> Result<SequenceId, Refusal> {
        let limit = self.policy.limit(new.prompt.len(), new.max_new_tokens)?;
        self.queue.check(new.prompt.len())?;
        let id = self.sequences.insert(|id| Sequence::new(id, new, limit));
        let sequence = &self.sequences[id];
        self.queue.push(sequence.place(), sequence.tokens.len());
        if let Some(deadline) = sequence.deadline {
            self.deadlines.insert((deadline, id));
        }
        Ok(id)
    }

    /// Takes a sequence out: what no step uses is free at once, the rest when the step under way ends.
    pub fn leave(&mut self, id: SequenceId, leave: Leave) -> Departure {
        match self.sequences.get_mut(id) {
            None => Departure::Unknown,
            Some(sequence) if sequence.in_step => {
                sequence.leaving.get_or_insert(leave);
                Departure::AfterStep
            }
            Some(_) => Departure::Gone(self.end(id, leave.into())),
        }
    }

    /// Takes a sequence out for which nobody waits any more.
    pub fn cancel(&mut self, id: SequenceId) -> Departure {
        self.leave(id, Leave::Cancelled)
    }

    /// Gives a sequence another deadline, or none: where a deadline holds for the first token only, it is lifted with that.
    pub fn set_deadline(&mut self, id: SequenceId, deadline: Option<Instant>) {
        let Some(sequence) = self.sequences.get_mut(id) else { return };
        if let Some(before) = std::mem::replace(&mut sequence.deadline, deadline) {
            self.deadlines.remove(&(before, id));
        }
        self.deadlines.extend(deadline.map(|deadline| (deadline, id)));
    }

    /// Plans the next step. One without rows has nothing to run and needs no report: there is nothing to do until a sequence
    /// is submitted.
    ///
    /// Sequences whose deadline has come end here, and are told of in the step.
    pub fn plan(&mut self, now: Instant) -> Result<Step, StepError> {
        if let Some(step) = self.under_way {
            return Err(StepError::UnderWay { step });
        }
        self.steps += 1;
        let mut step = Step::new(self.steps);
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            step.ended.push(self.end(id, EndReason::Deadline));
        }
        self.plan_decodes(&mut step);
        self.plan_prefills(&mut step);
        // Where blocks were just taken from some, whoever is admitted would be the next to lose them. But a step is never
        // empty while there is work, or the executor would sleep over it.
        if step.preempted.is_empty() || step.rows.is_empty() {
            self.admit(&mut step);
        }
        if !step.rows.is_empty() {
            self.under_way = Some(step.number);
        }
        Ok(step)
    }

    /// Adds a row of a running sequence: its next `count` tokens.
    pub(super) fn add_row(&mut self, id: SequenceId, count: usize, step: &mut Step) {
        let sequence = &mut self.sequences[id];
        sequence.in_step = true;
        sequence.last_step = step.number;
        let start = sequence.computed;
        let phase = sequence.phase_at(start);
        let logits = start + count == sequence.tokens.len();
        step.add(id, phase, start, &sequence.tokens[start..start + count], (sequence.table.clone(), logits));
    }

    /// Where a running sequence is, or belongs, among those that run.
    pub(super) fn running_place(&self, id: SequenceId) -> usize {
        let rank = self.sequences[id].rank();
        self.running.partition_point(|&other| self.sequences[other].rank() < rank)
    }

    /// Takes a sequence off the running ones, and gives its blocks back.
    pub(super) fn stop_running(&mut self, id: SequenceId) {
        let place = self.running_place(id);
        self.running.remove(place);
        self.prefilling.retain(|&other| other != id);
        let table = std::mem::take(&mut self.sequences[id].table);
        self.kv.release_all(table);
    }

    /// Ends a sequence that no step under way uses.
    pub(super) fn end(&mut self, id: SequenceId, reason: EndReason) -> Ended {
        let sequence = &self.sequences[id];
        let ended = sequence.ended(reason);
        if let Some(deadline) = sequence.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        match sequence.stage {
            Stage::Waiting => self.queue.remove(sequence.place(), sequence.tokens.len()),
            Stage::Prefilling | Stage::Decoding => self.stop_running(id),
        }
        self.sequences.remove(id);
        ended
    }

    pub fn policy(&self) -> &TokenPolicy {
        &self.policy
    }

    /// Whether no sequence waits or runs.
    pub fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.running.is_empty()
    }

    /// The first deadline of all sequences.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|&(deadline, _)| deadline)
    }

    pub fn stats(&self) -> Stats {
        Stats {
            waiting: self.queue.len(),
            waiting_tokens: self.queue.tokens(),
            running: self.running.len(),
            used_blocks: self.kv.used(),
            cached_blocks: self.kv.cached(),
            free_blocks: self.kv.free(),
            totals: Totals { evicted_blocks: self.kv.evicted(), ..self.totals },
        }
    }
}
