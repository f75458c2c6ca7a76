//! Attention of a few queries of one sequence over its cached keys and values.
//!
//! For each query the keys are taken in spans of 64, from the first to its own: the scores of a span, their greatest, their
//! exponentials, and the weighted sum of the span's values; what was summed before is scaled where the greatest grew. The order
//! depends on nothing but the query's position. Several queries go through at once so that keys and values are read once for
//! all of them.

use super::isa::Kernel;
use super::math::{exp, sum};
use super::simd::{PANEL, Simd};
use super::tiles::TILE;

/// The widest head.
pub const MAX_HEAD: usize = 256;
/// Keys of a cache tile: their values of one dimension lie side by side.
pub const KEYS: usize = PANEL;
/// Keys of a span.
const SPAN: usize = 64;

/// What keys and values are kept as.
pub trait Element: Copy + Send + Sync + 'static {
    unsafe fn load<S: Simd>(p: *const Self) -> S::F;
}

impl Element for f32 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const f32) -> S::F {
        unsafe { S::load(p) }
    }
}

impl Element for u16 {
    #[inline(always)]
    unsafe fn load<S: Simd>(p: *const u16) -> S::F {
        unsafe { S::load_f16(p) }
    }
}

/// The keys and values of one layer's one head, in the blocks of a sequence.
#[derive(Clone, Copy)]
pub struct Cache<'a, E> {
    pub store: &'a [E],
    pub blocks: &'a [u32],
    /// Elements of a block, and where in it the head's keys and values begin.
    pub block: usize,
    pub keys: usize,
    pub values: usize,
    pub block_tokens: usize,
    pub head: usize,
}

/// Eight queries side by side: dimension, then query.
pub type Queries = [[f32; TILE]; MAX_HEAD];

/// Attention of `count` queries. Query i sees the first `seen[i]` keys, one at least. `output` has `head` values for each.
pub struct Attend<'a, E> {
    pub cache: Cache<'a, E>,
    pub queries: &'a Queries,
    pub seen: [usize; TILE],
    pub count: usize,
    pub output: &'a mut [[f32; MAX_HEAD]; TILE],
}

impl<E> Cache<'_, E> {
    /// Where the keys of tile `tile` are, and the values.
    #[inline(always)]
    fn tile(&self, tile: usize) -> (*const E, *const E) {
        let (block, within) = (tile * KEYS / self.block_tokens, tile * KEYS % self.block_tokens);
        let first = self.blocks[block] as usize * self.block + within * self.head;
        let end = KEYS * self.head;
        (self.store[first + self.keys..][..end].as_ptr(), self.store[first + self.values..][..end].as_ptr())
    }
}

impl<E: Element> Kernel for Attend<'_, E> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        assert!(self.count <= TILE && self.cache.head <= MAX_HEAD && self.cache.head.is_multiple_of(PANEL));
        let mut query = 0;
        while query < self.count {
            let count = S::ROWS.min(self.count - query);
            // SAFETY: `S` proves the instructions; the sizes were checked above.
            unsafe {
                match count {
                    1 => self.queries::<S, 1>(query),
                    2 => self.queries::<S, 2>(query),
                    3 => self.queries::<S, 3>(query),
                    4 => self.queries::<S, 4>(query),
                    5 => self.queries::<S, 5>(query),
                    6 => self.queries::<S, 6>(query),
                    7 => self.queries::<S, 7>(query),
                    _ => self.queries::<S, 8>(query),
                }
            }
            query += count;
        }
    }
}

