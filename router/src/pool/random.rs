//! Randomness that a seed determines: SplitMix64, which is small, fast and good enough to draw members by.

use crate::hash::mix;

#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        let value = mix(self.0);
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        value
    }

    /// One of `0..bound`; 0 if there is none.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }

    /// In `0.0..1.0`.
    pub(super) fn part(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_and_repeatable() {
        let (mut first, mut second) = (Random::new(7), Random::new(7));
        let mut counts = [0u32; 10];
        for _ in 0..100_000 {
            let drawn = first.below(10);
            assert_eq!(drawn, second.below(10));
            counts[drawn] += 1;
        }
        // Five standard deviations of 10,000 of 100,000.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 475), "{counts:?}");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&first.part())));
    }
}
