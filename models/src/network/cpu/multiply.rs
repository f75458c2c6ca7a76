//! Products shared among threads, by the outputs of the matrices.

use super::isa::{Isa, Kernel};
use super::math::silu;
use super::matrix::Matrix;
use super::pool::{Disjoint, Pool};
use super::products::{Product, Results};
use super::simd::{PANEL, Simd};
use super::tiles::{TILE, Tiles};

/// Rows that meet matrices.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    pub tiles: &'a Tiles,
    pub count: usize,
}

/// What is done with a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Set,
    /// It is added to what is there.
    Add,
}

/// Multiplications that a part has at least, so that taking it costs little beside.
const PART: usize = 1 << 17;
/// Parts for each thread at most, so that none waits long for the last.
const PARTS: usize = 16;
const NO_RESULTS: Results = [[0.0; PANEL]; TILE];

impl<'a> Rows<'a> {
    fn product(self, matrix: &'a Matrix) -> Product<'a> {
        Product { matrix, tiles: self.tiles, rows: self.count }
    }
}

/// Multiplies rows with several matrices. A row of `results` has the outputs of the first, then of the second, and so on.
pub fn multiply(pool: &Pool, isa: Isa, rows: Rows, matrices: &[&Matrix], results: &mut [f32], put: Put) {
    let stride: usize = matrices.iter().map(|matrix| matrix.outputs()).sum();
    let panels: usize = matrices.iter().map(|matrix| matrix.panels()).sum();
    let results = Disjoint::new(&mut results[..rows.count * stride]);
    let step = step(pool, rows, panels);
    pool.run(panels.div_ceil(step), &|part| {
        let mut found = NO_RESULTS;
        let part = part * step..panels.min((part + 1) * step);
        let (mut first_panel, mut first_output) = (0, 0);
        for matrix in matrices {
            let own = first_panel..first_panel + matrix.panels();
            for panel in part.start.max(own.start)..part.end.min(own.end) {
                let panel = panel - first_panel;
                let width = PANEL.min(matrix.outputs() - panel * PANEL);
                for tile in 0..rows.count.div_ceil(TILE) {
                    let count = rows.product(matrix).tile(isa, panel, tile, &mut found);
                    for (row, found) in found[..count].iter().enumerate() {
                        let at = (tile * TILE + row) * stride + first_output + panel * PANEL;
                        // SAFETY: each panel is in one part, and no two have the same outputs.
                        let place = unsafe { results.slice(at, width) };
                        match put {
                            Put::Set => place.copy_from_slice(&found[..width]),
                            Put::Add => place.iter_mut().zip(found).for_each(|(place, found)| *place += found),
                        }
                    }
                }
            }
            (first_panel, first_output) = (own.end, first_output + matrix.outputs());
        }
    });
}

/// Multiplies rows with two matrices of as many outputs: silu(gate) × up.
pub fn multiply_gated(pool: &Pool, isa: Isa, rows: Rows, gate: &Matrix, up: &Matrix, results: &mut [f32]) {
    assert_eq!(gate.outputs(), up.outputs());
    let (panels, outputs) = (gate.panels(), gate.outputs());
    let results = Disjoint::new(&mut results[..rows.count * outputs]);
    let step = step(pool, rows, panels).div_ceil(2);
    pool.run(panels.div_ceil(step), &|part| {
        let (mut gates, mut ups) = (NO_RESULTS, NO_RESULTS);
        for panel in part * step..panels.min((part + 1) * step) {
            let width = PANEL.min(outputs - panel * PANEL);
            for tile in 0..rows.count.div_ceil(TILE) {
                let count = rows.product(gate).tile(isa, panel, tile, &mut gates);
                rows.product(up).tile(isa, panel, tile, &mut ups);
                isa.run(Gate { gates: &mut gates[..count], ups: &ups });
                for (row, found) in gates[..count].iter().enumerate() {
                    // SAFETY: each panel is in one part, and no two have the same outputs.
                    let place = unsafe { results.slice((tile * TILE + row) * outputs + panel * PANEL, width) };
                    place.copy_from_slice(&found[..width]);
                }
            }
        }
    });
}

/// How many panels make a part.
fn step(pool: &Pool, rows: Rows, panels: usize) -> usize {
    let panel = rows.tiles.width() * PANEL * rows.count.max(1);
    PART.div_ceil(panel).max(panels / (pool.threads() * PARTS)).max(1)
}

struct Gate<'a> {
    gates: &'a mut [[f32; PANEL]],
    ups: &'a Results,
}

impl Kernel for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (gates, ups) in self.gates.iter_mut().zip(self.ups) {
            for (gate, up) in gates.iter_mut().zip(ups) {
                *gate = silu(*gate) * up;
            }
        }
    }
}
