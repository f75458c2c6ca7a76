//! What must hold of every plan, every end, and the books at any time.

use std::collections::{BTreeMap, HashSet};

use super::super::sequence::{Rank, Stage};
use super::super::{EndReason, Ended, Phase, SequenceId, Step, TokenPolicy};
use super::world::{Live, World};

/// The running sequences before a plan.
pub struct Standing {
    ranks: BTreeMap<SequenceId, Rank>,
    first: Option<SequenceId>,
    prefilling: Vec<SequenceId>,
}

impl World {
    pub fn standing(&self) -> Standing {
        let scheduler = &self.scheduler;
        Standing {
            ranks: scheduler.running.iter().map(|&id| (id, scheduler.sequences[id].rank())).collect(),
            first: scheduler.running.first().copied(),
            prefilling: scheduler.prefilling.clone(),
        }
    }

    pub fn check_plan(&self, before: &Standing, step: &Step) {
        let policy = *self.scheduler.policy();
        assert!(step.tokens.len() <= policy.step_tokens, "{} tokens in a step", step.tokens.len());
        assert!(step.rows.len() <= policy.running);
        assert_eq!(step.samples(), step.rows.iter().filter(|row| row.logits).count());
        if step.rows.is_empty() {
            assert!(self.scheduler.is_idle(), "there is work, and a step without any");
        }
        let mut seen = HashSet::new();
        let mut next_token = 0;
        for row in &step.rows {
            assert!(seen.insert(row.sequence), "{} has two rows", row.sequence);
            assert_eq!(row.tokens.start, next_token, "rows follow each other");
            next_token = row.tokens.end;
            self.check_row(&policy, row, step);
        }
        assert_eq!(next_token, step.tokens.len());
        self.check_shares(&policy, before, step);
        self.check_preemptions(before, step);
    }

    fn check_row(&self, policy: &TokenPolicy, row: &super::super::Row, step: &Step) {
        let live = &self.live[&row.sequence];
        let positions = row.positions.clone();
        let truth = &live.truth;
        assert!(!positions.is_empty());
        match live.computed.filter(|_| !step.admitted.contains(&row.sequence)) {
            Some(computed) if positions.start == computed => (),
            Some(computed) => {
                let whole = [computed, positions.start].iter().all(|at| at % policy.block_tokens == 0);
                assert!(
                    positions.start > computed && whole,
                    "{} goes on where it was, or behind cached blocks",
                    row.sequence
                );
            }
            None => {
                assert!(step.admitted.contains(&row.sequence), "{} runs, and was not admitted", row.sequence);
                assert_eq!(positions.start % policy.block_tokens, 0, "whole blocks are cached");
            }
        }
        assert_eq!(step.tokens[row.tokens.clone()], truth.tokens[positions.clone()]);
        for position in positions.clone() {
            assert_eq!(row.phase, truth.phase(position), "{} at {position}", row.sequence);
            let block = row.blocks[position / policy.block_tokens];
            assert!(self.scheduler.kv.is_private(block), "{} writes to a block of others", row.sequence);
        }
        assert_eq!(row.logits, positions.end == truth.tokens.len());
        assert!(row.blocks.len() * policy.block_tokens >= positions.end);
        assert_eq!(row.blocks.iter().collect::<HashSet<_>>().len(), row.blocks.len(), "a block is in a table once");
    }

    /// Neither prompts nor decodes starve.
    fn check_shares(&self, policy: &TokenPolicy, before: &Standing, step: &Step) {
        let scheduler = &self.scheduler;
        let is_row = |id: SequenceId| step.rows.iter().any(|row| row.sequence == id);
        let caught_up = |id: &SequenceId| !before.prefilling.contains(id) && !step.admitted.contains(id);
        let decodes: Vec<_> = step.rows.iter().filter(|row| caught_up(&row.sequence)).collect();
        assert!(decodes.iter().all(|row| row.phase == Phase::Decode && row.positions.len() == 1 && row.logits));
        assert!(step.rows[..decodes.len()].iter().all(|row| caught_up(&row.sequence)), "decodes come first");
        let gone = |id: &SequenceId| step.ended.iter().any(|ended| ended.sequence == *id);
        if !before.prefilling.iter().all(gone) {
            assert!(
                decodes.len() <= policy.step_tokens - policy.prefill_tokens,
                "{} decodes leave no share",
                decodes.len()
            );
        }
        if let Some(&first) = scheduler.prefilling.first() {
            assert!(is_row(first), "{first} was admitted first, and is not computed");
        }
        // A turn takes as many steps as those that generate fill.
        let turn = policy.running.div_ceil(policy.step_tokens - policy.prefill_tokens) as u64;
        for &id in &scheduler.running {
            let sequence = &scheduler.sequences[id];
            if sequence.stage == Stage::Decoding {
                let pause = step.number() - sequence.last_step;
                assert!(pause <= turn, "{id} has no row for {pause} steps, and a turn is {turn}");
            }
        }
    }

