//! Hashes with a fixed definition: what they decide must not change between gateways, versions or runs.

use std::hash::{BuildHasher, Hasher};

/// FNV-1a, 64 bits, over all parts as one string of bytes, then [`mix`].
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    mix(bytes.fold(START, step))
}

/// The finalizer of SplitMix64: every bit of the value changes about half of the result's.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Hashes names of manifests. Callers look them up and add none, so that nobody can have them collide.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct NameHash;

/// FNV-1a, 64 bits, then [`mix`].
pub(crate) struct NameHasher(u64);

impl BuildHasher for NameHash {
    type Hasher = NameHasher;

    fn build_hasher(&self) -> NameHasher {
        NameHasher(START)
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, step);
    }

    fn finish(&self) -> u64 {
        mix(self.0)
    }
}

/// Where FNV-1a begins, and how it goes on.
const START: u64 = 0xcbf2_9ce4_8422_2325;

fn step(hash: u64, byte: &u8) -> u64 {
    (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These values are part of the contract between versions.
    #[test]
    fn the_definition_holds() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(hash(&[b"a"]), mix(0xaf63_dc4c_8601_ec8c));
        assert_eq!(hash(&[b"foo", b"bar"]), mix(0x8594_4171_f739_67e8));
    }
}
