//! The pass of a step through all layers.
//!
//! What a token's values become depends on the token, its position and the keys and values before it, and on nothing else that
//! is in the step: products are taken output by output, norms and attention token by token, each in a fixed order. Threads
//! share the work by outputs, tokens or heads, never within a sum.

use super::attention::Attention;
use super::buffers::Buffers;
use super::cpu::isa::Isa;
use super::cpu::math::Norm;
use super::cpu::matrix::Matrix;
use super::cpu::multiply::{Put, Rows, multiply, multiply_gated};
use super::cpu::pool::Pool;
use super::cpu::tiles::Tiles;
use super::heads::Heads;
use super::kv::{Blocks, KvElement, KvStore, Slot};
use super::rope::Rope;
use super::step::{Plan, Row};
use super::weights::{Layer, Weights};
use crate::gguf::HyperParameters;

/// A network's parts, for the time of a step.
pub struct Forward<'a> {
    pub hyper: &'a HyperParameters,
    pub weights: &'a Weights,
    pub rope: &'a Rope,
    pub pool: &'a Pool,
    pub isa: Isa,
    pub rows: &'a [Row<'a>],
    pub plan: &'a Plan,
}

/// Rows up to which what takes but a moment for each is done by one thread.
const FEW: usize = 16;

impl Forward<'_> {
    /// Computes the logits that are wanted, and writes the tokens' keys and values to the store.
    pub fn run(&self, store: &mut KvStore, buffers: &mut Buffers) {
        self.embed(buffers);
        for (index, layer) in self.weights.layers.iter().enumerate() {
            match store {
                KvStore::F16(blocks) => self.attention(index, layer, blocks, buffers),
                KvStore::F32(blocks) => self.attention(index, layer, blocks, buffers),
            }
            self.feed_forward(layer, buffers);
        }
        self.logits(buffers);
    }

    fn embed(&self, buffers: &mut Buffers) {
        let tokens = self.rows.iter().flat_map(|row| row.tokens);
        for (token, values) in tokens.zip(buffers.stream.chunks_exact_mut(self.hyper.width)) {
            self.weights.embedding.row(*token as usize, values);
        }
        let pairs = self.rope.pairs();
        for (index, position) in self.plan.positions.iter().enumerate() {
            self.rope.angles(*position, &mut buffers.angles[index * pairs..][..pairs]);
        }
    }

    fn attention<E: KvElement>(&self, index: usize, layer: &Layer, store: &mut Blocks<E>, buffers: &mut Buffers) {
        self.fill(&mut buffers.normed, &buffers.stream, Some(&layer.attention_norm));
        let matrices = [&layer.query, &layer.key, &layer.value];
        self.multiply(&buffers.normed, &matrices, &mut buffers.projected, Put::Set);
        self.write(index, layer, store, buffers);
        self.attend(index, store, buffers);
        self.fill(&mut buffers.attended_tiles, &buffers.attended, None);
        self.multiply(&buffers.attended_tiles, &[&layer.attention_output], &mut buffers.stream, Put::Add);
    }

    /// Rotates the tokens' heads, and writes their keys and values.
    fn write<E: KvElement>(&self, index: usize, layer: &Layer, store: &mut Blocks<E>, buffers: &mut Buffers) {
        let (queries, keys, pairs) = (self.hyper.queries(), self.hyper.keys(), self.rope.pairs());
        let geometry = store.geometry();
        let tokens = buffers.tokens.cut(&mut buffers.projected, queries + 2 * keys);
        let blocks = store.chunks();
        let angles = &buffers.angles;
        self.spread(self.plan.writes.len(), |part| {
            let write = &self.plan.writes[part];
            let block = blocks.take(write.block);
            for (offset, index_of_token) in write.tokens.clone().enumerate() {
                let token = tokens.take(index_of_token);
                let angles = &angles[index_of_token * pairs..][..pairs];
                self.isa.run(Heads {
                    hyper: self.hyper,
                    layer,
                    angles,
                    style: self.hyper.rope_style,
                    token: &mut *token,
                });
                let (keys, values) = token[queries..].split_at(keys);
                Slot { geometry, layer: index, token: write.place + offset }.write(block, keys, values);
            }
        });
    }

    fn attend<E: KvElement>(&self, index: usize, store: &Blocks<E>, buffers: &mut Buffers) {
        let heads = self.hyper.kv_heads;
        let attended = buffers.heads.cut(&mut buffers.attended, self.hyper.queries() / heads);
        let attention = Attention {
            hyper: self.hyper,
            isa: self.isa,
            layer: index,
            rows: self.rows,
            plan: self.plan,
            projected: &buffers.projected,
            attended: &attended,
        };
        self.pool.run(self.plan.spans.len() * heads, &|part| {
            attention.span(store, &self.plan.spans[part / heads], part % heads);
        });
    }

    fn feed_forward(&self, layer: &Layer, buffers: &mut Buffers) {
        self.fill(&mut buffers.normed, &buffers.stream, Some(&layer.feed_forward_norm));
        let rows = Rows { tiles: &buffers.normed, count: self.plan.tokens };
        multiply_gated(self.pool, self.isa, rows, &layer.gate, &layer.up, &mut buffers.gated);
        self.fill(&mut buffers.gated_tiles, &buffers.gated, None);
        self.multiply(&buffers.gated_tiles, &[&layer.down], &mut buffers.stream, Put::Add);
    }

    fn logits(&self, buffers: &mut Buffers) {
        let width = self.hyper.width;
        let count = self.plan.wanted.len();
        for (token, last) in self.plan.wanted.iter().zip(buffers.last.chunks_exact_mut(width)) {
            last.copy_from_slice(&buffers.stream[token * width..][..width]);
        }
        let norm = Norm { weights: &self.weights.output_norm, epsilon: self.hyper.norm_epsilon };
        buffers.last_tiles.fill(self.pool_for(count), self.isa, &buffers.last, count, Some(norm));
        let rows = Rows { tiles: &buffers.last_tiles, count };
        multiply(self.pool, self.isa, rows, &[self.weights.output()], &mut buffers.logits, Put::Set);
    }

    /// Puts the tokens' rows into tiles.
    fn fill(&self, tiles: &mut Tiles, values: &[f32], norm: Option<&[f32]>) {
        let norm = norm.map(|weights| Norm { weights, epsilon: self.hyper.norm_epsilon });
        let count = self.plan.tokens;
        tiles.fill(self.pool_for(count), self.isa, values, count, norm);
    }

    /// Multiplies the tokens' rows.
    fn multiply(&self, tiles: &Tiles, matrices: &[&Matrix], results: &mut [f32], put: Put) {
        multiply(self.pool, self.isa, Rows { tiles, count: self.plan.tokens }, matrices, results, put);
    }

    /// Who does what takes but a moment for each of so many rows: the threads of the pool, or nobody besides the caller.
    fn pool_for(&self, rows: usize) -> Option<&Pool> {
        (rows > FEW).then_some(self.pool)
    }

    fn spread(&self, parts: usize, work: impl Fn(usize) + Sync) {
        match self.pool_for(self.plan.tokens) {
            Some(pool) => pool.run(parts, &work),
            None => (0..parts).for_each(work),
        }
    }
}
