//! Whether a model's answers stay the same when a row is padded: looked for at load, by trying.
//!
//! Transformer exports mark what counts in a row by an attention mask. Where that is honoured, rows of different lengths
//! can share a run, and traffic of mixed lengths batches as well as traffic of one. A name is only a hint, though, so a
//! model is taken at its word only after it gave two rows the same answers alone and padded together.

use bytes::Bytes;
use weirgate_protocol::{Datatype, Shape, Tensor, TensorSpec};

use super::OnnxModel;
use crate::model::Model;

/// Lengths of the two rows. Token ids count up from 1, which any vocabulary has.
const SHORT: usize = 3;
const LONG: usize = 8;

/// Differences that come from adding in another order, as a share of the largest value of an output; a mask that is not
/// honoured shows in the first digits.
const TOLERANCE: f32 = 1e-4;

/// Tries it, where the model looks like it.
pub(super) fn holds(model: &mut OnnxModel) -> bool {
    if !model.spec().may_pad() {
        return false;
    }
    let same = try_rows(model);
    match same {
        Some(true) => tracing::debug!("rows of different lengths can share a run"),
        Some(false) => tracing::info!("padding changes the model's answers: only rows of one length share a run"),
        None => tracing::info!("the model could not be tried with padding: only rows of one length share a run"),
    }
    same == Some(true)
}

fn try_rows(model: &mut OnnxModel) -> Option<bool> {
    let spec = model.spec().clone();
    if spec.outputs.iter().any(|output| output.datatype != Datatype::Fp32) {
        return None;
    }
    let all: Vec<usize> = (0..spec.outputs.len()).collect();
    let mut run = |lengths: &[usize]| {
        let inputs: Vec<Tensor> = spec.inputs.iter().map(|input| rows(input, lengths)).collect();
        model.run(&inputs, &all).ok()
    };
    let (short, long, both) = (run(&[SHORT])?, run(&[LONG])?, run(&[SHORT, LONG])?);
    for (index, both) in both.iter().enumerate() {
        let apart = floats(&short[index]).chain(floats(&long[index]));
        let largest = floats(both).fold(0f32, |largest, value| largest.max(value.abs()));
        let near = |(a, b): (f32, f32)| (a - b).abs() <= TOLERANCE * largest;
        if both.shape.first() != Some(&2) || !apart.zip(floats(both)).all(near) {
            return Some(false);
        }
    }
    Some(true)
}

/// One input for rows of these lengths: token ids for the name that says so, a mask of ones, zeros for the rest.
fn rows(spec: &TensorSpec, lengths: &[usize]) -> Tensor {
    let longest = lengths.iter().copied().max().unwrap_or_default();
    let mut data = Vec::new();
    for &length in lengths {
        for position in 0..longest {
            let value = match &*spec.name {
                _ if position >= length => 0,
                weirgate_protocol::model::ATTENTION_MASK => 1,
                "input_ids" => position as u32 + 1,
                _ => 0,
            };
            data.extend_from_slice(&value.to_le_bytes());
            if spec.datatype == Datatype::Int64 {
                data.extend_from_slice(&[0; 4]);
            }
        }
    }
    Tensor {
        name: spec.name.clone(),
        datatype: spec.datatype,
        shape: Shape::from_slice(&[lengths.len(), longest]),
        data: Bytes::from(data),
    }
}

fn floats(tensor: &Tensor) -> impl Iterator<Item = f32> {
    tensor.data.chunks_exact(4).map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}