    /// The lowest class's last arrivals give way, and never the first in rank.
    fn check_preemptions(&self, before: &Standing, step: &Step) {
        let scheduler = &self.scheduler;
        if !step.preempted.is_empty() {
            let others = step.rows.iter().filter(|row| !step.admitted.contains(&row.sequence)).count();
            assert!(step.admitted.is_empty() || others == 0, "blocks are taken from some and given to others");
        }
        for id in &step.preempted {
            let given_way = before.ranks[id];
            for (other, &rank) in &before.ranks {
                let runs = scheduler.running.contains(other) && !step.admitted.contains(other);
                assert!(!runs || rank < given_way, "{id} gave way, and {other} below it runs");
            }
        }
        if let Some(first) = before.first {
            let gave_way = step.preempted.contains(&first);
            assert!(!gave_way, "{first} is the first in rank, and gave way");
        }
    }

    /// Notes who runs and who does not any more.
    pub fn take_note(&mut self, step: &Step) {
        for id in &step.preempted {
            self.live.get_mut(id).unwrap().computed = None;
        }
        for id in &step.admitted {
            let row = step.rows.iter().find(|row| row.sequence == *id).expect("who is admitted has a row");
            self.live.get_mut(id).unwrap().computed = Some(row.positions.start);
        }
    }

    pub fn check_end(&self, live: &Live, ended: &Ended) {
        let length = live.truth.tokens.len();
        let policy = self.scheduler.policy();
        assert_eq!((ended.prompt_tokens, ended.new_tokens), (live.truth.prompt, length - live.truth.prompt));
        assert!(ended.cached_tokens < ended.prompt_tokens, "the last token of a prompt is always computed");
        if let Some(leave) = live.left {
            assert!(ended.reason == leave.into() || ended.reason == EndReason::Deadline);
        }
        match ended.reason {
            EndReason::MaxNewTokens => assert_eq!(Some(ended.new_tokens), live.asked),
            EndReason::Context => assert_eq!((length, live.asked), (policy.context, None)),
            EndReason::Blocks => {
                assert_eq!(live.asked, None, "what was asked for was known to fit");
                assert_eq!(length, policy.blocks * policy.block_tokens + 1, "there was room for more");
            }
            EndReason::Deadline => assert!(live.deadline.is_some_and(|deadline| deadline <= self.now)),
            EndReason::Stopped => assert!(live.left.is_some() || live.stops.is_some()),
            EndReason::Cancelled | EndReason::Failed => assert!(live.left.is_some()),
        }
        assert!(live.asked.is_none_or(|asked| ended.new_tokens <= asked));
    }

    /// The books balance: every block, every list.
    pub fn audit(&self) {
        let scheduler = &self.scheduler;
        let all: Vec<_> = scheduler.sequences.iter().collect();
        scheduler.kv.audit(all.iter().map(|sequence| &sequence.table));
        assert_eq!(all.len(), self.live.len(), "no sequence is lost");
        let of = |stage: Stage| all.iter().filter(|sequence| sequence.stage == stage).count();
        assert_eq!(scheduler.queue.len(), of(Stage::Waiting));
        assert_eq!(scheduler.prefilling.len(), of(Stage::Prefilling));
        assert_eq!(scheduler.running.len(), of(Stage::Prefilling) + of(Stage::Decoding));
        assert!(scheduler.running.is_sorted_by_key(|&id| scheduler.sequences[id].rank()), "those that run are in rank");
        assert!(scheduler.running.len() <= scheduler.policy().running);
        let mut waiting_tokens = 0;
        for sequence in all {
            match sequence.stage {
                Stage::Waiting => {
                    waiting_tokens += sequence.tokens.len();
                    assert!(sequence.table.is_empty() && sequence.computed == 0 && !sequence.in_step);
                }
                Stage::Prefilling => assert!(sequence.computed < sequence.tokens.len()),
                Stage::Decoding => assert_eq!(sequence.computed + 1, sequence.tokens.len()),
            }
        }
        let stats = scheduler.stats();
        assert_eq!(stats.waiting_tokens, waiting_tokens);
        assert_eq!(stats.free_blocks + stats.used_blocks + stats.cached_blocks, scheduler.policy().blocks);
    }

    pub fn check_empty(&self) {
        let stats = self.scheduler.stats();
        assert_eq!((stats.waiting, stats.running, stats.used_blocks), (0, 0, 0));
        assert_eq!(self.scheduler.next_deadline(), None);
        assert!(self.live.is_empty());
        let admitted = self.ended.values().filter(|(ended, _)| ended.new_tokens > 0);
        let cached: usize = admitted.map(|(ended, _)| ended.cached_tokens).sum();
        assert!(stats.totals.prompt_hit_tokens >= cached as u64);
        assert_eq!(stats.totals.new_tokens, self.ended.values().map(|(ended, _)| ended.new_tokens as u64).sum::<u64>());
    }

    /// A bound on the steps that what lives can take: in each step the first in rank gets a token, or someone is computed
    /// before it who was admitted before it; and each of those is pre-empted at most by each other, and twice by its class.
    pub fn most_steps(&self) -> usize {
        let policy = self.scheduler.policy();
        let longest = |live: &Live| match live.asked {
            Some(asked) => live.truth.prompt + asked,
            None => policy.context,
        };
        let work: usize = self.live.values().map(longest).sum();
        let turn = policy.running.div_ceil(policy.step_tokens - policy.prefill_tokens);
        10 + work * turn * 3
    }
}
