//! Products of rows with a matrix: the place where nearly all of the time goes.
//!
//! A vector's lanes are sixteen outputs. For each of them the products are added up one after the other along the inputs: in
//! integers within 16 or 32 inputs, which is exact, then in floats, or in floats alone where the weights are floats. Nothing of
//! this depends on how many rows there are, so a row's results don't either.

use std::marker::PhantomData;
use std::ops::Range;

use super::isa::{Isa, Kernel};
use super::layout::{BYTES_BLOCK, Layout, NIBBLES_BLOCK};
use super::matrix::Matrix;
use super::simd::{PANEL, Simd};
use super::tiles::{Block, TILE, Tiles};

/// Rows times a matrix.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    pub matrix: &'a Matrix,
    pub tiles: &'a Tiles,
    pub rows: usize,
}

/// The results of a panel for the rows of a tile.
pub type Results = [[f32; PANEL]; TILE];

impl Product<'_> {
    /// Computes a panel for the rows of a tile, and returns how many these are.
    pub fn tile(&self, isa: Isa, panel: usize, tile: usize, results: &mut Results) -> usize {
        let rows = TILE.min(self.rows - tile * TILE);
        let weights = self.matrix.panel(panel);
        let (quants, floats) = (self.tiles.quants(tile), self.tiles.floats(tile));
        let tile = Tile { weights, quants, floats, rows, results };
        match self.matrix.layout() {
            Layout::Nibbles32 => isa.run(tile.with::<Nibbles32>()),
            Layout::Bytes32 => isa.run(tile.with::<Bytes32>()),
            Layout::Offset32 => isa.run(tile.with::<Offset32>()),
            Layout::Nibbles256 => isa.run(tile.with::<Nibbles256>()),
            Layout::Bytes256 => isa.run(tile.with::<Bytes256>()),
            Layout::Offset256 => isa.run(tile.with::<Offset256>()),
            Layout::Float32 => isa.run(tile.with::<Float32>()),
            Layout::Float16 => isa.run(tile.with::<Float16>()),
            Layout::Brain16 => isa.run(tile.with::<Brain16>()),
        }
        rows
    }
}

/// A panel times a tile.
struct Tile<'a> {
    weights: &'a [u8],
    quants: &'a [Block],
    floats: &'a [[f32; TILE]],
    rows: usize,
    results: &'a mut Results,
}

struct TileKernel<'a, W> {
    tile: Tile<'a>,
    weights: PhantomData<W>,
}

impl<'a> Tile<'a> {
    fn with<W: Weights>(self) -> TileKernel<'a, W> {
        let units = self.weights.len() / W::LAYOUT.bytes();
        let there = W::inputs(&self).len();
        assert!(
            there >= units * W::STEP && self.rows <= TILE,
            "rows of {there} steps for {units} units of {:?}",
            W::LAYOUT
        );
        TileKernel { tile: self, weights: PhantomData }
    }
}

impl<W: Weights> Kernel for TileKernel<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, _: S) {
        let mut row = 0;
        while row < self.tile.rows {
            let rows = S::ROWS.min(self.tile.rows - row);
            // SAFETY: `S` proves the instructions; the rows are in the tile, whose length `with` checked.
            unsafe {
                match rows {
                    1 => self.rows::<S, 1>(row),
                    2 => self.rows::<S, 2>(row),
                    3 => self.rows::<S, 3>(row),
                    4 => self.rows::<S, 4>(row),
                    5 => self.rows::<S, 5>(row),
                    6 => self.rows::<S, 6>(row),
                    7 => self.rows::<S, 7>(row),
                    _ => self.rows::<S, 8>(row),
                }
            }
            row += rows;
        }
    }
}

impl<W: Weights> TileKernel<'_, W> {
    #[inline(always)]
    unsafe fn rows<S: Simd, const R: usize>(&mut self, row: usize) {
        // More rows than an instruction set takes at once are never asked for; this keeps them from being compiled.
        if R > S::ROWS {
            return;
        }
        let units = self.tile.weights.len() / W::LAYOUT.bytes();
        for lane in (0..PANEL).step_by(S::LANES) {
            unsafe {
                let mut sums = [S::splat(0.0); R];
                let mut weights = self.tile.weights.as_ptr();
                let mut inputs = W::inputs(&self.tile).as_ptr();
                for _ in 0..units {
                    W::unit::<S, R>(weights, inputs, row, lane, &mut sums);
                    weights = weights.add(W::LAYOUT.bytes());
                    inputs = inputs.add(W::STEP);
                }
                for (results, sum) in self.tile.results[row..].iter_mut().zip(sums) {
                    S::store(results.as_mut_ptr().add(lane), sum);
                }
            }
        }
    }
}

