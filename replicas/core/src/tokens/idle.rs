//! Blocks that nobody uses and whose content is kept, in the order in which they were left.
//!
//! A list threaded through an array: a block enters at one end, leaves at the other or from the middle, and each of that
//! costs the same however many there are.

use super::blocks::BlockId;

/// The neighbours of a block in the list.
#[derive(Clone, Copy, Debug, Default)]
struct Links {
    older: Option<BlockId>,
    newer: Option<BlockId>,
}

#[derive(Debug)]
pub(super) struct IdleList {
    links: Vec<Links>,
    oldest: Option<BlockId>,
    newest: Option<BlockId>,
    len: usize,
}

impl IdleList {
    pub fn new(blocks: usize) -> IdleList {
        IdleList { links: vec![Links::default(); blocks], oldest: None, newest: None, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn oldest(&self) -> Option<BlockId> {
        self.oldest
    }

    /// Adds a block that is not in the list, as the newest.
    pub fn push(&mut self, block: BlockId) {
        self.links[block.index()] = Links { older: self.newest, newer: None };
        match self.newest {
            Some(newest) => self.links[newest.index()].newer = Some(block),
            None => self.oldest = Some(block),
        }
        self.newest = Some(block);
        self.len += 1;
    }

    /// Takes a block out that is in the list.
    pub fn remove(&mut self, block: BlockId) {
        let Links { older, newer } = std::mem::take(&mut self.links[block.index()]);
        match older {
            Some(older) => self.links[older.index()].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.links[newer.index()].older = older,
            None => self.newest = older,
        }
        self.len -= 1;
    }

    /// The blocks, oldest first.
    #[cfg(test)]
    pub fn iter(&self) -> impl Iterator<Item = BlockId> + '_ {
        std::iter::successors(self.oldest, |block| self.links[block.index()].newer)
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks::BlockPool;
    use super::*;

    #[test]
    fn blocks_leave_from_either_end_and_the_middle() {
        let mut pool = BlockPool::new(4);
        let [a, b, c, d] = std::array::from_fn(|_| pool.take().unwrap());
        let mut list = IdleList::new(4);
        let order = |list: &IdleList| list.iter().collect::<Vec<_>>();
        for block in [a, b, c, d] {
            list.push(block);
        }
        list.remove(b);
        assert_eq!(order(&list), [a, c, d]);
        list.remove(a);
        assert_eq!((list.oldest(), list.len()), (Some(c), 2));
        list.remove(d);
        list.push(a);
        assert_eq!(order(&list), [c, a]);
        list.remove(a);
        list.remove(c);
        assert_eq!((list.oldest(), list.len()), (None, 0));
        list.push(b);
        assert_eq!(order(&list), [b]);
    }
}
