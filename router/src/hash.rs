//! Hashes with a fixed definition: what they decide must not change between gateways, versions or runs.

/// FNV-1a, 64 bits, over all parts as one string of bytes, then [`mix`].
pub(crate) fn hash(parts: &[&[u8]]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.iter());
    mix(bytes.fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// The finalizer of SplitMix64: every bit of the value changes about half of the result's.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
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
