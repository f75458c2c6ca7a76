//! A hasher for numbers that are hashes already, or that their owner gave out: members and blocks.
//!
//! Mixing them once more spreads numbers that are not spread yet. It is no defence against a caller who looks for prompts
//! that collide; what these could slow down is bounded by the index's cap.

use std::hash::{BuildHasher, Hasher};

use crate::hash::mix;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct NumberHash;

#[derive(Debug, Default)]
pub(super) struct Mixer(u64);

impl BuildHasher for NumberHash {
    type Hasher = Mixer;

    fn build_hasher(&self) -> Mixer {
        Mixer::default()
    }
}

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = mix(self.0 ^ number);
    }
}
