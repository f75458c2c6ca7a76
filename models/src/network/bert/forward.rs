//! The pass of some texts through all layers.
//!
//! What a token's values become depends on its text and on nothing beside it: products are taken output by output, norms token
//! by token, attention over the text's own tokens, each in a fixed order. Threads share the work by outputs, tokens or heads,
//! never within a sum.

use std::ops::Range;

use super::super::cpu::attend::{Attend, Cache, KEYS, MAX_HEAD, Queries};
use super::super::cpu::chunks::{Chunks, Claims};
use super::super::cpu::isa::Isa;
use super::super::cpu::matrix::Matrix;
use super::super::cpu::multiply::{Put, Rows, multiply};
use super::super::cpu::pool::Pool;
use super::super::cpu::tiles::{Forms, TILE, Tiles};
use super::BertShape;
use super::kernels::{AddGelu, AddNorm};
use super::weights::{Layer, LayerNorm, Weights};

/// Queries that a part of the attention's work has.
const SPAN: usize = 64;
/// Tokens that a part of what is done with each of them has.
const TOKENS: usize = 16;

/// A network's parts, for the time of a step.
pub struct Forward<'a> {
    pub shape: &'a BertShape,
    pub weights: &'a Weights,
    pub pool: &'a Pool,
    pub isa: Isa,
    pub texts: &'a [&'a [u32]],
}

/// What a step computes in. A row for each token.
pub struct Buffers {
    /// A token's values between layers.
    stream: Vec<f32>,
    tiles: Tiles,
    /// Queries, then keys, then values.
    projected: Vec<f32>,
    /// Keys and values in blocks of sixteen tokens of a text, as attention reads them.
    cache: Vec<f32>,
    attended: Vec<f32>,
    inner: Vec<f32>,
    inner_tiles: Tiles,
    /// Blocks by their numbers.
    numbers: Vec<u32>,
    texts: Vec<Place>,
    spans: Vec<Span>,
    claims: Claims,
}

/// Where a text is among those of the step.
#[derive(Clone, Debug)]
struct Place {
    tokens: Range<usize>,
    blocks: Range<usize>,
}

/// Some queries of a text.
#[derive(Clone, Debug)]
struct Span {
    text: usize,
    tokens: Range<usize>,
}

impl Buffers {
    /// For steps of up to `tokens` tokens.
    pub fn new(shape: &BertShape, tokens: usize) -> Buffers {
        let forms = Forms { quants: false, floats: true };
        Buffers {
            stream: Vec::new(),
            tiles: Tiles::new(tokens, shape.width, forms),
            projected: Vec::new(),
            cache: Vec::new(),
            attended: Vec::new(),
            inner: Vec::new(),
            inner_tiles: Tiles::new(tokens, shape.inner, forms),
            numbers: Vec::new(),
            texts: Vec::new(),
            spans: Vec::new(),
            claims: Claims::new(tokens * shape.heads),
        }
    }

    /// The values of all tokens of the step, text by text.
    pub fn stream(&self) -> &[f32] {
        &self.stream
    }

    fn plan(&mut self, texts: &[&[u32]]) {
        self.texts.clear();
        self.spans.clear();
        let (mut token, mut block) = (0, 0);
        for (index, text) in texts.iter().enumerate() {
            let tokens = token..token + text.len();
            let blocks = block..block + text.len().div_ceil(KEYS);
            for first in tokens.clone().step_by(SPAN) {
                self.spans.push(Span { text: index, tokens: first..tokens.end.min(first + SPAN) });
            }
            (token, block) = (tokens.end, blocks.end);
            self.texts.push(Place { tokens, blocks });
        }
        self.numbers.clear();
        self.numbers.extend(0..block as u32);
    }

    fn blocks(&self) -> usize {
        self.numbers.len()
    }
}

