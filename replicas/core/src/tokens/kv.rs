//! Who has which block: free ones, those that sequences use, and those that are kept for the next one with the same start.
//!
//! Each block is in one of three states, and `free + used + cached` is always all of them:
//!
//! - *free*: its content is worth nothing;
//! - *used*: by one sequence that may write to it, or by several that only read it. Only full blocks are shared, and a full
//!   block is never written again;
//! - *cached*: nobody uses it, but the prefix tree knows it. It is taken like a free one once none is left.
//!
//! A sequence that uses a block uses its parents too, and leaves a table from its end; so among the cached ones the block
//! that was left first is always a leaf of the tree, and is the one that is thrown away.

use std::sync::Arc;

use super::blocks::{BlockId, BlockPool};
use super::idle::IdleList;
use super::policy::TokenPolicy;
use super::prefix::{CacheSalt, Key, Parent, PrefixTree};

/// The blocks of a sequence, in the order of its tokens: position `p` is in block `p / block_tokens`, at place
/// `p % block_tokens`. A step shares it and copies nothing; whoever keeps a step longer than until the next plan makes the
/// scheduler copy the tables that change.
pub type BlockTable = Arc<Vec<BlockId>>;

/// The tokens of a sequence, as far as its blocks depend on them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lineage<'a> {
    pub salt: CacheSalt,
    pub tokens: &'a [u32],
    /// How many of the tokens are the prompt: those after it are computed as decodes.
    pub prompt: usize,
}

/// The blocks that a sequence can start from.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub blocks: Vec<BlockId>,
    /// How many of them nobody uses now. They are no longer available once they are.
    pub cached: usize,
}

#[derive(Debug)]
pub(super) struct KvBlocks {
    block_tokens: usize,
    most_cached: usize,
    reuse_decoded: bool,
    pool: BlockPool,
    tree: PrefixTree,
    idle: IdleList,
    evicted: u64,
}

impl KvBlocks {
    pub fn new(policy: &TokenPolicy) -> KvBlocks {
        let known = if policy.cached_blocks > 0 { policy.blocks } else { 0 };
        KvBlocks {
            block_tokens: policy.block_tokens,
            most_cached: policy.cached_blocks,
            reuse_decoded: policy.reuse_decoded,
            pool: BlockPool::new(policy.blocks),
            tree: PrefixTree::new(known, policy.block_tokens),
            idle: IdleList::new(known),
            evicted: 0,
        }
    }

    pub fn free(&self) -> usize {
        self.pool.free()
    }

    pub fn cached(&self) -> usize {
        self.idle.len()
    }

    pub fn used(&self) -> usize {
        self.pool.total() - self.available()
    }

    /// Blocks that can be taken: free ones, and cached ones.
    pub fn available(&self) -> usize {
        self.free() + self.cached()
    }

    /// Blocks whose content was thrown away so far.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// A block that the caller alone uses, and may write to.
    pub fn take(&mut self) -> Option<BlockId> {
        if self.pool.free() == 0 {
            self.evict();
        }
        self.pool.take()
    }

    /// Throws the content of the block away that was left first.
    fn evict(&mut self) {
        let Some(block) = self.idle.oldest() else { return };
        self.idle.remove(block);
        self.tree.remove(block);
        self.pool.put_free(block);
        self.evicted += 1;
    }

    fn is_on(&self) -> bool {
        self.most_cached > 0
    }

