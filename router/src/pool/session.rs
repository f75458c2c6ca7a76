//! Sessions by rendezvous hashing: each session has an order of all members, and goes to the first of them that is in.
//! When one leaves, only its sessions move; when one joins, it takes its share and nothing else moves.

use super::Member;
use crate::hash::{hash, mix};

/// A session by its key, the same on every gateway.
pub fn session_hash(key: &[u8]) -> u64 {
    hash(&[key])
}

/// The members that are in, by the slots of their owner.
#[derive(Clone, Debug, Default)]
pub(super) struct Rendezvous {
    /// A hash of the member's number; 0 where there is none. One flat list: a session looks at all of it.
    hashes: Vec<u64>,
}

impl Rendezvous {
    pub(super) fn put(&mut self, slot: u32, member: Member, inside: bool) {
        let slot = slot as usize;
        if self.hashes.len() <= slot {
            self.hashes.resize(slot + 1, 0);
        }
        self.hashes[slot] = if inside { mix(member).max(1) } else { 0 };
    }

    /// The slot that a session belongs to.
    pub(super) fn of(&self, session: u64) -> Option<u32> {
        let session = mix(session);
        let mut best = (0, None);
        for (slot, &hash) in self.hashes.iter().enumerate() {
            // Odd, so that no two members' products are equal.
            let product = u128::from(hash ^ session) * u128::from(session.rotate_left(32) | 1);
            let weight = (product >> 64) as u64 ^ product as u64;
            if hash != 0 && (best.1.is_none() || weight > best.0) {
                best = (weight, Some(slot as u32));
            }
        }
        best.1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(members: &[Member]) -> impl Fn(u64) -> Option<Member> {
        let mut sessions = Rendezvous::default();
        for (slot, &member) in members.iter().enumerate() {
            sessions.put(slot as u32, member, true);
        }
        move |session| sessions.of(session).map(|slot| members[slot as usize])
    }

    proptest! {
        /// Whatever the slots, only the sessions of who leaves move.
        #[test]
        fn who_leaves_takes_nobody_along(count in 2u64..40, leaves in any::<prop::sample::Index>(), shift in any::<prop::sample::Index>()) {
            let members: Vec<Member> = (100..100 + count).collect();
            let gone = members[leaves.index(members.len())];
            let mut left: Vec<Member> = members.iter().copied().filter(|&member| member != gone).collect();
            let shift = shift.index(left.len());
            left.rotate_left(shift);
            let (before, after) = (of(&members), of(&left));
            for session in 0..500 {
                if before(session) != Some(gone) {
                    prop_assert_eq!(before(session), after(session));
                }
            }
        }
    }

    #[test]
    fn sessions_fall_evenly() {
        for count in [3usize, 10, 50] {
            let members: Vec<Member> = (0..count as u64).collect();
            let of = of(&members);
            let mut counts = vec![0u32; count];
            for session in 0..100_000u64 {
                counts[of(session).unwrap() as usize] += 1;
            }
            let expected = 100_000 / count as u32;
            // Five standard deviations.
            let bound = 5.0 * f64::from(expected).sqrt();
            assert!(counts.iter().all(|&n| f64::from(n.abs_diff(expected)) < bound), "{counts:?}");
        }
    }

    #[test]
    fn nobody_is_in() {
        assert_eq!(Rendezvous::default().of(1), None);
    }
}