/// A layout's products.
trait Weights {
    const LAYOUT: Layout;
    /// How many of `inputs` a unit takes.
    const STEP: usize;
    type Input: Copy;

    fn inputs<'a>(tile: &'a Tile) -> &'a [Self::Input];

    /// Adds to `sums` the products of a unit, for `R` rows from `row` on and the vector of outputs from `lane` on.
    unsafe fn unit<S: Simd, const R: usize>(
        weights: *const u8,
        inputs: *const Self::Input,
        row: usize,
        lane: usize,
        sums: &mut [S::F; R],
    );
}

/// Bytes of a vector of quants, and of a panel's scales.
const VECTOR: usize = 4 * PANEL;
const SCALES: usize = 2 * PANEL;

#[inline(always)]
unsafe fn scale<S: Simd>(scales: *const u8, lane: usize) -> S::F {
    unsafe { S::load_f16(scales.add(2 * lane).cast()) }
}

/// The products of four vectors that hold 32 inputs in their halves.
#[inline(always)]
unsafe fn dot_nibbles<S: Simd, const R: usize>(
    vectors: *const u8,
    inputs: *const Block,
    row: usize,
    lane: usize,
) -> [S::I; R] {
    unsafe {
        let mut dots = [S::zero(); R];
        for vector in 0..4 {
            let (low, high) = S::nibbles(S::load_bytes(vectors.add(vector * VECTOR + 4 * lane)));
            for (r, dot) in dots.iter_mut().enumerate() {
                let quants = (&raw const (*inputs).quants[row + r]).cast::<i8>().add(4 * vector);
                *dot = S::dot(*dot, low, S::splat_bytes(quants));
            }
            for (r, dot) in dots.iter_mut().enumerate() {
                let quants = (&raw const (*inputs).quants[row + r]).cast::<i8>().add(16 + 4 * vector);
                *dot = S::dot(*dot, high, S::splat_bytes(quants));
            }
        }
        dots
    }
}

/// The products of vectors `from` up to `to` that hold an input a byte.
#[inline(always)]
unsafe fn dot_bytes<S: Simd, const R: usize, const OFFSET: bool>(
    mut dots: [S::I; R],
    vectors: *const u8,
    inputs: *const Block,
    row: usize,
    lane: usize,
    range: Range<usize>,
) -> [S::I; R] {
    unsafe {
        for vector in range {
            let weights = S::load_bytes(vectors.add(vector * VECTOR + 4 * lane));
            for (r, dot) in dots.iter_mut().enumerate() {
                let quants = S::splat_bytes((&raw const (*inputs).quants[row + r]).cast::<i8>().add(4 * vector));
                *dot = if OFFSET { S::dot_offset(*dot, weights, quants) } else { S::dot(*dot, weights, quants) };
            }
        }
        dots
    }
}

/// Adds sums of products times their scales, and the minima's share.
#[inline(always)]
unsafe fn add_scaled<S: Simd, const R: usize>(
    sums: &mut [S::F; R],
    dots: [S::I; R],
    inputs: *const Block,
    row: usize,
    scale: S::F,
    minimum: Option<S::F>,
) {
    unsafe {
        for (r, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
            let factor = S::mul(scale, S::splat((*inputs).scale[row + r]));
            *sum = S::fma(factor, S::to_float(dot), *sum);
            if let Some(minimum) = minimum {
                *sum = S::fma(minimum, S::splat((*inputs).sum[row + r]), *sum);
            }
        }
    }
}

#[inline(always)]
unsafe fn starts<S: Simd, const R: usize>(offsets: *const [i32; TILE], row: usize) -> [S::I; R] {
    std::array::from_fn(|r| unsafe { S::start_offset(offsets.cast::<i32>().add(row + r)) })
}

macro_rules! quantised {
    ($name:ident, $blocks:expr, |$weights:ident, $inputs:ident, $row:ident, $lane:ident, $sums:ident| $body:block) => {
        struct $name;

        impl Weights for $name {
            const LAYOUT: Layout = Layout::$name;
            const STEP: usize = $blocks;
            type Input = Block;

            #[inline(always)]
            fn inputs<'a>(tile: &'a Tile) -> &'a [Block] {
                tile.quants
            }

            #[inline(always)]
            unsafe fn unit<S: Simd, const R: usize>(
                $weights: *const u8,
                $inputs: *const Block,
                $row: usize,
                $lane: usize,
                $sums: &mut [S::F; R],
            ) {
                unsafe { $body }
            }
        }
    };
}

quantised!(Nibbles32, 1, |weights, inputs, row, lane, sums| {
    let dots = dot_nibbles::<S, R>(weights.add(2 * SCALES), inputs, row, lane);
    let minimum = scale::<S>(weights.add(SCALES), lane);
    add_scaled::<S, R>(sums, dots, inputs, row, scale::<S>(weights, lane), Some(minimum));
});

