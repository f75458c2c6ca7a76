//! Merging neighbours, the best pair first, until none can be: the one loop of both kinds of vocabularies.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A stretch of the text that is, or may become, a token.
#[derive(Clone, Copy, Debug)]
pub(super) struct Symbol {
    /// In bytes of the text.
    pub begin: usize,
    pub end: usize,
    /// Its token, where it has one.
    pub id: Option<u32>,
    previous: usize,
    next: usize,
}

/// No neighbour.
const NONE: usize = usize::MAX;

/// What two neighbours become.
#[derive(Clone, Copy, Debug)]
pub(super) struct Joined {
    /// Lower goes first; the leftmost does among equals.
    pub order: u32,
    pub id: u32,
}

/// The memory of the loop, which texts use one after the other.
#[derive(Debug, Default)]
pub(super) struct Merger {
    symbols: Vec<Symbol>,
    /// Order, the left symbol, where the right one ends, and the token.
    pairs: BinaryHeap<Reverse<(u32, usize, usize, u32)>>,
}

impl Merger {
    /// Adds a symbol behind those that are there.
    pub fn push(&mut self, begin: usize, end: usize, id: Option<u32>) {
        let at = self.symbols.len();
        let previous = at.checked_sub(1).unwrap_or(NONE);
        if let Some(symbol) = self.symbols.last_mut() {
            symbol.next = at;
        }
        self.symbols.push(Symbol { begin, end, id, previous, next: NONE });
    }

    /// Merges the symbols, hands out what is left of them from left to right, and forgets them. Takes time in proportion
    /// to n log n of their number.
    pub fn run(&mut self, join: impl Fn(&Symbol, &Symbol) -> Option<Joined>, mut each: impl FnMut(&Symbol)) {
        for left in 0..self.symbols.len() {
            self.look(left, &join);
        }
        while let Some(Reverse((_, left, end, id))) = self.pairs.pop() {
            // What was found before one of the two was merged with another is no pair any more. A symbol that was merged
            // into its left neighbour is empty.
            let Symbol { begin, end: middle, next, .. } = self.symbols[left];
            if begin == middle || next == NONE || self.symbols[next].end != end {
                continue;
            }
            let after = self.symbols[next].next;
            let merged = &mut self.symbols[left];
            (merged.end, merged.id, merged.next) = (end, Some(id), after);
            let right = &mut self.symbols[next];
            right.begin = right.end;
            if after != NONE {
                self.symbols[after].previous = left;
            }
            self.look(left, &join);
            let before = self.symbols[left].previous;
            if before != NONE {
                self.look(before, &join);
            }
        }
        self.symbols.iter().filter(|symbol| symbol.begin < symbol.end).for_each(&mut each);
        self.symbols.clear();
    }

    fn look(&mut self, left: usize, join: &impl Fn(&Symbol, &Symbol) -> Option<Joined>) {
        let symbol = &self.symbols[left];
        let Some(right) = self.symbols.get(symbol.next) else { return };
        if let Some(joined) = join(symbol, right) {
            self.pairs.push(Reverse((joined.order, left, right.end, joined.id)));
        }
    }
}
