//! The prefix index: which members have lately been given a call that begins alike, so that what they keep of it is used.
//!
//! A radix tree over hashes of blocks. An edge holds many blocks, so a call costs a look-up for each fork of its path, not
//! for each block, and a conversation that grows extends the edge it ends in.
//!
//! The bytes are capped, hard: what is used least recently goes before anything is added. A parent is always used at
//! least as recently as its children, so the least recent node is a leaf. Half of the bytes is for nodes and half for
//! blocks, since the tables of nodes never shrink: many short prefixes must not take the room of long ones for ever.

use std::collections::HashMap;

use super::Member;
use super::number_hash::NumberHash;

/// Members that are kept for an edge: the latest ones.
const HOLDERS: usize = 8;

const NONE: u32 = u32::MAX;

/// What a node costs beside its blocks: itself, its entry in the map and its place in the list of free ones. Twice, since
/// tables grow by doubling.
const NODE_BYTES: usize = 2 * (size_of::<Node>() + size_of::<u32>() + (size_of::<((u32, u64), u32)>() + 1) * 8 / 7 + 1);
const BLOCK_BYTES: usize = size_of::<u64>();

/// A fork and a leaf are the most that one call adds.
const MOST_ADDED: usize = 2;

#[derive(Debug)]
pub(super) struct PrefixIndex {
    max_nodes: usize,
    max_blocks: usize,
    /// Blocks of all nodes.
    blocks: usize,
    nodes: Vec<Node>,
    free: Vec<u32>,
    /// A node by its parent and the first of its blocks.
    edges: HashMap<(u32, u64), u32, NumberHash>,
    newest: u32,
    oldest: u32,
}

#[derive(Debug)]
struct Node {
    blocks: Vec<u64>,
    parent: u32,
    children: u32,
    /// The latest first.
    holders: [Member; HOLDERS],
    held: u8,
    newer: u32,
    older: u32,
}

/// Members that were given so many blocks of a prefix.
#[derive(Debug)]
pub(super) struct Match<'a> {
    pub(super) holders: &'a [Member],
    pub(super) blocks: usize,
}

impl PrefixIndex {
    pub(super) fn new(max_bytes: usize) -> PrefixIndex {
        PrefixIndex {
            max_nodes: max_bytes / 2 / NODE_BYTES,
            max_blocks: max_bytes / 2 / BLOCK_BYTES,
            blocks: 0,
            nodes: Vec::new(),
            free: Vec::new(),
            edges: HashMap::default(),
            newest: NONE,
            oldest: NONE,
        }
    }

    /// What the index holds, in bytes; never more than it may.
    pub(super) fn bytes(&self) -> usize {
        self.nodes.len() * NODE_BYTES + self.blocks * BLOCK_BYTES
    }

