//! Hashes of a prefix, block by block, each with all before it.

/// Blocks that are hashed at most.
pub const MAX_BLOCKS: usize = 1024;

const SEED: u64 = 0x9e37_79b9_7f4a_7c15;
const FACTOR: u64 = 0xd6e8_feb8_6659_fd93;

/// The chained hashes of whole blocks of `block` bytes, of [`MAX_BLOCKS`] at most; what is left of the last one is not
/// hashed. Two texts share the first `n` hashes if they share the first `n` blocks.
///
/// For text that nobody has made tokens of. With tokens, hash their bytes: a block of 16 tokens is 64 bytes.
pub fn prefix_hashes(bytes: &[u8], block: usize) -> impl Iterator<Item = u64> {
    bytes.chunks_exact(block.max(1)).take(MAX_BLOCKS).scan(SEED, |before, block| {
        *before = block_hash(*before, block);
        Some(*before)
    })
}

fn block_hash(before: u64, block: &[u8]) -> u64 {
    let (words, rest) = block.as_chunks::<8>();
    let mut hash = words.iter().fold(before, |hash, word| fold(hash ^ u64::from_le_bytes(*word)));
    for &byte in rest {
        hash = fold(hash ^ u64::from(byte));
    }
    // Lest a block of zeros leave what came before as it was.
    fold(hash ^ block.len() as u64)
}

/// Both halves of the product, so that each bit of the value reaches each of the result's.
fn fold(value: u64) -> u64 {
    let product = u128::from(value.wrapping_add(SEED)) * u128::from(FACTOR);
    (product >> 64) as u64 ^ product as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hashes_are_shared_just_as_far_as_the_bytes(
            text in prop::collection::vec(any::<u8>(), 1..400), changed in any::<prop::sample::Index>(), block in 1usize..40,
        ) {
            let hashes: Vec<u64> = prefix_hashes(&text, block).collect();
            prop_assert_eq!(hashes.len(), text.len() / block);
            let changed = changed.index(text.len());
            let mut other = text.clone();
            other[changed] ^= 1;
            for (number, (one, other)) in hashes.iter().zip(prefix_hashes(&other, block)).enumerate() {
                prop_assert_eq!(*one == other, number < changed / block);
            }
        }
    }

    #[test]
    fn equal_blocks_at_different_places_differ_and_the_number_is_capped() {
        for text in [vec![0; 1 << 20], vec![b'a'; 1 << 20]] {
            let hashes: HashSet<u64> = prefix_hashes(&text, 64).collect();
            assert_eq!(hashes.len(), MAX_BLOCKS);
        }
    }
}
