//! A sequence: a prompt, and the answer as far as it goes.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use weirgate_protocol::Priority;

use super::blocks::BlockId;
use super::end::{EndReason, Ended, Leave};
use super::kv::{BlockTable, Lineage};
use super::plan::Phase;
use super::policy::HEAD_START;
use super::prefix::CacheSalt;
use super::queue::Place;

/// A sequence's name, given when it is let in. Those that came later are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceId {
    number: u64,
    slot: u32,
}

impl SequenceId {
    pub(super) fn new(number: u64, slot: u32) -> SequenceId {
        SequenceId { number, slot }
    }

    pub(super) fn slot(self) -> usize {
        self.slot as usize
    }

    /// Counts the sequences that were let in, from 0.
    pub fn number(self) -> u64 {
        self.number
    }
}

impl fmt::Display for SequenceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sequence {}", self.number)
    }
}

/// What a caller asks for.
#[derive(Clone, Debug)]
pub struct NewSequence {
    pub prompt: Vec<u32>,
    /// Most tokens of the answer; `None` for as many as the context and the blocks hold.
    pub max_new_tokens: Option<usize>,
    pub priority: Priority,
    /// When its call arrived, which may be before it comes here.
    pub arrived: Instant,
    /// When it ends at the latest.
    pub deadline: Option<Instant>,
    pub salt: CacheSalt,
}

/// Where a sequence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// In the queue, without blocks.
    Waiting,
    /// Running, with tokens to compute that are known already: its prompt, and after a pre-emption what it had generated.
    Prefilling,
    /// Running, with one token to compute: the one that was sampled last.
    Decoding,
}

/// Who goes on where not all can: the lower goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    class: u8,
    arrived: Instant,
    id: SequenceId,
}

#[derive(Debug)]
pub(super) struct Sequence {
    pub id: SequenceId,
    pub priority: Priority,
    pub arrived: Instant,
    pub deadline: Option<Instant>,
    pub salt: CacheSalt,
    /// The prompt, and the answer so far.
    pub tokens: Vec<u32>,
    /// Tokens of the prompt.
    pub prompt: usize,
    /// So many tokens it may come to, and why it ends there.
    pub limit: (usize, EndReason),
    pub stage: Stage,
    /// Tokens whose keys and values are in its blocks.
    pub computed: usize,
    /// The most that `computed` ever was: what lies below and is computed again is the price of a pre-emption.
    pub reached: usize,
    pub table: BlockTable,
    /// Tokens of the prompt that were found in the prefix cache before it was pre-empted, if it was.
    pub cached_tokens: usize,
    pub preemptions: u32,
    /// The last step in which it had a row.
    pub last_step: u64,
    /// Whether the step under way has a row of it.
    pub in_step: bool,
    /// It leaves when the step under way ends.
    pub leaving: Option<Leave>,
}

impl Sequence {
    pub fn new(id: SequenceId, new: NewSequence, limit: (usize, EndReason)) -> Sequence {
        Sequence {
            id,
            priority: new.priority,
            arrived: new.arrived,
            deadline: new.deadline,
            salt: new.salt,
            prompt: new.prompt.len(),
            tokens: new.prompt,
            limit,
            stage: Stage::Waiting,
            computed: 0,
            reached: 0,
            table: BlockTable::default(),
            cached_tokens: 0,
            preemptions: 0,
            last_step: 0,
            in_step: false,
            leaving: None,
        }
    }

    pub fn lineage(&self) -> Lineage<'_> {
        Lineage { salt: self.salt, tokens: &self.tokens, prompt: self.prompt }
    }

    /// What its blocks depend on, and the blocks.
    pub fn parts(&mut self) -> (Lineage<'_>, &mut BlockTable) {
        (Lineage { salt: self.salt, tokens: &self.tokens, prompt: self.prompt }, &mut self.table)
    }

    /// Where it waits: by arrival, with a head start for its class.
    pub fn place(&self) -> Place {
        let behind = HEAD_START * u32::from(behind(self.priority));
        Place::new(self.arrived + behind, self.id)
    }

    /// Its rank among those that run: by class, then by arrival. Each pre-emption raises the class by one. So a sequence of
    /// a low class loses its blocks to higher ones a few times at most, and after that only to older ones, of which there
    /// are ever fewer.
    pub fn rank(&self) -> Rank {
        let raised = u8::try_from(self.preemptions).unwrap_or(u8::MAX);
        Rank { class: behind(self.priority).saturating_sub(raised), arrived: self.arrived, id: self.id }
    }

    pub fn phase_at(&self, position: usize) -> Phase {
        if position < self.prompt { Phase::Prefill } else { Phase::Decode }
    }

    pub fn push_block(&mut self, block: BlockId) {
        Arc::make_mut(&mut self.table).push(block);
    }

    /// The end of the tokens that a row from `computed` on can have: one phase each.
    pub fn phase_end(&self) -> usize {
        if self.computed < self.prompt { self.prompt } else { self.tokens.len() }
    }

    pub fn ended(&self, reason: EndReason) -> Ended {
        Ended {
            sequence: self.id,
            reason,
            prompt_tokens: self.prompt,
            cached_tokens: self.cached_tokens,
            new_tokens: self.tokens.len() - self.prompt,
            preemptions: self.preemptions,
        }
    }
}

/// How many classes are above this one.
fn behind(priority: Priority) -> u8 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}