    /// The longest match first, then those along the same path that are shorter.
    pub(super) fn matches(&self, prefix: &[u64]) -> impl Iterator<Item = Match<'_>> {
        let (mut node, mut blocks, mut of_node) = (NONE, 0, 0);
        while let Some(&next) = prefix.get(blocks).and_then(|&first| self.edges.get(&(node, first))) {
            of_node = common(&self.nodes[next as usize].blocks, &prefix[blocks..]);
            blocks += of_node;
            node = next;
            if of_node < self.nodes[next as usize].blocks.len() {
                break;
            }
        }
        std::iter::from_fn(move || {
            let found = self.nodes.get(node as usize)?;
            let matched = Match { holders: found.holders(), blocks };
            blocks -= of_node;
            node = found.parent;
            of_node = self.nodes.get(node as usize).map_or(0, |parent| parent.blocks.len());
            Some(matched)
        })
    }

    /// A member is given a call with this prefix.
    pub(super) fn record(&mut self, prefix: &[u64], member: Member) {
        let prefix = &prefix[..prefix.len().min(self.max_blocks)];
        if self.max_nodes < MOST_ADDED {
            return;
        }
        while self.edges.len() + MOST_ADDED > self.max_nodes || self.blocks + prefix.len() > self.max_blocks {
            self.remove_leaf(self.oldest);
        }
        let end = self.insert(prefix, member);
        self.use_path(end, member);
    }

    /// The node in which the prefix ends.
    fn insert(&mut self, prefix: &[u64], member: Member) -> u32 {
        let (mut parent, mut rest) = (NONE, prefix);
        while let Some(&first) = rest.first() {
            let Some(&node) = self.edges.get(&(parent, first)) else { return self.append(parent, rest, member) };
            let edge = &self.nodes[node as usize];
            let shared = common(&edge.blocks, rest);
            if shared == edge.blocks.len() {
                parent = node;
            } else if shared == rest.len() && edge.holders().contains(&member) {
                return node;
            } else {
                parent = self.split(node, shared);
            }
            rest = &rest[shared..];
        }
        parent
    }

    /// Adds blocks below a node: to the node itself where these are the only ones below it and for the only member.
    fn append(&mut self, parent: u32, blocks: &[u64], member: Member) -> u32 {
        if let Some(leaf) = self.nodes.get_mut(parent as usize)
            && leaf.children == 0
            && leaf.holders() == [member]
        {
            leaf.blocks.reserve_exact(blocks.len());
            leaf.blocks.extend_from_slice(blocks);
            self.blocks += blocks.len();
            return parent;
        }
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.children += 1;
        }
        let leaf = Node {
            blocks: blocks.to_vec(),
            parent,
            children: 0,
            holders: [0; HOLDERS],
            held: 0,
            newer: NONE,
            older: NONE,
        };
        self.blocks += blocks.len();
        let number = self.add(leaf);
        self.edges.insert((parent, blocks[0]), number);
        number
    }

    /// Cuts a node after some of its blocks; returns the new node, with those, above it.
    fn split(&mut self, lower: u32, at: usize) -> u32 {
        let below = &mut self.nodes[lower as usize];
        let rest = below.blocks[at..].to_vec();
        let mut blocks = std::mem::replace(&mut below.blocks, rest);
        blocks.truncate(at);
        blocks.shrink_to_fit();
        let (first, cut, parent) = (blocks[0], below.blocks[0], below.parent);
        let above =
            Node { blocks, parent, children: 1, holders: below.holders, held: below.held, newer: NONE, older: NONE };
        let upper = self.add(above);
        self.nodes[lower as usize].parent = upper;
        self.edges.insert((parent, first), upper);
        self.edges.insert((upper, cut), lower);
        upper
    }

    /// Notes the use of all nodes up from the one where a call ends, so that a parent is newer than its child.
    fn use_path(&mut self, end: u32, member: Member) {
        let mut number = end;
        while let Some(node) = self.nodes.get_mut(number as usize) {
            node.hold(member);
            let parent = node.parent;
            self.unlink(number);
            self.link(number);
            number = parent;
        }
    }

    fn add(&mut self, node: Node) -> u32 {
        let number = match self.free.pop() {
            Some(number) => {
                self.nodes[number as usize] = node;
                number
            }
            None => {
                self.nodes.push(node);
                (self.nodes.len() - 1) as u32
            }
        };
        self.link(number);
        number
    }

    fn remove_leaf(&mut self, number: u32) {
        self.unlink(number);
        let node = &mut self.nodes[number as usize];
        debug_assert_eq!(node.children, 0, "the least recent node has children");
        let (blocks, parent) = (std::mem::take(&mut node.blocks), node.parent);
        self.blocks -= blocks.len();
        self.edges.remove(&(parent, blocks[0]));
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.children -= 1;
        }
        self.free.push(number);
    }

    fn link(&mut self, number: u32) {
        let older = std::mem::replace(&mut self.newest, number);
        let node = &mut self.nodes[number as usize];
        (node.newer, node.older) = (NONE, older);
        match self.nodes.get_mut(older as usize) {
            Some(older) => older.newer = number,
            None => self.oldest = number,
        }
    }

    fn unlink(&mut self, number: u32) {
        let Node { newer, older, .. } = self.nodes[number as usize];
        match self.nodes.get_mut(newer as usize) {
            Some(newer) => newer.older = older,
            None => self.newest = older,
        }
        match self.nodes.get_mut(older as usize) {
            Some(older) => older.newer = newer,
            None => self.oldest = newer,
        }
    }
}

impl Node {
    fn holders(&self) -> &[Member] {
        &self.holders[..usize::from(self.held)]
    }

    fn hold(&mut self, member: Member) {
        let last = match self.holders().iter().position(|&held| held == member) {
            Some(place) => place,
            None => {
                self.held = (self.held + 1).min(HOLDERS as u8);
                usize::from(self.held) - 1
            }
        };
        self.holders[last] = member;
        self.holders[..=last].rotate_right(1);
    }
}

