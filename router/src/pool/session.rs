//! Which member a session belongs to: multi-probe consistent hashing. When a member leaves only its sessions move; when one
//! joins it takes its share, and nothing else moves.
//!
//! Each member has some points on a ring, each session others, and it belongs to the member that follows one of these most
//! closely. Rendezvous hashing moves as little, but looks at every member.

use std::collections::BTreeMap;

use super::Member;
use crate::hash::{hash, mix};

/// A session by its key, the same on every gateway.
pub fn session_hash(key: &[u8]) -> u64 {
    hash(&[key])
}

/// More of either make the shares of members more even: with these hardly one has a quarter more than its share.
const POINTS: u64 = 16;
const PROBES: u64 = 5;

/// The members that are in, by the slots of their owner.
#[derive(Clone, Debug, Default)]
pub(super) struct Sessions {
    ring: BTreeMap<u64, u32>,
}

impl Sessions {
    pub(super) fn put(&mut self, slot: u32, member: Member, inside: bool) {
        // Mixed once more, lest the session of the same number have the same points.
        for point in points(mix(member), POINTS) {
            if inside {
                self.ring.insert(point, slot);
            } else {
                self.ring.remove(&point);
            }
        }
    }

    /// The slot that a session belongs to.
    pub(super) fn of(&self, session: u64) -> Option<u32> {
        let follower = |probe| self.ring.range(probe..).next().or_else(|| self.ring.first_key_value());
        let found = points(session, PROBES)
            .filter_map(|probe| follower(probe).map(|(point, slot)| (point.wrapping_sub(probe), *slot)));
        found.min().map(|(_, slot)| slot)
    }
}

fn points(of: u64, count: u64) -> impl Iterator<Item = u64> {
    let of = mix(of);
    (0..count).map(move |number| mix(of ^ number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(members: &[Member]) -> impl Fn(u64) -> Option<Member> {
        let mut sessions = Sessions::default();
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
            assert!(counts.iter().all(|&n| n > expected / 2 && n < expected * 4 / 3), "{counts:?}");
        }
    }

    #[test]
    fn nobody_is_in() {
        assert_eq!(Sessions::default().of(1), None);
    }
}
