//! The store of keys and values: blocks of tokens, that sequences have tables of.
//!
//! All blocks are set aside at once, in as many bytes as the budget says; the system gives memory to them when they are first
//! written. In a block, the keys and the values of each layer's each head are by themselves. Sixteen tokens' keys lie side by
//! side for each dimension, so that attention computes sixteen scores at once.

use bytemuck::Zeroable;
use half::f16;

use super::cpu::attend::{Cache, Element, KEYS};
use super::cpu::chunks::{Chunks, Claims};
use super::cpu::memory::Memory;
use crate::gguf::HyperParameters;

/// What keys and values are kept as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KvType {
    /// 16 bits: half the memory, and half of what attention reads.
    #[default]
    F16,
    F32,
}

/// How blocks lie in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    layers: usize,
    heads: usize,
    head: usize,
    pub block_tokens: usize,
}

pub enum KvStore {
    F16(Blocks<u16>),
    F32(Blocks<f32>),
}

pub struct Blocks<E> {
    geometry: Geometry,
    elements: Memory<E>,
    claims: Claims,
}

/// An element that floats become.
pub trait KvElement: Element + Zeroable {
    fn from_float(x: f32) -> Self;
}

impl KvElement for f32 {
    #[inline(always)]
    fn from_float(x: f32) -> f32 {
        x
    }
}

impl KvElement for u16 {
    /// What is too large becomes the largest there is, as an infinity would make every score of the token one.
    #[inline(always)]
    fn from_float(x: f32) -> u16 {
        f16::from_f32(x.clamp(-65_504.0, 65_504.0)).to_bits()
    }
}

impl KvType {
    pub const fn bytes(self) -> usize {
        match self {
            KvType::F16 => 2,
            KvType::F32 => 4,
        }
    }
}

impl Geometry {
    pub fn new(hyper: &HyperParameters, block_tokens: usize) -> Result<Geometry, String> {
        if block_tokens == 0 || !block_tokens.is_multiple_of(KEYS) || block_tokens > 1024 {
            return Err(format!(
                "a block is asked for {block_tokens} tokens, and it has to be a multiple of {KEYS}, up to 1024"
            ));
        }
        Ok(Geometry { layers: hyper.layers, heads: hyper.kv_heads, head: hyper.head_dim, block_tokens })
    }

    /// Elements of a block.
    pub fn block(&self) -> usize {
        2 * self.layers * self.heads * self.head * self.block_tokens
    }

    /// Where the keys of a layer's head begin in a block, and the values.
    fn part(&self, layer: usize, head: usize) -> (usize, usize) {
        let part = self.head * self.block_tokens;
        let keys = 2 * (layer * self.heads + head) * part;
        (keys, keys + part)
    }
}

impl KvStore {
    /// As many blocks as fit into `bytes`.
    pub fn new(geometry: Geometry, kind: KvType, bytes: usize) -> Result<KvStore, String> {
        let block = geometry.block() * kind.bytes();
        let blocks = bytes / block;
        if blocks == 0 {
            let tokens = geometry.block_tokens;
            return Err(format!(
                "keys and values may have {bytes} bytes, and a block of {tokens} tokens takes {block}"
            ));
        }
        let elements = blocks * geometry.block();
        Ok(match kind {
            KvType::F16 => KvStore::F16(Blocks::new(geometry, noughts(elements)?)),
            KvType::F32 => KvStore::F32(Blocks::new(geometry, noughts(elements)?)),
        })
    }

    pub fn geometry(&self) -> Geometry {
        match self {
            KvStore::F16(blocks) => blocks.geometry,
            KvStore::F32(blocks) => blocks.geometry,
        }
    }

    pub fn kind(&self) -> KvType {
        match self {
            KvStore::F16(_) => KvType::F16,
            KvStore::F32(_) => KvType::F32,
        }
    }

    pub fn blocks(&self) -> usize {
        match self {
            KvStore::F16(blocks) => blocks.elements.len() / blocks.geometry.block(),
            KvStore::F32(blocks) => blocks.elements.len() / blocks.geometry.block(),
        }
    }
}

fn noughts<E: KvElement>(elements: usize) -> Result<Memory<E>, String> {
    Memory::noughts(elements).map_err(|error| {
        let bytes = elements * size_of::<E>();
        format!("{bytes} bytes for keys and values can't be set aside, ask for fewer: {error}")
    })
}

impl<E: KvElement> Blocks<E> {
    fn new(geometry: Geometry, elements: Memory<E>) -> Blocks<E> {
        let claims = Claims::new(elements.len() / geometry.block());
        Blocks { geometry, elements, claims }
    }

    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The blocks by their numbers, for threads to write to.
    pub fn chunks(&mut self) -> Chunks<'_, E> {
        self.claims.cut(&mut self.elements, self.geometry.block())
    }

    /// A head's keys and values in a sequence's blocks.
    pub fn cache<'a>(&'a self, layer: usize, head: usize, blocks: &'a [u32]) -> Cache<'a, E> {
        let (keys, values) = self.geometry.part(layer, head);
        Cache {
            store: &self.elements,
            blocks,
            block: self.geometry.block(),
            keys,
            values,
            block_tokens: self.geometry.block_tokens,
            head: self.geometry.head,
        }
    }
}

/// Where a token's keys and values of a layer go in a block.
#[derive(Clone, Copy)]
pub struct Slot {
    pub geometry: Geometry,
    pub layer: usize,
    /// Place of the token in its block.
    pub token: usize,
}

impl Slot {
    /// Writes the keys and values of all heads of a token. `block` is the whole block.
    pub fn write<E: KvElement>(&self, block: &mut [E], keys: &[f32], values: &[f32]) {
        let size = self.geometry.head;
        let (tile, lane) = (self.token / KEYS, self.token % KEYS);
        for (head, (keys, values)) in keys.chunks_exact(size).zip(values.chunks_exact(size)).enumerate() {
            let (first_key, first_value) = self.geometry.part(self.layer, head);
            let places = block[first_key + tile * KEYS * size..][..KEYS * size].chunks_exact_mut(KEYS);
            for (place, key) in places.zip(keys) {
                place[lane] = E::from_float(*key);
            }
            let places = &mut block[first_value + self.token * size..][..size];
            for (place, value) in places.iter_mut().zip(values) {
                *place = E::from_float(*value);
            }
        }
    }
}
