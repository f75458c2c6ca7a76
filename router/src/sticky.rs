//! Stickiness: calls with the same key go to the same revision, on every gateway, and a revision that gets more traffic
//! keeps the keys it had.
//!
//! A key has a fixed point on a line of [`POINTS`]. The first revision beside the base covers a piece from the line's
//! start, the second one from its end, further ones lie beside these in turn, and the base has the rest. One whose share is 0
//! keeps its turn. So a share that grows only adds keys to its revision, and with two it takes none from the other.

use crate::hash::hash;

/// The points that keys fall on, `0..POINTS`: 100 for each percent.
pub const POINTS: u16 = 10_000;

/// The point of a key. The hash is FNV-1a 64 with SplitMix64's finalizer, over `namespace/service`, a zero byte and the key;
/// the point is the hash scaled down to the line.
pub fn point(namespace: &str, service: &str, key: &[u8]) -> u16 {
    let hash = hash(&[namespace.as_bytes(), b"/", service.as_bytes(), b"\0", key]);
    ((u128::from(hash) * u128::from(POINTS)) >> 64) as u16
}

/// Which of the `shares`, in percent, covers a point. `base` has what no other does.
pub fn choose(point: u16, shares: &[u8], base: usize) -> usize {
    let (mut start, mut end) = (0, u32::from(POINTS));
    let point = u32::from(point);
    let others = shares.iter().enumerate().filter(|&(index, _)| index != base);
    for (turn, (index, &share)) in others.enumerate() {
        let width = u32::from(share) * u32::from(POINTS) / 100;
        let covered = if turn % 2 == 0 {
            start += width;
            point < start
        } else {
            end = end.saturating_sub(width);
            point >= end
        };
        if covered {
            return index;
        }
    }
    base
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A share of two that leave room for a base; a canary is dark often enough.
    fn share() -> impl Strategy<Value = u8> {
        prop_oneof![1 => Just(0), 4 => 1u8..=50]
    }

    proptest! {
        #[test]
        fn one_canary_has_the_points_below_its_weight(point in 0..POINTS, share in 0u8..=100) {
            prop_assert_eq!(choose(point, &[100 - share, share], 0) == 1, point < u16::from(share) * 100);
            prop_assert_eq!(choose(point, &[share, 100 - share], 1) == 0, point < u16::from(share) * 100);
        }

        #[test]
        fn a_share_that_grows_only_adds_keys(point in 0..POINTS, first in share(), second in share(), more in 0u8..=50) {
            let at = |first: u8, second: u8| choose(point, &[100 - first - second, first, second], 0);
            let before = at(first, second);
            let grown = at((first + more).min(100 - second), second);
            prop_assert!(grown == before || before == 0 && grown == 1, "{before} became {grown}");
            let grown = at(first, (second + more).min(100 - first));
            prop_assert!(grown == before || before == 0 && grown == 2, "{before} became {grown}");
        }

        #[test]
        fn a_share_that_falls_to_0_or_rises_from_it_moves_its_own_keys_alone(
            point in 0..POINTS, first in share(), second in share(), base in 0..3usize,
        ) {
            let at = |first: u8, second: u8| {
                let mut shares = vec![first, second];
                shares.insert(base, 100 - first - second);
                choose(point, &shares, base)
            };
            let [own, other]: [usize; 2] = (0..3).filter(|&index| index != base).collect::<Vec<_>>().try_into().unwrap();
            let both = at(first, second);
            prop_assert_eq!(at(0, second), if both == own { base } else { both });
            prop_assert_eq!(at(first, 0), if both == other { base } else { both });
        }

        #[test]
        fn everyone_covers_just_its_share(cuts in prop::collection::vec(0u8..=100, 0..6), base in any::<prop::sample::Index>()) {
            let mut cuts = cuts;
            cuts.extend([0, 100]);
            cuts.sort_unstable();
            let shares: Vec<u8> = cuts.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let base = base.index(shares.len());
            let mut covered = vec![0; shares.len()];
            for point in 0..POINTS {
                covered[choose(point, &shares, base)] += 1;
            }
            prop_assert_eq!(covered, shares.iter().map(|&share| usize::from(share) * 100).collect::<Vec<_>>());
        }
    }

    #[test]
    fn keys_fall_evenly() {
        let mut counts = [0u32; 20];
        for user in 0..100_000 {
            let point = point("default", "digits", format!("user-{user}").as_bytes());
            counts[usize::from(point) * counts.len() / usize::from(POINTS)] += 1;
        }
        // Four standard deviations of 5,000 of 100,000.
        assert!(counts.iter().all(|count| count.abs_diff(5_000) < 276), "{counts:?}");
    }

    #[test]
    fn services_do_not_share_their_lucky_keys() {
        let both = |a: &str, b: &str| {
            let low = |service: &str, user: &u32| point("default", service, &user.to_le_bytes()) < POINTS / 2;
            (0..10_000u32).filter(|user| low(a, user) == low(b, user)).count()
        };
        assert!(both("a", "b").abs_diff(5_000) < 200);
    }

    /// These values are part of the contract between gateways.
    #[test]
    fn the_definition_holds() {
        assert_eq!(
            ["alice", "bob", "carol"].map(|user| point("default", "digits", user.as_bytes())),
            [2111, 6339, 3426]
        );
    }
}
