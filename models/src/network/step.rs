//! A step: tokens of several sequences, computed together.

use std::ops::Range;

/// What is computed of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// One or more tokens that follow each other.
    pub tokens: &'a [u32],
    /// Position of the first token in its sequence. What comes before it is in the blocks already.
    pub start: usize,
    /// The sequence's blocks, in order, at least up to the last token. The row writes to its own positions alone.
    pub blocks: &'a [u32],
    /// Whether the logits after the last token are wanted.
    pub logits: bool,
}

/// Limits that a step has to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StepLimits {
    /// Tokens of all rows.
    pub tokens: usize,
    /// Rows that want logits.
    pub logits: usize,
    /// Tokens of a sequence.
    pub context: usize,
    pub vocabulary: usize,
    pub blocks: usize,
    pub block_tokens: usize,
}

/// Why a step can't be computed; nothing was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    #[error("a step has {tokens} tokens, more than the {limit} that the network was loaded for")]
    Tokens { tokens: usize, limit: usize },
    #[error("{rows} rows want logits, more than the {limit} that the network was loaded for")]
    Logits { rows: usize, limit: usize },
    #[error("row {row} has no tokens")]
    Empty { row: usize },
    #[error("row {row} has token {token}, and the vocabulary ends at {vocabulary}")]
    Token { row: usize, token: u32, vocabulary: usize },
    #[error("row {row} ends at position {end}, and the context is {context} tokens")]
    Context { row: usize, end: usize, context: usize },
    #[error("row {row} ends at position {end}, and its {blocks} blocks of {block_tokens} tokens before that")]
    Blocks { row: usize, end: usize, blocks: usize, block_tokens: usize },
    #[error("row {row} names block {block}, and there are {blocks}")]
    Block { row: usize, block: u32, blocks: usize },
    #[error("row {row} writes to block {block}, and so does another or itself elsewhere")]
    Shared { row: usize, block: u32 },
}

/// A step that was checked, taken apart for the threads.
#[derive(Default)]
pub struct Plan {
    /// Tokens of all rows.
    pub tokens: usize,
    /// Position of each token.
    pub positions: Vec<usize>,
    /// Tokens that go to one block.
    pub writes: Vec<Write>,
    /// Tokens of one row, whose attention one thread computes for a head.
    pub spans: Vec<Span>,
    /// The tokens after which logits are wanted.
    pub wanted: Vec<usize>,
    /// For each block the number of the step that last wrote to it.
    written: Vec<u64>,
    number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub block: usize,
    /// Place of the first token in the block.
    pub place: usize,
    /// The tokens, counted over all rows.
    pub tokens: Range<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub row: usize,
    /// The tokens, counted over all rows.
    pub tokens: Range<usize>,
}

/// Tokens of a span at most.
const SPAN: usize = 16;

impl Plan {
    pub fn new(limits: &StepLimits) -> Plan {
        Plan { written: vec![0; limits.blocks], ..Plan::default() }
    }

    /// Checks the rows, and takes them apart.
    pub fn make(&mut self, rows: &[Row], limits: &StepLimits) -> Result<(), StepError> {
        self.tokens = 0;
        self.positions.clear();
        self.writes.clear();
        self.spans.clear();
        self.wanted.clear();
        self.number += 1;
        let tokens = rows.iter().fold(0usize, |sum, row| sum.saturating_add(row.tokens.len()));
        if tokens > limits.tokens {
            return Err(StepError::Tokens { tokens, limit: limits.tokens });
        }
        let wanted = rows.iter().filter(|row| row.logits).count();
        if wanted > limits.logits {
            return Err(StepError::Logits { rows: wanted, limit: limits.logits });
        }
        for (index, row) in rows.iter().enumerate() {
            check(index, row, limits)?;
            self.add(index, row, limits)?;
        }
        Ok(())
    }

    fn add(&mut self, index: usize, row: &Row, limits: &StepLimits) -> Result<(), StepError> {
        let (first, count) = (self.tokens, row.tokens.len());
        self.tokens += count;
        self.positions.extend(row.start..row.start + count);
        let mut done = 0;
        while done < count {
            let (block, place) = ((row.start + done) / limits.block_tokens, (row.start + done) % limits.block_tokens);
            let taken = (limits.block_tokens - place).min(count - done);
            let block = row.blocks[block] as usize;
            // Two threads would write to it at once, and one sequence to another's memory.
            if std::mem::replace(&mut self.written[block], self.number) == self.number {
                return Err(StepError::Shared { row: index, block: block as u32 });
            }
            self.writes.push(Write { block, place, tokens: first + done..first + done + taken });
            done += taken;
        }
        // The last tokens see the most, so they come first: what is left for the end is short.
        for from in (0..count).step_by(SPAN).rev() {
            self.spans.push(Span { row: index, tokens: first + from..first + (from + SPAN).min(count) });
        }
        if row.logits {
            self.wanted.push(self.tokens - 1);
        }
        Ok(())
    }
}

fn check(index: usize, row: &Row, limits: &StepLimits) -> Result<(), StepError> {
    if row.tokens.is_empty() {
        return Err(StepError::Empty { row: index });
    }
    if let Some(&token) = row.tokens.iter().find(|token| **token as usize >= limits.vocabulary) {
        return Err(StepError::Token { row: index, token, vocabulary: limits.vocabulary });
    }
    let end = row.start.saturating_add(row.tokens.len());
    if end > limits.context {
        return Err(StepError::Context { row: index, end, context: limits.context });
    }
    let needed = end.div_ceil(limits.block_tokens);
    let Some(used) = row.blocks.get(..needed) else {
        let (blocks, block_tokens) = (row.blocks.len(), limits.block_tokens);
        return Err(StepError::Blocks { row: index, end, blocks, block_tokens });
    };
    match used.iter().find(|block| **block as usize >= limits.blocks) {
        Some(&block) => Err(StepError::Block { row: index, block, blocks: limits.blocks }),
        None => Ok(()),
    }
}

/// The logits of a step's rows that asked for them.
#[derive(Clone, Copy, Debug)]
pub struct Logits<'a> {
    values: &'a [f32],
    vocabulary: usize,
}

impl<'a> Logits<'a> {
    pub(super) fn new(values: &'a [f32], vocabulary: usize) -> Logits<'a> {
        Logits { values, vocabulary }
    }

    /// How many rows asked.
    pub fn len(&self) -> usize {
        self.values.len() / self.vocabulary
    }

    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Those of the rows that asked, in the rows' order: one value for each token of the vocabulary.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = &'a [f32]> + use<'a> {
        self.values.chunks_exact(self.vocabulary)
    }
}
