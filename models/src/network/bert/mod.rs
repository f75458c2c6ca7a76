//! BERT: networks that see all of a text at once, and give a vector for each of its tokens.
//!
//! | module    | what it holds |
//! |-----------|---------------|
//! | `weights` | the tensors, by name and shape, from a safetensors file |
//! | `forward` | the pass through the layers |
//! | `kernels` | what is done with each token: norms, and the function between two products |
//!
//! Texts of any lengths run side by side without padding, and **a text's vectors are the same bits whatever else runs**, on
//! however many threads, and in which instruction set.

mod forward;
mod kernels;
mod weights;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::cpu::isa::Isa;
use super::cpu::pool::Pool;
use crate::model::LoadError;
use crate::safetensors::Safetensors;
use forward::Buffers;
use weights::Weights;

/// Tokens that are computed at once, but for a single text with more: more at once are no faster, and take more memory.
const STEP_TOKENS: usize = 512;
/// The widest head, and what it is a multiple of.
const WIDEST_HEAD: usize = 256;
const HEAD_STEP: usize = 16;
/// What widths are a multiple of.
const WIDTH_STEP: usize = 32;
/// The most tokens of a text that can be asked for.
const MOST_POSITIONS: usize = 1 << 16;
/// The most values of the largest table that a step is computed in.
const MOST_VALUES: usize = 1 << 28;

/// The sizes of a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BertShape {
    pub vocabulary: usize,
    /// Positions that tokens of a text can have.
    pub positions: usize,
    /// Kinds of texts, of which the first is used.
    pub types: usize,
    /// Values of a token's vector.
    pub width: usize,
    pub layers: usize,
    pub heads: usize,
    /// Values between the two products of a layer's second half.
    pub inner: usize,
    pub epsilon: f32,
}

/// A network that is loaded: its weights and its threads.
pub struct Bert {
    shape: BertShape,
    /// Most tokens of a text.
    longest: usize,
    weights: Weights,
    pool: Pool,
    isa: Isa,
    buffers: Buffers,
    stop: Arc<AtomicBool>,
}

/// Why vectors were not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BertError {
    #[error("text {text} has {tokens} tokens, and has to have 1 to {limit}")]
    Length { text: usize, tokens: usize, limit: usize },
    #[error("text {text} has token {token}, and the vocabulary has {vocabulary}")]
    Token { text: usize, token: u32, vocabulary: usize },
    #[error("the run was stopped")]
    Stopped,
}

impl BertShape {
    /// Whether there are kernels for it; else what of it is not supported.
    fn check(&self) -> Result<(), String> {
        let BertShape { width, heads, inner, .. } = *self;
        let counts = [
            ("vocab_size", self.vocabulary, 1 << 24),
            ("max_position_embeddings", self.positions, MOST_POSITIONS),
            ("type_vocab_size", self.types, 1 << 16),
            ("hidden_size", width, 1 << 16),
            ("num_hidden_layers", self.layers, 1 << 10),
            ("num_attention_heads", heads, 1 << 10),
            ("intermediate_size", inner, 1 << 18),
        ];
        if let Some((name, found, most)) = counts.into_iter().find(|(_, found, most)| !(1..=*most).contains(found)) {
            return Err(format!("{name} is {found}; supported are 1 to {most}"));
        }
        for (name, found) in [("hidden_size", width), ("intermediate_size", inner)] {
            if !found.is_multiple_of(WIDTH_STEP) {
                return Err(format!("{name} is {found}; supported are multiples of {WIDTH_STEP}"));
            }
        }
        let head = width / heads;
        if !width.is_multiple_of(heads) || !head.is_multiple_of(HEAD_STEP) || head > WIDEST_HEAD {
            return Err(format!(
                "hidden_size is {width} for {heads} heads; supported are heads of multiples of {HEAD_STEP} values, {WIDEST_HEAD} \
                 at most"
            ));
        }
        if !self.epsilon.is_finite() || self.epsilon < 0.0 {
            return Err(format!("layer_norm_eps is {}; it has to be 0 at least", self.epsilon));
        }
        Ok(())
    }
}

impl Bert {
    /// Loads the tensors of a file. The network computes texts of up to `longest` tokens, on `threads` threads, the caller's
    /// among them.
    pub fn load(path: &Path, shape: BertShape, longest: usize, threads: usize) -> Result<Bert, LoadError> {
        let file = Safetensors::open(path)?;
        shape.check().map_err(|error| file.refuse(error))?;
        let longest = longest.min(shape.positions);
        if STEP_TOKENS.max(longest) * shape.inner > MOST_VALUES {
            let inner = shape.inner;
            return Err(file.refuse(format!(
                "texts of {longest} tokens with an intermediate_size of {inner} need {} values at a time, the limit is \
                 {MOST_VALUES}: ask for fewer tokens of a text",
                longest * inner
            )));
        }
        let weights = Weights::load(&file, &shape)?;
        let pool = Pool::new(threads).map_err(|error| file.refuse(format!("a thread can't be started: {error}")))?;
        let buffers = Buffers::new(&shape, STEP_TOKENS.max(longest));
        Ok(Bert { shape, longest, weights, pool, isa: Isa::best(), buffers, stop: Arc::default() })
    }

    pub fn shape(&self) -> &BertShape {
        &self.shape
    }

    /// While it is set, runs end early, with [`BertError::Stopped`].
    pub fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// Computes the vectors of the texts' tokens, and calls `each` with those of each text, in their order. After an error
    /// some of it may not have been called.
    pub fn encode(&mut self, texts: &[&[u32]], mut each: impl FnMut(&[f32])) -> Result<(), BertError> {
        let (limit, vocabulary) = (self.longest, self.shape.vocabulary);
        for (text, tokens) in texts.iter().enumerate() {
            if tokens.is_empty() || tokens.len() > limit {
                return Err(BertError::Length { text, tokens: tokens.len(), limit });
            }
            if let Some(&token) = tokens.iter().find(|&&token| token as usize >= vocabulary) {
                return Err(BertError::Token { text, token, vocabulary });
            }
        }
        let mut rest = texts;
        while !rest.is_empty() {
            let mut tokens = 0;
            let fit = rest.iter().take_while(|text| {
                tokens += text.len();
                tokens <= STEP_TOKENS
            });
            let (step, later) = rest.split_at(fit.count().max(1));
            self.step(step)?;
            let mut vectors = self.buffers.stream();
            for text in step {
                let (own, others) = vectors.split_at(text.len() * self.shape.width);
                each(own);
                vectors = others;
            }
            rest = later;
        }
        Ok(())
    }

    fn step(&mut self, texts: &[&[u32]]) -> Result<(), BertError> {
        let Bert { shape, weights, pool, isa, buffers, stop, .. } = self;
        let forward = forward::Forward { shape, weights, pool, isa: *isa, texts };
        forward.embed(buffers);
        for layer in &weights.layers {
            if stop.load(Ordering::Relaxed) {
                return Err(BertError::Stopped);
            }
            forward.layer(layer, buffers);
        }
        Ok(())
    }
}
