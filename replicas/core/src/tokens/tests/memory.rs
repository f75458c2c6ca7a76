//! A network that computes with symbols: what it writes into a block's place says which token it is of, how it was
//! computed, and what came before it. So whatever a row attends to can be held against what it should be.

use std::collections::HashSet;

use super::super::{BlockId, CacheSalt, Phase, Row, Step};

/// Tokens are drawn from so few that answers meet again in other prompts.
pub const VOCABULARY: u32 = 5;

/// What stands in one place of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub position: usize,
    pub token: u32,
    pub phase: Phase,
    /// All tokens up to this one, the salt, and the phases where they matter.
    pub history: u64,
}

/// How the network computes.
#[derive(Clone, Copy, Debug)]
pub struct Network {
    /// Whether prefill and decode give different bits.
    pub by_phase: bool,
}

impl Network {
    pub fn begin(self, salt: CacheSalt) -> u64 {
        salt.0.iter().fold(7, |history, &byte| mix(history, u64::from(byte)))
    }

    pub fn next(self, history: u64, token: u32, phase: Phase) -> u64 {
        let phase = u64::from(self.by_phase && phase == Phase::Decode);
        mix(history, u64::from(token) << 1 | phase)
    }

    pub fn sample(self, history: u64) -> u32 {
        (history >> 7) as u32 % VOCABULARY
    }
}

fn mix(history: u64, word: u64) -> u64 {
    let mixed = (history.rotate_left(23) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

/// A sequence as its executor knows it: what each place should hold.
#[derive(Clone, Debug)]
pub struct Truth {
    network: Network,
    salt: CacheSalt,
    pub prompt: usize,
    pub tokens: Vec<u32>,
    histories: Vec<u64>,
}

impl Truth {
    pub fn new(network: Network, salt: CacheSalt, prompt: &[u32]) -> Truth {
        let mut truth = Truth { network, salt, prompt: prompt.len(), tokens: Vec::new(), histories: Vec::new() };
        prompt.iter().for_each(|&token| truth.push(token));
        truth
    }

    pub fn push(&mut self, token: u32) {
        let before = self.histories.last().copied().unwrap_or_else(|| self.network.begin(self.salt));
        self.histories.push(self.network.next(before, token, self.phase(self.tokens.len())));
        self.tokens.push(token);
    }

    pub fn phase(&self, position: usize) -> Phase {
        if position < self.prompt { Phase::Prefill } else { Phase::Decode }
    }

    /// What comes next where the sequence is computed alone and at once.
    pub fn next(&self) -> u32 {
        self.network.sample(self.histories[self.tokens.len() - 1])
    }

    fn cell(&self, position: usize) -> Cell {
        Cell { position, token: self.tokens[position], phase: self.phase(position), history: self.histories[position] }
    }
}

/// The key-value cache.
pub struct Memory {
    network: Network,
    block_tokens: usize,
    cells: Vec<Option<Cell>>,
}

impl Memory {
    pub fn new(network: Network, blocks: usize, block_tokens: usize) -> Memory {
        Memory { network, block_tokens, cells: vec![None; blocks * block_tokens] }
    }

    fn place(&self, row: &Row, position: usize) -> usize {
        let block: BlockId = row.blocks[position / self.block_tokens];
        block.index() * self.block_tokens + position % self.block_tokens
    }

    /// Runs a step, and returns a token for each row that wants logits. `truth` knows each row's sequence.
    pub fn run<'a>(&mut self, step: &Step, truth: impl Fn(&Row) -> &'a Truth) -> Vec<u32> {
        let mut written = HashSet::new();
        for row in &step.rows {
            for (position, &token) in row.positions.clone().zip(&step.tokens[row.tokens.clone()]) {
                let before = match position.checked_sub(1) {
                    None => self.network.begin(truth(row).salt),
                    Some(before) => match self.cells[self.place(row, before)] {
                        Some(cell) => cell.history,
                        None => panic!("{} reads position {before}, which nobody wrote", row.sequence),
                    },
                };
                let place = self.place(row, position);
                assert!(written.insert(place), "two rows write to one place");
                let history = self.network.next(before, token, row.phase);
                self.cells[place] = Some(Cell { position, token, phase: row.phase, history });
            }
        }
        step.rows.iter().filter_map(|row| self.attend(row, truth(row))).collect()
    }

    /// Reads all that a row attends to. Every place must hold the sequence's own token at that position.
    fn attend(&self, row: &Row, truth: &Truth) -> Option<u32> {
        let mut last = None;
        for position in 0..row.positions.end {
            let cell = self.cells[self.place(row, position)];
            let mut expected = truth.cell(position);
            if let (false, Some(cell)) = (self.network.by_phase, cell) {
                expected.phase = cell.phase;
            }
            assert_eq!(cell, Some(expected), "{} at position {position}", row.sequence);
            last = cell;
        }
        last.filter(|_| row.logits).map(|cell| self.network.sample(cell.history))
    }
}

mod tests {
    use std::sync::Arc;

    use super::super::super::blocks::BlockPool;
    use super::super::super::sequence::SequenceId;
    use super::*;

    /// The tests below rest on what this finds.
    fn run(change: impl FnOnce(&mut Row)) -> std::thread::Result<Vec<u32>> {
        let network = Network { by_phase: true };
        let mut pool = BlockPool::new(4);
        let blocks: Vec<_> = std::iter::from_fn(|| pool.take()).collect();
        let truth = Truth::new(network, CacheSalt::default(), &[1, 2, 3]);
        let other = Truth::new(network, CacheSalt([1; 32]), &[1, 2, 3]);
        let mut memory = Memory::new(network, 4, 2);
        let mut step = Step::new(1);
        let (a, b) = (SequenceId::new(0, 0), SequenceId::new(1, 1));
        step.add(a, Phase::Prefill, 0, &[1, 2, 3], (Arc::new(blocks[..2].to_vec()), true));
        step.add(b, Phase::Prefill, 0, &[1, 2, 3], (Arc::new(blocks[2..].to_vec()), true));
        change(&mut step.rows[1]);
        std::panic::catch_unwind(move || memory.run(&step, |row| if row.sequence == a { &truth } else { &other }))
    }

    #[test]
    fn the_executor_finds_what_is_wrong() {
        assert_eq!(run(|_| ()).unwrap().len(), 2);
        assert!(run(|row| Arc::make_mut(&mut row.blocks).swap(0, 1)).is_ok(), "any blocks will do");
        let table = |row: &mut Row, blocks: [u32; 2]| row.blocks = Arc::new(blocks.map(BlockId::from_number).to_vec());
        assert!(run(|row| table(row, [0, 3])).is_err(), "a block of another sequence is written");
        assert!(run(|row| row.positions = 1..4).is_err(), "positions are not those of the tokens");
        assert!(run(|row| row.tokens = 1..4).is_err(), "tokens are those of another");
        assert!(run(|row| row.phase = Phase::Decode).is_err(), "a prompt is computed as a decode");
        assert!(
            run(|row| *row = Row { positions: 2..3, tokens: 5..6, ..row.clone() }).is_err(),
            "what is before is missing"
        );
    }
}
