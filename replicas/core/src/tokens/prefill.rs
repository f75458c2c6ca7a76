//! Prefills of a step: chunks of what runs, then of what is admitted.
//!
//! A sequence is admitted when there are blocks for all tokens it has, less those that it finds in the prefix cache, and a
//! reserve is left for those that run. It is the first of the queue or none: one that does not fit yet is not overtaken by
//! smaller ones, or it might wait for ever.
//!
//! Those that run come first, in the order of their admission, and what is left of the step admits others. So one prompt
//! after the other is finished, and the next finds in the cache what it has in common with them.

use std::sync::Arc;

use super::kv::Found;
use super::plan::{Step, chunk};
use super::scheduler::Scheduler;
use super::sequence::{SequenceId, Stage};

/// The most steps between two looks at a sequence that did not fit.
const MOST_PAUSE: u64 = 16;

/// Why the first in the queue was not admitted, so that its prompt is not looked up in each step again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocked {
    id: SequenceId,
    /// With so many blocks available it fits.
    wanted: usize,
    /// In this step it is looked at in any case: it may find more in the cache by now.
    again: u64,
    pause: u64,
}

impl Scheduler {
    /// Whether there may be prompts to compute in this step.
    pub(super) fn wants_prefill(&self) -> bool {
        let next = || self.queue.first().is_some_and(|id| !self.is_blocked(id));
        !self.prefilling.is_empty() || (self.running.len() < self.policy.running && next())
    }

    /// Adds chunks of sequences that run.
    pub(super) fn plan_prefills(&mut self, step: &mut Step) {
        for index in 0..self.prefilling.len() {
            if !self.has_room(index, step) {
                return;
            }
            self.add_chunk(self.prefilling[index], step);
        }
    }

    /// Whether the step has room for a chunk after `others`. What the end of a block leaves of it is for nobody else: it
    /// would let one in before the cache knows what it has in common with the one before.
    fn has_room(&self, others: usize, step: &Step) -> bool {
        let room = self.policy.step_tokens - step.tokens.len();
        room >= self.policy.block_tokens || (others == 0 && room > 0)
    }

    /// Adds as much of a sequence as fits.
    fn add_chunk(&mut self, id: SequenceId, step: &mut Step) {
        self.catch_up(id);
        let room = self.policy.step_tokens - step.tokens.len();
        let sequence = &self.sequences[id];
        let count = chunk(sequence.computed, sequence.phase_end(), room, self.policy.block_tokens);
        self.add_row(id, count, step);
    }

    /// Moves a sequence on over what others have computed since it was admitted.
    fn catch_up(&mut self, id: SequenceId) {
        let sequence = &mut self.sequences[id];
        if !sequence.computed.is_multiple_of(self.policy.block_tokens) {
            return;
        }
        let index = sequence.computed / self.policy.block_tokens;
        let (lineage, table) = sequence.parts();
        let tokens = self.kv.catch_up(lineage, index, table) * self.policy.block_tokens;
        sequence.computed += tokens;
        if sequence.preemptions == 0 {
            sequence.cached_tokens += tokens;
            self.totals.prompt_hit_tokens += tokens as u64;
        }
    }

    /// Admits sequences as long as there are blocks for them and room in the step.
    pub(super) fn admit(&mut self, step: &mut Step) {
        while self.has_room(self.prefilling.len(), step)
            && self.running.len() < self.policy.running
            && let Some(id) = self.queue.first()
            && let Some(found) = self.fit(id)
        {
            self.start(id, found);
            step.admitted.push(id);
            self.add_chunk(id, step);
        }
    }

    /// Whether a sequence was found not to fit, and nothing has changed that would let it in.
    fn is_blocked(&self, id: SequenceId) -> bool {
        self.blocked.is_some_and(|blocked| {
            blocked.id == id
                && !self.running.is_empty()
                && self.kv.available() < blocked.wanted
                && self.steps < blocked.again
        })
    }

    /// What a sequence starts from, if there are blocks for the rest.
    fn fit(&mut self, id: SequenceId) -> Option<Found> {
        if self.is_blocked(id) {
            return None;
        }
        let sequence = &self.sequences[id];
        let found = self.kv.find(sequence.lineage());
        let own = self.policy.blocks_for(sequence.tokens.len()) - found.blocks.len();
        let reserve = self.policy.reserve_blocks * self.running.len();
        let wanted = own + found.cached + reserve;
        if wanted <= self.kv.available() {
            self.blocked = None;
            return Some(found);
        }
        let pause =
            self.blocked.filter(|blocked| blocked.id == id).map_or(1, |blocked| blocked.pause * 2).min(MOST_PAUSE);
        self.blocked = Some(Blocked { id, wanted, again: self.steps + pause, pause });
        None
    }

    /// Gives a sequence that waits its blocks.
    fn start(&mut self, id: SequenceId, found: Found) {
        let sequence = &mut self.sequences[id];
        self.queue.remove(sequence.place(), sequence.tokens.len());
        let needed = self.policy.blocks_for(sequence.tokens.len());
        found.blocks.iter().for_each(|&block| self.kv.share(block));
        let known = found.blocks.len();
        let own = std::iter::from_fn(|| self.kv.take()).take(needed - known);
        sequence.table = Arc::new(found.blocks.into_iter().chain(own).collect());
        debug_assert_eq!(sequence.table.len(), needed, "there were blocks enough");
        sequence.computed = known * self.policy.block_tokens;
        sequence.stage = Stage::Prefilling;
        if sequence.preemptions == 0 {
            sequence.cached_tokens = sequence.computed;
            self.totals.prompt_tokens += sequence.prompt as u64;
            self.totals.prompt_hit_tokens += sequence.computed as u64;
        }
        self.running.insert(self.running_place(id), id);
        self.prefilling.push(id);
    }
}