    fn key<'a>(&self, lineage: Lineage<'a>, index: usize, parent: Option<BlockId>) -> Key<'a> {
        let start = index * self.block_tokens;
        let end = start + self.block_tokens;
        let decoded = if self.reuse_decoded { 0 } else { end.saturating_sub(lineage.prompt.max(start)) };
        Key {
            parent: parent.map_or(Parent::Root(lineage.salt), Parent::Block),
            tokens: &lineage.tokens[start..end],
            decoded,
        }
    }

    /// The longest start of a sequence that is known. Its last token is never part of it: that must be computed to get
    /// logits, and its block would be written to.
    pub fn find(&self, lineage: Lineage<'_>) -> Found {
        let mut found = Found::default();
        if !self.is_on() {
            return found;
        }
        while let Some(block) = self.find_next(lineage, &found.blocks) {
            found.cached += usize::from(!self.pool.is_used(block));
            found.blocks.push(block);
        }
        found
    }

    /// The known block that comes after those.
    fn find_next(&self, lineage: Lineage<'_>, before: &[BlockId]) -> Option<BlockId> {
        let index = before.len();
        let full = lineage.tokens.len().saturating_sub(1) / self.block_tokens;
        if index >= full {
            return None;
        }
        self.tree.find(self.key(lineage, index, before.last().copied()))
    }

    /// Puts known blocks in the place of those from `index` on, which are not computed yet: another sequence may have
    /// computed the same meanwhile. Returns how many.
    pub fn catch_up(&mut self, lineage: Lineage<'_>, index: usize, table: &mut BlockTable) -> usize {
        if !self.is_on() {
            return 0;
        }
        let mut next = index;
        while let Some(known) = table.get(..next).and_then(|before| self.find_next(lineage, before)) {
            self.replace(next, known, table);
            next += 1;
        }
        next - index
    }

    /// Gives a table a known block in the place of its own, which becomes free.
    fn replace(&mut self, index: usize, known: BlockId, table: &mut BlockTable) {
        self.share(known);
        let own = std::mem::replace(&mut Arc::make_mut(table)[index], known);
        self.release(own);
    }

    /// One more user of a known block.
    pub fn share(&mut self, block: BlockId) {
        if self.pool.share(block) {
            self.idle.remove(block);
        }
    }

    /// Makes the block at `index` known, which has just been filled. Where the same content is known already, the table
    /// gets that block and its own is free. Returns the block if it is newly known.
    pub fn keep(&mut self, lineage: Lineage<'_>, index: usize, table: &mut BlockTable) -> Option<BlockId> {
        if !self.is_on() {
            return None;
        }
        let own = *table.get(index)?;
        let parent = index.checked_sub(1).map(|before| table[before]);
        match self.tree.insert(own, self.key(lineage, index, parent)) {
            None => Some(own),
            Some(known) => {
                self.replace(index, known, table);
                None
            }
        }
    }

    /// Gives all blocks of a table back, from its end.
    pub fn release_all(&mut self, table: BlockTable) {
        table.iter().rev().for_each(|&block| self.release(block));
    }

    fn release(&mut self, block: BlockId) {
        if !self.pool.release(block) {
            return;
        }
        if self.is_on() && self.tree.contains(block) {
            self.idle.push(block);
            if self.idle.len() > self.most_cached {
                self.evict();
            }
        } else {
            self.pool.put_free(block);
        }
    }

    /// Panics where the books don't balance. `tables` are those of all sequences.
    #[cfg(test)]
    pub fn audit<'a>(&self, tables: impl Iterator<Item = &'a BlockTable>) {
        let total = self.pool.total();
        assert_eq!(self.free() + self.used() + self.cached(), total);
        assert!(self.cached() <= self.most_cached, "{} cached of {}", self.cached(), self.most_cached);
        let mut users = vec![0; total];
        for table in tables {
            table.iter().for_each(|block| users[block.index()] += 1);
            if self.is_on() {
                let known = table.iter().take_while(|&&block| self.tree.contains(block)).count();
                assert!(table[known..].iter().all(|&block| !self.tree.contains(block)), "known blocks come first");
                for (index, &block) in table[..known].iter().enumerate() {
                    match self.tree.parent_of(block) {
                        Some(Parent::Block(parent)) => assert_eq!(parent, table[index - 1]),
                        _ => assert_eq!(index, 0),
                    }
                }
            }
        }
        let mut free = vec![false; total];
        for block in self.pool.free_list() {
            assert!(!std::mem::replace(&mut free[block.index()], true), "free twice");
        }
        let mut idle = vec![false; total];
        let mut seen = vec![0; total];
        for block in self.idle.iter() {
            assert!(!std::mem::replace(&mut idle[block.index()], true), "cached twice");
            assert_eq!(seen[block.index()], self.tree.children_of(block), "all children were left before");
            if let Some(Parent::Block(parent)) = self.tree.parent_of(block) {
                seen[parent.index()] += 1;
            }
        }
        assert_eq!(idle.iter().filter(|&&idle| idle).count(), self.cached());
        let mut known = 0;
        for block in self.pool.all() {
            let index = block.index();
            let is_known = self.is_on() && self.tree.contains(block);
            known += usize::from(is_known);
            assert_eq!(self.pool.users(block), users[index], "users of {block:?}");
            let states = [free[index], users[index] > 0, idle[index]];
            assert_eq!(states.iter().filter(|&&state| state).count(), 1, "{block:?} is in one state");
            assert!(!free[index] || !is_known, "a free block is not known");
            assert!(!idle[index] || is_known, "a cached block is known");
            assert!(users[index] < 2 || is_known, "a shared block is full, and known");
        }
        if self.is_on() {
            assert_eq!(self.tree.findable(), known);
        }
    }

    /// Whether a sequence may write to the block.
    #[cfg(test)]
    pub fn is_private(&self, block: BlockId) -> bool {
        self.pool.users(block) == 1 && !(self.is_on() && self.tree.contains(block))
    }
}
