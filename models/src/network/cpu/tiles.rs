//! The rows that weights are multiplied with: tiles of eight, so that what is read of a panel serves eight rows.
//!
//! In 8 bits, each 32 values of a row have a scale of their own, the largest value's magnitude over 127, whichever rows share
//! the tile.

use super::isa::{Isa, Kernel};
use super::math::{Norm, inverse_root_mean_square};
use super::pool::{Disjoint, Pool};
use super::simd::Simd;

/// Rows of a tile.
pub const TILE: usize = 8;

/// What a tile holds of 32 values of each of its rows.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Block {
    pub quants: [[i8; 32]; TILE],
    /// Value of a quant's one.
    pub scale: [f32; TILE],
    /// Scale times the sum of the quants: what a minimum of the weights is multiplied with.
    pub sum: [f32; TILE],
    /// -128 times the sum of all quants, of the first 16 and of the others.
    pub offset: [i32; TILE],
    pub offset_first: [i32; TILE],
    pub offset_last: [i32; TILE],
}

/// Rows of one width, in 8 bits, as floats, or as both.
pub struct Tiles {
    width: usize,
    quants: Vec<Block>,
    /// For each tile and column eight values.
    floats: Vec<[f32; TILE]>,
}

/// Which forms of rows are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    pub quants: bool,
    pub floats: bool,
}

impl Forms {
    pub fn and(self, other: Forms) -> Forms {
        Forms { quants: self.quants || other.quants, floats: self.floats || other.floats }
    }
}

const EMPTY: Block = Block {
    quants: [[0; 32]; TILE],
    scale: [0.0; TILE],
    sum: [0.0; TILE],
    offset: [0; TILE],
    offset_first: [0; TILE],
    offset_last: [0; TILE],
};

impl Tiles {
    /// Room for `rows` rows of `width` values, a multiple of 32.
    pub fn new(rows: usize, width: usize, forms: Forms) -> Tiles {
        let tiles = rows.div_ceil(TILE);
        let (quants, floats) = (usize::from(forms.quants), usize::from(forms.floats));
        Tiles {
            width,
            quants: vec![EMPTY; tiles * (width / 32) * quants],
            floats: vec![[0.0; TILE]; tiles * width * floats],
        }
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn bytes(&self) -> usize {
        size_of_val(self.quants.as_slice()) + size_of_val(self.floats.as_slice())
    }

    /// Puts in the first `rows` rows of `values`, normalised before if there is a norm. With a pool its threads share the work.
    pub fn fill(&mut self, pool: Option<&Pool>, isa: Isa, values: &[f32], rows: usize, norm: Option<Norm>) {
        let (width, values) = (self.width, &values[..rows * self.width]);
        let blocks = if self.quants.is_empty() { 0 } else { width / 32 };
        let columns = if self.floats.is_empty() { 0 } else { width };
        let (quants, floats) = (Disjoint::new(&mut self.quants), Disjoint::new(&mut self.floats));
        let fill = |tile: usize| {
            // SAFETY: a tile is filled by one thread.
            let (quants, floats) =
                unsafe { (quants.slice(tile * blocks, blocks), floats.slice(tile * columns, columns)) };
            let tile = &values[tile * TILE * width..rows.min((tile + 1) * TILE) * width];
            for (row, values) in tile.chunks_exact(width).enumerate() {
                isa.run(Fill { values, norm, quants: &mut *quants, floats: &mut *floats, row });
            }
        };
        match pool {
            Some(pool) => pool.run(rows.div_ceil(TILE), &fill),
            None => (0..rows.div_ceil(TILE)).for_each(fill),
        }
    }

    /// The 8-bit form of a tile; empty where this form was not asked for.
    pub fn quants(&self, tile: usize) -> &[Block] {
        let blocks = if self.quants.is_empty() { 0 } else { self.width / 32 };
        &self.quants[tile * blocks..][..blocks]
    }

    /// The float form of a tile; empty where this form was not asked for.
    pub fn floats(&self, tile: usize) -> &[[f32; TILE]] {
        let columns = if self.floats.is_empty() { 0 } else { self.width };
        &self.floats[tile * columns..][..columns]
    }
}

/// Writes a row into a tile, normalised before if there is a norm.
struct Fill<'a> {
    values: &'a [f32],
    norm: Option<Norm<'a>>,
    /// Of the tile, or empty.
    quants: &'a mut [Block],
    floats: &'a mut [[f32; TILE]],
    /// Row within the tile.
    row: usize,
}

impl Kernel for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let factor = self.norm.as_ref().map(|norm| inverse_root_mean_square(self.values, norm.epsilon));
        for (index, values) in self.values.as_chunks::<32>().0.iter().enumerate() {
            let mut values = *values;
            if let (Some(norm), Some(factor)) = (&self.norm, factor) {
                let weights = norm.weights.as_chunks::<32>().0[index];
                for (value, weight) in values.iter_mut().zip(weights) {
                    *value = *value * factor * weight;
                }
            }
            if let Some(block) = self.quants.get_mut(index) {
                quantise(&values, block, self.row);
            }
            if let Some(places) = self.floats.get_mut(32 * index..32 * (index + 1)) {
                for (value, place) in values.iter().zip(places) {
                    place[self.row] = *value;
                }
            }
        }
    }
}

#[inline(always)]
fn quantise(values: &[f32; 32], block: &mut Block, row: usize) {
    let mut largest = [0.0f32; 16];
    for half in values.as_chunks::<16>().0 {
        for (largest, value) in largest.iter_mut().zip(half) {
            *largest = largest.max(value.abs());
        }
    }
    // In halves, as lanes are folded; of magnitudes the greatest is the same in any order.
    for width in [8, 4, 2, 1] {
        for lane in 0..width {
            largest[lane] = largest[lane].max(largest[lane + width]);
        }
    }
    let largest = largest[0];
    let scale = largest / 127.0;
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    // In steps that are taken for many values at once: adding 1.5 × 2^23 leaves the nearest integer in the lowest bits.
    let rounded = values.map(|value| value.mul_add(inverse, 12_582_912.0).to_bits());
    let quants = &mut block.quants[row];
    for (quant, rounded) in quants.iter_mut().zip(rounded) {
        *quant = rounded as u8 as i8;
    }
    let sums = [0, 1].map(|half| quants[16 * half..16 * half + 16].iter().map(|quant| i32::from(*quant)).sum::<i32>());
    block.scale[row] = scale;
    block.sum[row] = scale * (sums[0] + sums[1]) as f32;
    block.offset[row] = -128 * (sums[0] + sums[1]);
    block.offset_first[row] = -128 * sums[0];
    block.offset_last[row] = -128 * sums[1];
}
