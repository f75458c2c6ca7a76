//! A matrix of weights, packed into panels.

use super::layout::Layout;
use super::memory::{Arena, Line, Lines};
use super::pack;
use super::simd::PANEL;
use crate::gguf::TensorType;

pub struct Matrix {
    layout: Layout,
    outputs: usize,
    inputs: usize,
    /// Bytes from a panel to the next.
    stride: usize,
    lines: Lines,
}

/// Why weights can't be packed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("has rows of {inputs} numbers, and supported are multiples of {block}")]
    Width { inputs: usize, block: usize },
    #[error("has no room in memory: {error}")]
    Memory { error: String },
    #[error("has a scale in row {row} that is out of range")]
    Scale { row: usize },
}

impl Matrix {
    /// A matrix whose weights are still to be put in; until then they are noughts.
    pub fn empty(kind: TensorType, outputs: usize, inputs: usize, arena: &mut Arena) -> Result<Matrix, PackError> {
        let layout = pack::layout(kind);
        if inputs == 0 || !inputs.is_multiple_of(layout.inputs()) {
            return Err(PackError::Width { inputs, block: layout.inputs() });
        }
        let stride = (inputs / layout.inputs() * layout.bytes()).next_multiple_of(64);
        let lines = arena
            .take(outputs.div_ceil(PANEL) * stride / 64)
            .map_err(|error| PackError::Memory { error: error.to_string() })?;
        Ok(Matrix { layout, outputs, inputs, stride, lines })
    }

    /// Bytes of an output's weights in a file.
    pub fn row_bytes(&self, kind: TensorType) -> usize {
        self.inputs / self.layout.inputs() * pack::unit_bytes(kind)
    }

    /// Puts in the weights of outputs from `first` on, that lie as in a GGUF file: for each output the weights of all inputs, in
    /// blocks of the type that the matrix was made for.
    pub fn fill(&mut self, kind: TensorType, first: usize, weights: &[u8]) -> Result<(), PackError> {
        let (layout, stride, row) = (self.layout, self.stride, self.row_bytes(kind));
        let lines = bytes_mut(&mut self.lines);
        for (output, weights) in (first..self.outputs).zip(weights.chunks_exact(row)) {
            let places = lines[output / PANEL * stride..][..stride].chunks_exact_mut(layout.bytes());
            for (block, unit) in weights.chunks_exact(pack::unit_bytes(kind)).zip(places) {
                if !pack::place(kind, block, unit, output % PANEL) {
                    return Err(PackError::Scale { row: output });
                }
            }
        }
        Ok(())
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
        size_of_val(&*self.lines)
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