/// How many blocks two prefixes share. Each hash covers all blocks before it, so what is shared ends once, and a few blocks
/// tell where: the others, long out of the cache, are not looked at.
fn common(one: &[u64], other: &[u64]) -> usize {
    let (mut shared, mut differs) = (0, one.len().min(other.len()));
    if differs > 0 && one[differs - 1] == other[differs - 1] {
        return differs;
    }
    while shared < differs {
        let middle = shared.midpoint(differs);
        if one[middle] == other[middle] { shared = middle + 1 } else { differs = middle }
    }
    shared
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl PrefixIndex {
        /// What its parts take, as their allocations have it.
        fn allocated(&self) -> usize {
            let live = self.nodes.iter().map(|node| node.blocks.capacity() * BLOCK_BYTES).sum::<usize>();
            let entry = size_of::<((u32, u64), u32)>() + 1;
            let buckets = (self.edges.capacity() * 8 / 7).next_power_of_two();
            live + self.nodes.capacity() * size_of::<Node>() + self.free.capacity() * 4 + buckets * entry
        }

        fn longest(&self, prefix: &[u64]) -> Option<(Vec<Member>, usize)> {
            self.matches(prefix).next().map(|found| (found.holders.to_vec(), found.blocks))
        }
    }

    fn chained(blocks: &[u64]) -> Vec<u64> {
        let chain = |before: &mut u64, block: &u64| {
            *before = crate::hash::mix(*before ^ block);
            Some(*before)
        };
        blocks.iter().scan(0, chain).collect()
    }

    /// Prefixes with much in common, before they are chained.
    fn prefix() -> impl Strategy<Value = Vec<u64>> {
        prop_oneof![
            prop::collection::vec(0u64..3, 0..12),
            (0u64..1_000, 1usize..300)
                .prop_map(|(seed, len)| { (0..len as u64).map(|block| seed / (block + 1) * 1_000 + block).collect() })
        ]
    }

    proptest! {
        /// Whatever comes, the cap holds, in what is counted and, but for the tables' first sizes, in what is allocated;
        /// and the tree stays whole, also where the numbers are no chained hashes.
        #[test]
        fn the_cap_is_hard(max_bytes in 0usize..40_000, calls in prop::collection::vec((prefix(), 0u64..20), 0..200)) {
            let mut index = PrefixIndex::new(max_bytes);
            for (prefix, member) in calls {
                index.record(&prefix, member);
                prop_assert!(index.bytes() <= max_bytes, "{} of {max_bytes}", index.bytes());
                prop_assert!(index.allocated() <= max_bytes + 4 * NODE_BYTES, "{} of {max_bytes}", index.allocated());
                let live = index.nodes.len() - index.free.len();
                prop_assert_eq!(live, index.edges.len());
                for (&(parent, first), &node) in &index.edges {
                    let node = &index.nodes[node as usize];
                    prop_assert_eq!((node.parent, node.blocks[0]), (parent, first));
                }
            }
        }

        /// With room for all, the longest match is that of a plain list of what was recorded.
        #[test]
        fn the_longest_match_is_found(calls in prop::collection::vec((prefix(), 0u64..8), 1..60), asked in prefix()) {
            let calls: Vec<(Vec<u64>, Member)> = calls.iter().map(|(prefix, member)| (chained(prefix), *member)).collect();
            let asked = chained(&asked);
            let mut index = PrefixIndex::new(1 << 30);
            for (prefix, member) in &calls {
                index.record(prefix, *member);
            }
            let most = |member: u64| {
                let shared = |prefix: &[u64]| prefix.iter().zip(&asked).take_while(|(one, other)| one == other).count();
                calls.iter().filter(|call| call.1 == member).map(|call| shared(&call.0)).max().unwrap_or(0)
            };
            let longest = (0..8).map(most).max().unwrap_or(0);
            let mut expected: Vec<u64> = (0..8).filter(|&member| longest > 0 && most(member) == longest).collect();
            let (mut holders, blocks) = index.longest(&asked).unwrap_or_default();
            holders.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!((holders, blocks), (expected, longest));
            // Further matches are shorter.
            let lengths: Vec<usize> = index.matches(&asked).map(|found| found.blocks).collect();
            prop_assert!(lengths.windows(2).all(|pair| pair[0] > pair[1]), "{lengths:?}");
        }
    }

    #[test]
    fn what_is_used_stays_and_the_rest_goes() {
        let mut index = PrefixIndex::new(40 * NODE_BYTES);
        let conversation = |id: u64| [id, id + 1_000, id + 2_000];
        for id in 0..1_000 {
            index.record(&conversation(0), 7);
            index.record(&conversation(id), id);
        }
        assert_eq!(index.longest(&conversation(0)), Some((vec![7, 0], 3)));
        assert_eq!(index.longest(&conversation(999)), Some((vec![999], 3)));
        assert_eq!(index.longest(&conversation(500)), None);
    }

    #[test]
    fn a_conversation_that_grows_is_one_edge() {
        let mut index = PrefixIndex::new(1 << 20);
        let all: Vec<u64> = (0..100).collect();
        (1..=100).for_each(|turn| index.record(&all[..turn], 1));
        assert_eq!(index.edges.len(), 1);
        assert_eq!(index.longest(&all), Some((vec![1], 100)));
    }
}
