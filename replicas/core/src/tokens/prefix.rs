//! The prefix cache: which block holds the keys and values of which tokens.
//!
//! A tree of full blocks. A block is known by its parent and its own tokens, so by all tokens up to its end; a root is
//! known by its salt. Blocks are found by a hash of that, and then *compared*: parent, tokens and all. The hash is keyed at
//! random and only has to spread, so neither chance nor a caller who makes hashes collide can get another's content.
//!
//! A token counts with the phase under which it was computed. Where kernels for prefill and decode differ in bits, a block
//! found here holds the very bits that the sequence would have computed itself.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use super::blocks::BlockId;

/// Keeps the cached tokens of callers apart: only sequences with equal salts share blocks. Use a wide hash, such as
/// SHA-256, of whatever must not mix: the tenant, the service, what the caller sent as `cache_salt`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CacheSalt(pub [u8; 32]);

/// What comes before a block's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Parent {
    Root(CacheSalt),
    Block(BlockId),
}

/// What a block is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    pub parent: Parent,
    pub tokens: &'a [u32],
    /// How many of the tokens, the last ones, were computed as decodes.
    pub decoded: usize,
}

/// A block in the tree. Its tokens are kept apart, in one array for all blocks.
#[derive(Debug)]
struct Node {
    parent: Parent,
    decoded: usize,
    children: u32,
    hash: u64,
    /// The next of those whose hash is the same.
    alike: Option<BlockId>,
}

#[derive(Debug)]
pub(super) struct PrefixTree {
    block_tokens: usize,
    nodes: Vec<Option<Node>>,
    tokens: Vec<u32>,
    /// The first of the blocks with a hash.
    index: HashMap<u64, BlockId>,
    hasher: RandomState,
}

impl PrefixTree {
    pub fn new(blocks: usize, block_tokens: usize) -> PrefixTree {
        PrefixTree {
            block_tokens,
            nodes: std::iter::repeat_with(|| None).take(blocks).collect(),
            tokens: vec![0; blocks * block_tokens],
            index: HashMap::new(),
            hasher: RandomState::new(),
        }
    }

    pub fn contains(&self, block: BlockId) -> bool {
        self.nodes[block.index()].is_some()
    }

    pub fn find(&self, key: Key<'_>) -> Option<BlockId> {
        self.find_hashed(key, self.hasher.hash_one(key))
    }

    fn find_hashed(&self, key: Key<'_>, hash: u64) -> Option<BlockId> {
        let mut next = self.index.get(&hash).copied();
        while let Some(block) = next {
            let node = self.nodes[block.index()].as_ref()?;
            if node.parent == key.parent && node.decoded == key.decoded && self.tokens(block) == key.tokens {
                return Some(block);
            }
            next = node.alike;
        }
        None
    }

    fn tokens(&self, block: BlockId) -> &[u32] {
        let start = block.index() * self.block_tokens;
        &self.tokens[start..start + self.block_tokens]
    }

    /// Makes `block` known by `key`, unless another one is already: then that is returned.
    pub fn insert(&mut self, block: BlockId, key: Key<'_>) -> Option<BlockId> {
        let hash = self.hasher.hash_one(key);
        if let Some(known) = self.find_hashed(key, hash) {
            return Some(known);
        }
        debug_assert!(!self.contains(block), "a block is known once");
        if let Parent::Block(parent) = key.parent
            && let Some(parent) = &mut self.nodes[parent.index()]
        {
            parent.children += 1;
        }
        let start = block.index() * self.block_tokens;
        self.tokens[start..start + self.block_tokens].copy_from_slice(key.tokens);
        let alike = self.index.insert(hash, block);
        self.nodes[block.index()] = Some(Node { parent: key.parent, decoded: key.decoded, children: 0, hash, alike });
        None
    }

    /// Forgets a block that has no children.
    pub fn remove(&mut self, block: BlockId) {
        let Some(node) = self.nodes[block.index()].take() else { return };
        debug_assert_eq!(node.children, 0, "a parent outlives its children");
        if let Parent::Block(parent) = node.parent
            && let Some(parent) = &mut self.nodes[parent.index()]
        {
            parent.children -= 1;
        }
        self.unchain(block, &node);
    }

    fn unchain(&mut self, block: BlockId, node: &Node) {
        let mut next = self.index.get(&node.hash).copied();
        if next == Some(block) {
            match node.alike {
                Some(alike) => self.index.insert(node.hash, alike),
                None => self.index.remove(&node.hash),
            };
            return;
        }
        while let Some(other) = next {
            let Some(other) = &mut self.nodes[other.index()] else { return };
            if other.alike == Some(block) {
                other.alike = node.alike;
                return;
            }
            next = other.alike;
        }
    }