quantised!(Bytes32, 1, |weights, inputs, row, lane, sums| {
    let dots = dot_bytes::<S, R, false>([S::zero(); R], weights.add(2 * SCALES), inputs, row, lane, 0..8);
    let minimum = scale::<S>(weights.add(SCALES), lane);
    add_scaled::<S, R>(sums, dots, inputs, row, scale::<S>(weights, lane), Some(minimum));
});

quantised!(Offset32, 1, |weights, inputs, row, lane, sums| {
    let starts = starts::<S, R>(&raw const (*inputs).offset, row);
    let dots = dot_bytes::<S, R, true>(starts, weights.add(SCALES), inputs, row, lane, 0..8);
    add_scaled::<S, R>(sums, dots, inputs, row, scale::<S>(weights, lane), None);
});

quantised!(Nibbles256, 8, |weights, inputs, row, lane, sums| {
    let (scale, minimum) = (scale::<S>(weights, lane), scale::<S>(weights.add(SCALES), lane));
    let minimum = S::mul(minimum, S::splat(-1.0));
    for block in 0..8 {
        let (weights, inputs) = (weights.add(2 * SCALES + block * NIBBLES_BLOCK), inputs.add(block));
        let dots = dot_nibbles::<S, R>(weights.add(2 * PANEL), inputs, row, lane);
        let scale = S::mul(scale, S::load_u8(weights.add(lane)));
        let minimum = S::mul(minimum, S::load_u8(weights.add(PANEL + lane)));
        add_scaled::<S, R>(sums, dots, inputs, row, scale, Some(minimum));
    }
});

quantised!(Bytes256, 8, |weights, inputs, row, lane, sums| {
    let (scale, minimum) = (scale::<S>(weights, lane), scale::<S>(weights.add(SCALES), lane));
    let minimum = S::mul(minimum, S::splat(-1.0));
    for block in 0..8 {
        let (weights, inputs) = (weights.add(2 * SCALES + block * BYTES_BLOCK), inputs.add(block));
        let dots = dot_bytes::<S, R, false>([S::zero(); R], weights.add(2 * PANEL), inputs, row, lane, 0..8);
        let scale = S::mul(scale, S::load_u8(weights.add(lane)));
        let minimum = S::mul(minimum, S::load_u8(weights.add(PANEL + lane)));
        add_scaled::<S, R>(sums, dots, inputs, row, scale, Some(minimum));
    }
});

quantised!(Offset256, 8, |weights, inputs, row, lane, sums| {
    let scale = scale::<S>(weights, lane);
    for block in 0..8 {
        let (weights, inputs) = (weights.add(SCALES + block * BYTES_BLOCK), inputs.add(block));
        let first = starts::<S, R>(&raw const (*inputs).offset_first, row);
        let first = dot_bytes::<S, R, true>(first, weights.add(2 * PANEL), inputs, row, lane, 0..4);
        let factor = S::mul(scale, S::load_i8(weights.add(lane).cast()));
        add_scaled::<S, R>(sums, first, inputs, row, factor, None);
        let last = starts::<S, R>(&raw const (*inputs).offset_last, row);
        let last = dot_bytes::<S, R, true>(last, weights.add(2 * PANEL), inputs, row, lane, 4..8);
        let factor = S::mul(scale, S::load_i8(weights.add(PANEL + lane).cast()));
        add_scaled::<S, R>(sums, last, inputs, row, factor, None);
    }
});

macro_rules! floats {
    ($name:ident, $bytes:expr, $load:ident) => {
        struct $name;

        impl Weights for $name {
            const LAYOUT: Layout = Layout::$name;
            const STEP: usize = 32;
            type Input = [f32; TILE];

            #[inline(always)]
            fn inputs<'a>(tile: &'a Tile) -> &'a [[f32; TILE]] {
                tile.floats
            }

            #[inline(always)]
            unsafe fn unit<S: Simd, const R: usize>(
                weights: *const u8,
                inputs: *const [f32; TILE],
                row: usize,
                lane: usize,
                sums: &mut [S::F; R],
            ) {
                unsafe {
                    for input in 0..32 {
                        let weights = S::$load(weights.add((input * PANEL + lane) * $bytes).cast());
                        for (r, sum) in sums.iter_mut().enumerate() {
                            *sum = S::fma(weights, S::splat((*inputs.add(input))[row + r]), *sum);
                        }
                    }
                }
            }
        }
    };
}

floats!(Float32, 4, load);
floats!(Float16, 2, load_f16);
floats!(Brain16, 2, load_bf16);
