//! How calls that carry no key are spread over the revisions that take traffic: exactly, not at random.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::hash::mix;

/// A service's count of calls. It outlives the route tables it is part of, so that a new table goes on where the last
/// one was.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<AtomicU64>);

impl Turns {
    /// The number of this call.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A cycle of turns in which each revision has as many as its share says, so that any 100 turns in a row hold exactly
/// those.
///
/// A revision's turns are spread evenly over the cycle, but not at equal distances: a client whose calls alternate between
/// two kinds must not have them split by kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split(Box<[usize]>);

impl Split {
    /// `shares` are the revisions', in percent; they sum to 100.
    pub fn new(shares: &[u8]) -> Split {
        let turns = |(revision, &share): (usize, &u8)| {
            (0..u64::from(share)).map(move |turn| (place(revision as u64, turn, share), revision))
        };
        let mut cycle: Vec<(u64, usize)> = shares.iter().enumerate().flat_map(turns).collect();
        cycle.sort_unstable();
        Split(cycle.into_iter().map(|(_, revision)| revision).collect())
    }

    /// The revision whose turn it is; none where nobody has a share.
    pub fn pick(&self, turn: u64) -> Option<usize> {
        let length = self.0.len() as u64;
        self.0.get(turn.checked_rem(length)? as usize).copied()
    }
}

/// Where one of a revision's turns lies in the cycle: somewhere in its own part of `1 / share`, fixed for all time.
fn place(revision: u64, turn: u64, share: u8) -> u64 {
    const PART: u64 = 1 << 32;
    let jitter = mix(revision << 32 | turn) % PART;
    (turn * PART + jitter) * 100 / u64::from(share)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares(most: usize) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(0u8..=100, 0..most).prop_map(|mut cuts| {
            cuts.extend([0, 100]);
            cuts.sort_unstable();
            cuts.windows(2).map(|pair| pair[1] - pair[0]).collect()
        })
    }

    fn count(split: &Split, turns: std::ops::Range<u64>, revision: usize) -> usize {
        turns.filter(|&turn| split.pick(turn) == Some(revision)).count()
    }

    proptest! {
        #[test]
        fn any_hundred_turns_hold_each_share_exactly(shares in shares(6), start in any::<u32>()) {
            let split = Split::new(&shares);
            let start = u64::from(start);
            for (revision, &share) in shares.iter().enumerate() {
                prop_assert_eq!(count(&split, start..start + 100, revision), usize::from(share));
            }
        }

        #[test]
        fn any_prefix_is_within_two_of_its_share(shares in shares(2), length in 0u64..300) {
            let split = Split::new(&shares);
            for (revision, &share) in shares.iter().enumerate() {
                let (has, due) = (count(&split, 0..length, revision) as f64, length as f64 * f64::from(share) / 100.0);
                prop_assert!((has - due).abs() <= 2.0, "{has} of {due} in {length} turns of {shares:?}");
            }
        }
    }

    #[test]
    fn calls_that_alternate_are_not_split_by_kind() {
        for percent in 8..=92u8 {
            let split = Split::new(&[100 - percent, percent]);
            let even = (0..100).step_by(2).filter(|&turn| split.pick(turn) == Some(1)).count();
            let share = even as f64 / f64::from(percent);
            assert!((0.2..=0.8).contains(&share), "{even} of {percent} turns are even");
        }
    }

    #[test]
    fn without_shares_nobody_is_picked() {
        assert_eq!(Split::new(&[]).pick(7), None);
        assert_eq!(Split::new(&[100]).pick(7), Some(0));
    }
}
