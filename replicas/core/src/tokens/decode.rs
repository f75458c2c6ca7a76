//! Decodes of a step, and who gives way when there is no block for one.
//!
//! A decode that needs a block gets a free one, else a cached one. Else the lowest in rank of all that run gives its blocks
//! up and waits again: of the lowest class, the one that came last. That may be the very one that needs the block; it never
//! takes one from those above it. So the first in rank always goes on.

use super::end::EndReason;
use super::plan::Step;
use super::scheduler::Scheduler;
use super::sequence::{SequenceId, Stage};

impl Scheduler {
    /// Adds a row for each decode, or as many as fit the step, those first whose last row is the longest ago.
    pub(super) fn plan_decodes(&mut self, step: &mut Step) {
        let most = if self.wants_prefill() {
            self.policy.step_tokens - self.policy.prefill_tokens
        } else {
            self.policy.step_tokens
        };
        // All that were chosen may have given way; then it is the turn of others.
        while step.rows.is_empty() {
            let chosen = self.choose_decodes(most);
            if chosen.is_empty() {
                return;
            }
            for id in chosen {
                if self.is_decoding(id) && self.make_room(id, step) {
                    self.add_row(id, 1, step);
                }
            }
        }
    }

    /// In the order of their ranks, so that who gives way has no row in the step yet.
    fn choose_decodes(&self, most: usize) -> Vec<SequenceId> {
        let decoding = |id: &SequenceId| self.sequences[*id].stage == Stage::Decoding;
        let mut chosen: Vec<_> = self.running.iter().copied().filter(decoding).collect();
        if chosen.len() > most {
            let mut ranked: Vec<_> = chosen.into_iter().enumerate().collect();
            ranked.sort_by_key(|&(_, id)| self.sequences[id].last_step);
            ranked.truncate(most);
            ranked.sort_unstable_by_key(|&(rank, _)| rank);
            chosen = ranked.into_iter().map(|(_, id)| id).collect();
        }
        chosen
    }

    fn is_decoding(&self, id: SequenceId) -> bool {
        self.sequences.get(id).is_some_and(|sequence| sequence.stage == Stage::Decoding)
    }

    /// Sees to a block for the next token of a decode. False where it had to give way, or to end.
    fn make_room(&mut self, id: SequenceId, step: &mut Step) -> bool {
        let sequence = &self.sequences[id];
        if sequence.computed < sequence.table.len() * self.policy.block_tokens {
            return true;
        }
        loop {
            if let Some(block) = self.kv.take() {
                self.sequences[id].push_block(block);
                return true;
            }
            match *self.running.as_slice() {
                [.., last] if last != id => self.preempt(last, step),
                [_, .., _] => {
                    self.preempt(id, step);
                    return false;
                }
                _ => {
                    step.ended.push(self.end(id, EndReason::Blocks));
                    return false;
                }
            }
        }
    }

    /// Takes a sequence's blocks. It keeps its tokens, and waits at its place in the queue until it is computed again.
    fn preempt(&mut self, id: SequenceId, step: &mut Step) {
        debug_assert!(!self.sequences[id].in_step, "{id} has a row in the step that is being planned");
        self.stop_running(id);
        let sequence = &mut self.sequences[id];
        sequence.stage = Stage::Waiting;
        sequence.computed = 0;
        sequence.preemptions += 1;
        self.queue.push(sequence.place(), sequence.tokens.len());
        self.totals.preemptions += 1;
        step.preempted.push(id);
    }
}