    #[cfg(test)]
    pub fn parent_of(&self, block: BlockId) -> Option<Parent> {
        self.nodes[block.index()].as_ref().map(|node| node.parent)
    }

    #[cfg(test)]
    pub fn children_of(&self, block: BlockId) -> usize {
        self.nodes[block.index()].as_ref().map_or(0, |node| node.children as usize)
    }

    /// Blocks that can be found, by a walk over the index.
    #[cfg(test)]
    pub fn findable(&self) -> usize {
        let chain = |&first: &BlockId| {
            std::iter::successors(Some(first), |block| self.nodes[block.index()].as_ref().and_then(|node| node.alike))
        };
        self.index.values().flat_map(chain).count()
    }
}

#[cfg(test)]
mod tests {
    use super::super::blocks::BlockPool;
    use super::*;

    const ROOT: Parent = Parent::Root(CacheSalt([0; 32]));

    fn key(parent: Parent, tokens: &[u32]) -> Key<'_> {
        Key { parent, tokens, decoded: 0 }
    }

    #[test]
    fn a_block_is_known_by_all_before_it_its_tokens_and_how_they_were_computed() {
        let mut pool = BlockPool::new(3);
        let [a, b, c] = std::array::from_fn(|_| pool.take().unwrap());
        let mut tree = PrefixTree::new(3, 2);
        assert_eq!(tree.insert(a, key(ROOT, &[1, 2])), None);
        assert_eq!(tree.insert(b, key(Parent::Block(a), &[1, 2])), None);
        assert_eq!(tree.find(key(ROOT, &[1, 2])), Some(a));
        assert_eq!(tree.find(key(Parent::Block(a), &[1, 2])), Some(b));
        assert_eq!(tree.find(key(Parent::Block(b), &[1, 2])), None);
        assert_eq!(tree.find(key(ROOT, &[2, 1])), None);
        assert_eq!(tree.find(key(Parent::Root(CacheSalt([1; 32])), &[1, 2])), None, "another tenant's");
        assert_eq!(tree.find(Key { decoded: 1, ..key(ROOT, &[1, 2]) }), None, "computed in another way");
        assert_eq!(tree.insert(c, key(ROOT, &[1, 2])), Some(a), "known already");
        assert!(!tree.contains(c));
    }

    #[test]
    fn equal_hashes_are_told_apart_and_forgotten_one_by_one() {
        let mut pool = BlockPool::new(4);
        let blocks: [BlockId; 4] = std::array::from_fn(|_| pool.take().unwrap());
        // They differ in their tokens, their phases and their parents, and all hashes are the same.
        let keys = [
            key(ROOT, &[1]),
            key(ROOT, &[2]),
            Key { decoded: 1, ..key(ROOT, &[1]) },
            key(Parent::Root(CacheSalt([1; 32])), &[1]),
        ];
        for gone in 0..4 {
            let mut tree = PrefixTree::new(4, 1);
            for (key, block) in keys.into_iter().zip(blocks) {
                tree.tokens[block.index()] = key.tokens[0];
                let alike = tree.index.insert(7, block);
                let Key { parent, decoded, .. } = key;
                tree.nodes[block.index()] = Some(Node { parent, decoded, children: 0, hash: 7, alike });
            }
            let find = |tree: &PrefixTree| keys.map(|key| tree.find_hashed(key, 7));
            assert_eq!(find(&tree), blocks.map(Some));
            tree.remove(blocks[gone]);
            assert_eq!(find(&tree), std::array::from_fn(|index| (index != gone).then_some(blocks[index])));
            assert_eq!(tree.findable(), 3);
            blocks.into_iter().for_each(|block| tree.remove(block));
            assert_eq!((tree.findable(), tree.index.len()), (0, 0));
        }
    }

    #[test]
    fn parents_count_their_children() {
        let mut pool = BlockPool::new(2);
        let [a, b] = std::array::from_fn(|_| pool.take().unwrap());
        let mut tree = PrefixTree::new(2, 1);
        tree.insert(a, key(ROOT, &[1]));
        tree.insert(b, key(Parent::Block(a), &[2]));
        assert_eq!((tree.children_of(a), tree.parent_of(b)), (1, Some(Parent::Block(a))));
        tree.remove(b);
        assert_eq!(tree.children_of(a), 0);
    }
}