impl Forward<'_> {
    fn tokens(&self) -> usize {
        self.texts.iter().map(|text| text.len()).sum()
    }

    /// Values of a block's keys; as many values of its values follow.
    fn block_keys(&self) -> usize {
        KEYS * self.shape.width
    }

    /// The tokens' vectors as they come in.
    pub fn embed(&self, buffers: &mut Buffers) {
        buffers.plan(self.texts);
        let (width, tokens) = (self.shape.width, self.tokens());
        buffers.stream.resize(tokens * width, 0.0);
        buffers.projected.resize(tokens * 3 * width, 0.0);
        buffers.cache.resize(buffers.blocks() * 2 * self.block_keys(), 0.0);
        buffers.attended.resize(tokens * width, 0.0);
        buffers.inner.resize(tokens * self.shape.inner, 0.0);
        let numbered = self.texts.iter().flat_map(|text| text.iter().enumerate());
        for ((position, &token), row) in numbered.zip(buffers.stream.chunks_exact_mut(width)) {
            let token = &self.weights.tokens[token as usize * width..][..width];
            let position = &self.weights.positions[position * width..][..width];
            for ((value, token), position) in row.iter_mut().zip(token).zip(position) {
                *value = token + position;
            }
        }
        self.normalise(buffers, None, &self.weights.norm);
    }

    pub fn layer(&self, layer: &Layer, buffers: &mut Buffers) {
        let (width, tokens) = (self.shape.width, self.tokens());
        buffers.tiles.fill(Some(self.pool), self.isa, &buffers.stream, tokens, None);
        let matrices = [&layer.query.matrix, &layer.key.matrix, &layer.value.matrix];
        self.multiply(&buffers.tiles, &matrices, &mut buffers.projected, Put::Set);
        self.place_keys(layer, buffers);
        self.attend(layer, buffers);
        buffers.tiles.fill(Some(self.pool), self.isa, &buffers.attended, tokens, None);
        self.multiply(&buffers.tiles, &[&layer.attention_output.matrix], &mut buffers.stream, Put::Add);
        self.normalise(buffers, Some(&layer.attention_output.bias), &layer.attention_norm);
        buffers.tiles.fill(Some(self.pool), self.isa, &buffers.stream, tokens, None);
        self.multiply(&buffers.tiles, &[&layer.inner.matrix], &mut buffers.inner, Put::Set);
        let rows = buffers.claims.cut(&mut buffers.inner, self.shape.inner);
        self.each_token(|token| {
            self.isa.run(AddGelu { values: rows.take(token), bias: &layer.inner.bias });
        });
        buffers.inner_tiles.fill(Some(self.pool), self.isa, &buffers.inner, tokens, None);
        self.multiply(&buffers.inner_tiles, &[&layer.output.matrix], &mut buffers.stream, Put::Add);
        self.normalise(buffers, Some(&layer.output.bias), &layer.output_norm);
        debug_assert_eq!(buffers.stream.len(), tokens * width);
    }

    fn normalise(&self, buffers: &mut Buffers, bias: Option<&[f32]>, norm: &LayerNorm) {
        let rows = buffers.claims.cut(&mut buffers.stream, self.shape.width);
        let epsilon = self.shape.epsilon;
        self.each_token(|token| self.isa.run(AddNorm { values: rows.take(token), bias, norm, epsilon }));
    }

    /// Puts keys and values, their biases added, where attention reads them.
    fn place_keys(&self, layer: &Layer, buffers: &mut Buffers) {
        let (width, head) = (self.shape.width, self.shape.width / self.shape.heads);
        let keys = self.block_keys();
        let Buffers { claims, cache, texts, projected, .. } = buffers;
        let blocks = claims.cut(cache, 2 * keys);
        let places: Vec<(usize, Range<usize>)> = texts
            .iter()
            .flat_map(|text| {
                text.blocks
                    .clone()
                    .zip(text.tokens.clone().step_by(KEYS))
                    .map(|(block, first)| (block, first..text.tokens.end.min(first + KEYS)))
            })
            .collect();
        self.pool.run(places.len(), &|part| {
            let (block, tokens) = &places[part];
            let (its_keys, its_values) = blocks.take(*block).split_at_mut(keys);
            // What is left of a text that came before is not seen, but has to be a number.
            its_keys.fill(0.0);
            its_values.fill(0.0);
            for (place, token) in tokens.clone().enumerate() {
                let (key, value) = projected[token * 3 * width + width..][..2 * width].split_at(width);
                for (at, (key, bias)) in key.iter().zip(&layer.key.bias).enumerate() {
                    its_keys[at * KEYS + place] = key + bias;
                }
                for (index, (value, bias)) in
                    value.chunks_exact(head).zip(layer.value.bias.chunks_exact(head)).enumerate()
                {
                    let row = &mut its_values[(index * KEYS + place) * head..][..head];
                    for ((row, value), bias) in row.iter_mut().zip(value).zip(bias) {
                        *row = value + bias;
                    }
                }
            }
        });
    }

    fn attend(&self, layer: &Layer, buffers: &mut Buffers) {
        let heads = self.shape.heads;
        let Buffers { claims, attended, texts, spans, cache, projected, numbers, .. } = buffers;
        let out = claims.cut(attended, self.shape.width / heads);
        self.pool.run(spans.len() * heads, &|part| {
            let (span, head) = (&spans[part / heads], part % heads);
            let text = &texts[span.text];
            self.span(layer, head, span, (cache, &numbers[text.blocks.clone()], text.tokens.len()), projected, &out);
        });
    }

    /// Attention of some queries of a text with a head.
    fn span(
        &self,
        layer: &Layer,
        head: usize,
        span: &Span,
        (cache, blocks, seen): (&[f32], &[u32], usize),
        projected: &[f32],
        out: &Chunks<'_, f32>,
    ) {
        let (width, heads) = (self.shape.width, self.shape.heads);
        let size = width / heads;
        let scale = 1.0 / (size as f32).sqrt();
        let keys = self.block_keys();
        let cache = Cache {
            store: cache,
            blocks,
            block: 2 * keys,
            keys: head * KEYS * size,
            values: keys + head * KEYS * size,
            block_tokens: KEYS,
            head: size,
        };
        let mut queries: Queries = [[0.0; TILE]; MAX_HEAD];
        let mut output = [[0.0; MAX_HEAD]; TILE];
        for first in span.tokens.clone().step_by(TILE) {
            let count = TILE.min(span.tokens.end - first);
            for (index, token) in (first..first + count).enumerate() {
                let query = &projected[token * 3 * width + head * size..][..size];
                for ((place, query), bias) in queries.iter_mut().zip(query).zip(&layer.query.bias[head * size..]) {
                    place[index] = (query + bias) * scale;
                }
            }
            self.isa.run(Attend { cache, queries: &queries, seen: [seen; TILE], count, output: &mut output });
            for (index, output) in output[..count].iter().enumerate() {
                out.take((first + index) * heads + head).copy_from_slice(&output[..size]);
            }
        }
    }

    fn multiply(&self, tiles: &Tiles, matrices: &[&Matrix], results: &mut [f32], put: Put) {
        multiply(self.pool, self.isa, Rows { tiles, count: self.tokens() }, matrices, results, put);
    }

    fn each_token(&self, work: impl Fn(usize) + Sync) {
        let tokens = self.tokens();
        self.pool.run(tokens.div_ceil(TOKENS), &|part| {
            (part * TOKENS..tokens.min((part + 1) * TOKENS)).for_each(&work);
        });
    }
}
