//! The blocks of the key-value cache: which are free, and how many sequences use each of the others.

/// A block's number, below [`TokenPolicy::blocks`](super::TokenPolicy::blocks).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(u32);

impl BlockId {
    /// Where the block lies among all: its first token's place is this times the tokens of a block.
    pub fn index(self) -> usize {
        self.0 as usize
    }

    /// The block's number as a kernel is given it.
    pub fn number(self) -> u32 {
        self.0
    }

    #[cfg(test)]
    pub fn from_number(number: u32) -> BlockId {
        BlockId(number)
    }
}

/// Blocks with the number of their users. A block without users is in the free list, or with whoever took its last user's
/// word that its content is worth keeping.
#[derive(Debug)]
pub(super) struct BlockPool {
    users: Vec<u32>,
    /// The block that was freed last is taken first: its memory is the likeliest to be near.
    free: Vec<BlockId>,
}

impl BlockPool {
    /// `blocks` must fit 32 bits, which the policy's check has seen to.
    pub fn new(blocks: usize) -> BlockPool {
        BlockPool { users: vec![0; blocks], free: (0..blocks as u32).rev().map(BlockId).collect() }
    }

    /// A free block for one user.
    pub fn take(&mut self) -> Option<BlockId> {
        let block = self.free.pop()?;
        self.users[block.index()] = 1;
        Some(block)
    }

    /// One more user. True for the first one.
    pub fn share(&mut self, block: BlockId) -> bool {
        let users = &mut self.users[block.index()];
        *users += 1;
        *users == 1
    }

    /// One user less. True for the last one: the block is then to be freed or kept.
    pub fn release(&mut self, block: BlockId) -> bool {
        let users = &mut self.users[block.index()];
        debug_assert!(*users > 0, "block {} is released more often than it was taken", block.0);
        *users -= 1;
        *users == 0
    }

    pub fn is_used(&self, block: BlockId) -> bool {
        self.users[block.index()] > 0
    }

    /// Puts a block without users into the free list.
    pub fn put_free(&mut self, block: BlockId) {
        debug_assert_eq!(self.users[block.index()], 0, "block {} is in use", block.0);
        self.free.push(block);
    }

    pub fn free(&self) -> usize {
        self.free.len()
    }

    pub fn total(&self) -> usize {
        self.users.len()
    }

    #[cfg(test)]
    pub fn users(&self, block: BlockId) -> usize {
        self.users[block.index()] as usize
    }

    #[cfg(test)]
    pub fn free_list(&self) -> &[BlockId] {
        &self.free
    }

    #[cfg(test)]
    pub fn all(&self) -> impl Iterator<Item = BlockId> + use<> {
        (0..self.users.len() as u32).map(BlockId)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_block_is_taken_once_and_comes_back_with_its_last_user() {
        let mut pool = BlockPool::new(2);
        let (a, b) = (pool.take().unwrap(), pool.take().unwrap());
        assert_ne!(a, b);
        assert_eq!(pool.take(), None);
        assert!(!pool.share(a));
        assert!(!pool.release(a));
        assert!(pool.release(a));
        assert_eq!(pool.free(), 0, "whoever released the last user decides");
        pool.put_free(a);
        assert_eq!(pool.take(), Some(a));
        assert!(pool.release(b));
        assert!(pool.share(b), "a block that was kept is used again");
        assert_eq!(pool.total(), 2);
    }
}
