//! What a step computes in, set aside once for the largest step.

use super::cpu::chunks::Claims;
use super::cpu::matrix::Matrix;
use super::cpu::tiles::{Forms, Tiles};
use super::rope::{Angle, Rope};
use super::step::StepLimits;
use super::weights::Weights;
use crate::gguf::HyperParameters;

/// A row for each token, or for each row that wants logits. The tiles hold the same values in the form that the matrices which
/// they meet are multiplied with.
pub struct Buffers {
    /// A token's values between layers.
    pub stream: Vec<f32>,
    pub normed: Tiles,
    /// Queries, then keys, then values.
    pub projected: Vec<f32>,
    pub attended: Vec<f32>,
    pub attended_tiles: Tiles,
    pub gated: Vec<f32>,
    pub gated_tiles: Tiles,
    pub angles: Vec<Angle>,
    /// The values after the last layer.
    pub last: Vec<f32>,
    pub last_tiles: Tiles,
    pub logits: Vec<f32>,
    /// Who writes to which token, and to which head of a token.
    pub tokens: Claims,
    pub heads: Claims,
}

impl Buffers {
    pub fn new(hyper: &HyperParameters, weights: &Weights, rope: &Rope, limits: &StepLimits) -> Buffers {
        let (tokens, wanted) = (limits.tokens, limits.logits);
        let (mut normed, mut attended, mut gated) = (Forms::default(), Forms::default(), Forms::default());
        for layer in &weights.layers {
            for matrix in [&layer.query, &layer.key, &layer.value, &layer.gate, &layer.up] {
                normed = normed.and(form(matrix));
            }
            attended = attended.and(form(&layer.attention_output));
            gated = gated.and(form(&layer.down));
        }
        Buffers {
            stream: vec![0.0; tokens * hyper.width],
            normed: Tiles::new(tokens, hyper.width, normed),
            projected: vec![0.0; tokens * (hyper.queries() + 2 * hyper.keys())],
            attended: vec![0.0; tokens * hyper.queries()],
            attended_tiles: Tiles::new(tokens, hyper.queries(), attended),
            gated: vec![0.0; tokens * hyper.feed_forward],
            gated_tiles: Tiles::new(tokens, hyper.feed_forward, gated),
            angles: vec![[0.0; 2]; tokens * rope.pairs()],
            last: vec![0.0; wanted * hyper.width],
            last_tiles: Tiles::new(wanted, hyper.width, form(weights.output())),
            logits: vec![0.0; wanted * limits.vocabulary],
            tokens: Claims::new(tokens),
            heads: Claims::new(tokens * hyper.kv_heads),
        }
    }

    pub fn bytes(&self) -> usize {
        let floats = [&self.stream, &self.projected, &self.attended, &self.gated, &self.last, &self.logits];
        let tiles = [&self.normed, &self.attended_tiles, &self.gated_tiles, &self.last_tiles];
        floats.into_iter().map(|floats| size_of_val(floats.as_slice())).sum::<usize>()
            + tiles.into_iter().map(Tiles::bytes).sum::<usize>()
            + size_of_val(self.angles.as_slice())
    }
}

/// The form in which rows meet a matrix.
fn form(matrix: &Matrix) -> Forms {
    let floats = matrix.layout().is_float();
    Forms { quants: !floats, floats }
}
