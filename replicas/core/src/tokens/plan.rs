//! A step's plan: which tokens the network computes next, for whom, and where their keys and values go.

use std::ops::Range;

use super::end::Ended;
use super::kv::BlockTable;
use super::sequence::SequenceId;

/// How a row's tokens are computed. It is a matter of the token alone: whatever is in the prompt is prefill, whatever was
/// generated is decode, the first time and every time. An executor chooses its kernels by this, and never by how many
/// tokens a row has, or rows a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Tokens of a prompt; there may be one only.
    Prefill,
    /// Tokens that were generated. There is one, or after a pre-emption all that are to be computed again, one after the
    /// other: each is a decode of its own, which attends to what comes before it and to itself.
    Decode,
}

/// What is computed of one sequence in a step. A sequence has one row at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub sequence: SequenceId,
    pub phase: Phase,
    /// Positions of the tokens in their sequence. What comes before the first is in the blocks already.
    pub positions: Range<usize>,
    /// Where the tokens are in [`Step::tokens`].
    pub tokens: Range<usize>,
    /// The sequence's blocks, at least up to the last position. The row writes to its own positions and to no others. From
    /// one step to the next a full block may be replaced by another of the same content.
    pub blocks: BlockTable,
    /// Whether the logits of the last token are wanted, and a sample of them.
    pub logits: bool,
}

/// What the network computes at once, and what was decided on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub(super) number: u64,
    /// Decodes first, then prefills.
    pub rows: Vec<Row>,
    /// The tokens of all rows, one row after the other.
    pub tokens: Vec<u32>,
    /// Sequences that began to run, or run again.
    pub admitted: Vec<SequenceId>,
    /// Sequences that gave their blocks to others, and wait again.
    pub preempted: Vec<SequenceId>,
    /// Sequences that ended before the step: late ones, and one that not even all blocks hold.
    pub ended: Vec<Ended>,
}

impl Step {
    pub(super) fn new(number: u64) -> Step {
        Step {
            number,
            rows: Vec::new(),
            tokens: Vec::new(),
            admitted: Vec::new(),
            preempted: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// Counts the steps, from 1.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// How many samples are wanted: one for each row with logits, in the order of the rows.
    pub fn samples(&self) -> usize {
        self.rows.iter().filter(|row| row.logits).count()
    }

    pub(super) fn add(
        &mut self,
        sequence: SequenceId,
        phase: Phase,
        start: usize,
        tokens: &[u32],
        row: (BlockTable, bool),
    ) {
        let first = self.tokens.len();
        self.tokens.extend_from_slice(tokens);
        let (blocks, logits) = row;
        self.rows.push(Row {
            sequence,
            phase,
            positions: start..start + tokens.len(),
            tokens: first..self.tokens.len(),
            blocks,
            logits,
        });
    }
}

/// How many of the tokens from `start` to `end` a step with room for `room` computes: all, or else up to the end of a
/// block, unless not even the first block can be filled.
pub(super) fn chunk(start: usize, end: usize, room: usize, block_tokens: usize) -> usize {
    if end - start <= room {
        return end - start;
    }
    let aligned = (start + room) / block_tokens * block_tokens;
    if aligned > start { aligned - start } else { room }
}

/// What became of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// New tokens, in the order of the rows.
    pub produced: Vec<Produced>,
    /// Sequences that ended with the step.
    pub ended: Vec<Ended>,
    /// Blocks that were filled, and can be found by the next sequence with the same start.
    pub kept: Vec<super::blocks::BlockId>,
}

/// A new token of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    pub sequence: SequenceId,
    pub token: u32,
    /// Which token of the answer it is, from 0.
    pub index: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_end_with_a_block_where_room_allows() {
        assert_eq!(chunk(0, 10, 100, 16), 10, "all of it");
        assert_eq!(chunk(0, 100, 40, 16), 32);
        assert_eq!(chunk(5, 100, 40, 16), 27, "from the middle of a block to the end of another");
        assert_eq!(chunk(32, 100, 10, 16), 10, "less than a block is better than nothing");
        assert_eq!(chunk(42, 100, 6, 16), 6);
        assert_eq!(chunk(42, 100, 5, 16), 5);
        assert_eq!(chunk(0, 48, 48, 16), 48);
    }
}
