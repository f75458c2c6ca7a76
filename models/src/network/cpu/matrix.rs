//! A matrix of weights, packed into panels.

use super::layout::Layout;
use super::pack::Type;
use super::simd::PANEL;

/// 64 bytes, aligned, so that no vector of weights straddles two cache lines.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Line(pub [u8; 64]);

pub struct Matrix {
    layout: Layout,
    outputs: usize,
    inputs: usize,
    /// Bytes from a panel to the next.
    stride: usize,
    lines: Vec<Line>,
}

/// Why weights can't be packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("rows of {inputs} weights are not whole blocks of {block}")]
    Width { inputs: usize, block: usize },
    #[error("{bytes} bytes were expected, there are {found}")]
    Bytes { bytes: usize, found: usize },
    #[error("a scale in row {row} is out of range")]
    Scale { row: usize },
}

impl Matrix {
    /// Packs weights that lie as in a GGUF file: for each output the weights of all inputs, in blocks of their type.
    pub fn pack(kind: Type, outputs: usize, inputs: usize, weights: &[u8]) -> Result<Matrix, PackError> {
        let layout = kind.layout();
        if inputs == 0 || !inputs.is_multiple_of(layout.inputs()) {
            return Err(PackError::Width { inputs, block: layout.inputs() });
        }
        let units = inputs / layout.inputs();
        let row = units * kind.bytes();
        if outputs.checked_mul(row) != Some(weights.len()) {
            return Err(PackError::Bytes { bytes: outputs.saturating_mul(row), found: weights.len() });
        }
        let stride = (units * layout.bytes()).next_multiple_of(64);
        let mut lines = vec![Line([0; 64]); outputs.div_ceil(PANEL) * stride / 64];
        let panels = bytes_mut(&mut lines).chunks_exact_mut(stride.max(1));
        for (panel, (place, rows)) in panels.zip(weights.chunks(PANEL * row)).enumerate() {
            for (output, weights) in rows.chunks_exact(row).enumerate() {
                let places = place.chunks_exact_mut(layout.bytes());
                for (block, unit) in weights.chunks_exact(kind.bytes()).zip(places) {
                    if !kind.place(block, unit, output) {
                        return Err(PackError::Scale { row: panel * PANEL + output });
                    }
                }
            }
        }
        Ok(Matrix { layout, outputs, inputs, stride, lines })
    }

    pub fn layout(&self) -> Layout {
        self.layout
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn inputs(&self) -> usize {
        self.inputs
    }

    pub fn panels(&self) -> usize {
        self.outputs.div_ceil(PANEL)
    }

    /// Bytes that the weights take.
    pub fn bytes(&self) -> usize {
        size_of_val(self.lines.as_slice())
    }

    pub fn panel(&self, panel: usize) -> &[u8] {
        &bytes(&self.lines)[panel * self.stride..][..self.inputs / self.layout.inputs() * self.layout.bytes()]
    }

    /// Writes the weights of an output, as floats. `row` has as many as there are inputs.
    pub fn row(&self, output: usize, row: &mut [f32]) {
        let units = self.panel(output / PANEL).chunks_exact(self.layout.bytes());
        for (unit, weights) in units.zip(row.chunks_exact_mut(self.layout.inputs())) {
            for (input, weight) in weights.iter_mut().enumerate() {
                *weight = self.layout.weight(unit, output % PANEL, input);
            }
        }
    }
}

fn bytes(lines: &[Line]) -> &[u8] {
    // SAFETY: lines are bytes without gaps.
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), size_of_val(lines)) }
}

fn bytes_mut(lines: &mut [Line]) -> &mut [u8] {
    // SAFETY: lines are bytes without gaps.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), size_of_val(lines)) }
}
