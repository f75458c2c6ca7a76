//! Attention of a span of a row's tokens with one head of keys and values, and with all the heads of queries that share it.

use super::cpu::attend::{Attend, MAX_HEAD, Queries};
use super::cpu::chunks::Chunks;
use super::cpu::isa::Isa;
use super::cpu::tiles::TILE;
use super::kv::{Blocks, KvElement};
use super::step::{Plan, Row, Span};
use crate::gguf::HyperParameters;

pub struct Attention<'a> {
    pub hyper: &'a HyperParameters,
    pub isa: Isa,
    pub layer: usize,
    pub rows: &'a [Row<'a>],
    pub plan: &'a Plan,
    /// Queries, keys and values of all tokens.
    pub projected: &'a [f32],
    /// For each token and head of keys what the queries that share it attended to.
    pub attended: &'a Chunks<'a, f32>,
}

impl Attention<'_> {
    pub fn span<E: KvElement>(&self, store: &Blocks<E>, span: &Span, kv_head: usize) {
        let size = self.hyper.head_dim;
        let group = self.hyper.heads / self.hyper.kv_heads;
        let stride = self.hyper.queries() + 2 * self.hyper.keys();
        let scale = 1.0 / (size as f32).sqrt();
        let cache = store.cache(self.layer, kv_head, self.rows[span.row].blocks);
        let mut queries: Queries = [[0.0; TILE]; MAX_HEAD];
        let mut output = [[0.0; MAX_HEAD]; TILE];
        // Token by token, and for each the queries of its group: neighbours see nearly the same keys. A group may go on in the
        // next eight.
        let total = span.tokens.len() * group;
        let mut place: &mut [f32] = &mut [];
        for first in (0..total).step_by(TILE) {
            let count = TILE.min(total - first);
            let mut seen = [0; TILE];
            for (index, seen) in seen[..count].iter_mut().enumerate() {
                let (token, query) = (span.tokens.start + (first + index) / group, (first + index) % group);
                *seen = self.plan.positions[token] + 1;
                let at = token * stride + (kv_head * group + query) * size;
                for (places, value) in queries.iter_mut().zip(&self.projected[at..at + size]) {
                    places[index] = value * scale;
                }
            }
            self.isa.run(Attend { cache, queries: &queries, seen, count, output: &mut output });
            for (index, output) in output[..count].iter().enumerate() {
                let (token, query) = (span.tokens.start + (first + index) / group, (first + index) % group);
                if query == 0 {
                    place = self.attended.take(token * self.hyper.kv_heads + kv_head);
                }
                place[query * size..][..size].copy_from_slice(&output[..size]);
            }
        }
    }
}