impl<E: Element> Attend<'_, E> {
    #[inline(always)]
    unsafe fn queries<S: Simd, const R: usize>(&mut self, first: usize) {
        // More than an instruction set takes at once are never asked for; this keeps them from being compiled.
        if R > S::ROWS {
            return;
        }
        let head = self.cache.head;
        let seen: [usize; R] = std::array::from_fn(|r| self.seen[first + r]);
        let most = seen.into_iter().max().unwrap_or(0);
        let mut greatest = [f32::NEG_INFINITY; R];
        let mut sums = [[0.0f32; KEYS]; R];
        let mut scores = [[0.0f32; SPAN]; R];
        for output in &mut self.output[first..first + R] {
            output[..head].fill(0.0);
        }
        for span in (0..most).step_by(SPAN) {
            let tiles = (most - span).min(SPAN).div_ceil(KEYS);
            let mut values = [std::ptr::null(); SPAN / KEYS];
            for (tile, place) in values[..tiles].iter_mut().enumerate() {
                let (keys, its_values) = self.cache.tile(span / KEYS + tile);
                *place = its_values;
                unsafe { self.scores::<S, R>(first, keys, tile, &mut scores) };
            }
            let mut visible = [0; R];
            for r in 0..R {
                visible[r] = seen[r].saturating_sub(span).min(SPAN);
                if visible[r] > 0 {
                    let grown = weigh(&mut scores[r], visible[r], &mut greatest[r], &mut sums[r]);
                    if let Some(factor) = grown {
                        self.output[first + r][..head].iter_mut().for_each(|value| *value *= factor);
                    }
                }
            }
            // All queries together up to the last key that each sees, the rest alone: in the same order for each.
            let common = visible.into_iter().min().unwrap_or(0);
            unsafe {
                self.add_values::<S, R>(first, &values, 0..common, &scores);
                for r in 0..R {
                    if visible[r] > common {
                        let alone = std::array::from_ref(&scores[r]);
                        self.add_values::<S, 1>(first + r, &values, common..visible[r], alone);
                    }
                }
            }
        }
        for (output, sums) in self.output[first..first + R].iter_mut().zip(sums) {
            let factor = 1.0 / sum(sums);
            output[..head].iter_mut().for_each(|value| *value *= factor);
        }
    }

    /// The products of the queries with sixteen keys.
    #[inline(always)]
    unsafe fn scores<S: Simd, const R: usize>(
        &self,
        first: usize,
        keys: *const E,
        tile: usize,
        scores: &mut [[f32; SPAN]; R],
    ) {
        for lane in (0..KEYS).step_by(S::LANES) {
            unsafe {
                let mut sums = [S::splat(0.0); R];
                for (dimension, queries) in self.queries[..self.cache.head].iter().enumerate() {
                    let keys = E::load::<S>(keys.add(dimension * KEYS + lane));
                    for (r, sum) in sums.iter_mut().enumerate() {
                        *sum = S::fma(S::splat(*queries.as_ptr().add(first + r)), keys, *sum);
                    }
                }
                for (scores, sum) in scores.iter_mut().zip(sums) {
                    S::store(scores.as_mut_ptr().add(tile * KEYS + lane), sum);
                }
            }
        }
    }

    /// Adds the values of some keys of a span, times their weights.
    #[inline(always)]
    unsafe fn add_values<S: Simd, const R: usize>(
        &mut self,
        first: usize,
        values: &[*const E; SPAN / KEYS],
        keys: std::ops::Range<usize>,
        weights: &[[f32; SPAN]; R],
    ) {
        let head = self.cache.head;
        let mut dimension = 0;
        while dimension < head {
            // Two vectors where there are as many; a head is a multiple of sixteen wide.
            let pair = dimension + 2 * S::LANES <= head;
            unsafe {
                let output = self.output[first..].as_mut_ptr();
                let place = |r: usize, vector: usize| (*output.add(r)).as_mut_ptr().add(dimension + vector * S::LANES);
                let mut one: [S::F; R] = std::array::from_fn(|r| S::load(place(r, 0)));
                let mut two: [S::F; R] = std::array::from_fn(|r| S::load(place(r, usize::from(pair))));
                for key in keys.clone() {
                    let value = values[key / KEYS].add(key % KEYS * head + dimension);
                    let first = E::load::<S>(value);
                    let second = E::load::<S>(value.add(if pair { S::LANES } else { 0 }));
                    for r in 0..R {
                        let weight = S::splat(weights[r][key]);
                        one[r] = S::fma(weight, first, one[r]);
                        two[r] = S::fma(weight, second, two[r]);
                    }
                }
                for r in 0..R {
                    S::store(place(r, 0), one[r]);
                    if pair {
                        S::store(place(r, 1), two[r]);
                    }
                }
            }
            dimension += if pair { 2 * S::LANES } else { S::LANES };
        }
    }
}

/// Makes weights of a span's visible scores. Returns what earlier sums are to be multiplied with, where the greatest grew.
#[inline(always)]
fn weigh(scores: &mut [f32; SPAN], visible: usize, greatest: &mut f32, sums: &mut [f32; KEYS]) -> Option<f32> {
    let used = visible.next_multiple_of(KEYS);
    scores[visible..used].fill(f32::NEG_INFINITY);
    let tiles = &mut scores.as_chunks_mut::<KEYS>().0[..used / KEYS];
    let mut most = [f32::NEG_INFINITY; KEYS];
    for tile in tiles.iter() {
        for (most, score) in most.iter_mut().zip(tile) {
            *most = most.max(*score);
        }
    }
    let before = *greatest;
    let now = most.into_iter().fold(before, f32::max);
    for tile in tiles.iter_mut() {
        for score in tile {
            *score = exp(*score - now);
        }
    }
    scores[visible..used].fill(0.0);
    let grown = (now > before).then(|| exp(before - now));
    if let Some(factor) = grown {
        sums.iter_mut().for_each(|sum| *sum *= factor);
        *greatest = now;
    }
    for tile in &scores.as_chunks::<KEYS>().0[..used / KEYS] {
        for (sum, weight) in sums.iter_mut().zip(tile) {
            *sum += weight;
        }
    }
    grown
}
