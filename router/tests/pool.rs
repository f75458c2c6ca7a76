//! A pool against a plain model of itself: whatever happens, nobody is asked who may not be, and nothing is lost.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weirgate_router::pool::{
    AffinityConfig, Because, BreakerConfig, EjectionConfig, Era, Member, Outcome, Pick, Pool, PoolConfig, Standing,
    Wish,
};

#[derive(Clone, Debug)]
enum Step {
    Join { slots: usize },
    Slots { which: prop::sample::Index, slots: usize },
    Drain(prop::sample::Index),
    Leave(prop::sample::Index),
    Pick { prefix: Option<(u64, usize)>, session: Option<u64>, avoid: Vec<prop::sample::Index> },
    Done { which: prop::sample::Index, outcome: Outcome, took: u64 },
    Pass(u64),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        4 => Just(Outcome::Answered),
        3 => Just(Outcome::Failed),
        1 => prop::option::of(0u64..100).prop_map(|seconds| Outcome::Overloaded { retry_after: seconds.map(Duration::from_secs) }),
        1 => Just(Outcome::NotExecuted),
        1 => Just(Outcome::Cancelled),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        2 => (0usize..6).prop_map(|slots| Step::Join { slots }),
        1 => (index(), 0usize..6).prop_map(|(which, slots)| Step::Slots { which, slots }),
        1 => index().prop_map(Step::Drain),
        1 => index().prop_map(Step::Leave),
        20 => (
            prop::option::of((0u64..4, 1usize..30)),
            prop::option::of(0u64..20),
            prop::collection::vec(index(), 0..3),
        ).prop_map(|(prefix, session, avoid)| Step::Pick { prefix, session, avoid }),
        20 => (index(), outcome(), 0u64..3_000).prop_map(|(which, outcome, took)| Step::Done { which, outcome, took }),
        5 => (0u64..3_000).prop_map(Step::Pass),
    ]
}

/// Small numbers, so that short histories reach everything.
fn config() -> PoolConfig {
    PoolConfig {
        breaker: BreakerConfig { consecutive: 3, min_calls: 6, ..BreakerConfig::default() },
        ejection: EjectionConfig { min_calls: 2, interval: Duration::ZERO, ..EjectionConfig::default() },
        affinity: AffinityConfig { max_bytes: 8_000, guard_calls: 2, ..AffinityConfig::default() },
        ..PoolConfig::default()
    }
}

struct World {
    pool: Pool,
    now: Instant,
    joined: u64,
    /// Slots and running calls of those that are here.
    members: BTreeMap<Member, (usize, usize)>,
    running: Vec<(Member, Era)>,
}

impl World {
    fn new(seed: u64) -> World {
        let pool = Pool::new(config(), seed);
        World { pool, now: Instant::now(), joined: 0, members: BTreeMap::new(), running: Vec::new() }
    }

    fn join(&mut self, slots: usize) {
        self.pool.join(self.joined, slots, self.now);
        self.members.insert(self.joined, (slots, 0));
        self.joined += 1;
    }

    fn one(&self, which: &prop::sample::Index) -> Option<Member> {
        (!self.members.is_empty()).then(|| *which.get(&self.members.keys().copied().collect::<Vec<_>>()))
    }

    fn standing(&self, member: Member) -> Standing {
        self.pool.state(member, self.now).unwrap().standing
    }

    fn count(&self, is: impl Fn(Standing) -> bool) -> usize {
        self.members.keys().filter(|&&member| is(self.standing(member))).count()
    }

    fn pick(&mut self, wish: &Wish<'_>) -> Result<Pick, TestCaseError> {
        let had_room = self.pool.has_room(self.now);
        let before: BTreeMap<Member, Standing> = self.members.keys().map(|&m| (m, self.standing(m))).collect();
        let stay = before.iter().filter(|(_, standing)| **standing != Standing::Draining).map(|(member, _)| *member);
        let another = stay.into_iter().any(|member| !wish.avoid.contains(&member));
        let pick = self.pool.pick(wish, self.now);
        match pick {
            Pick::Taken { member, because, era } => {
                prop_assert!(had_room);
                let expected = if because == Because::Probe { Standing::HalfOpen } else { Standing::In };
                prop_assert_eq!(before[&member], expected, "picked because of {:?}", because);
                let (slots, running) = self.members.get_mut(&member).unwrap();
                prop_assert!(*running < *slots, "{running} of {slots} slots were taken");
                *running += 1;
                self.running.push((member, era));
                prop_assert!(!another || !wish.avoid.contains(&member));
            }
            Pick::None { again } => {
                prop_assert!(!had_room || !wish.avoid.is_empty());
                prop_assert!(again.is_none_or(|again| again > self.now));
                // Whoever is aside by itself comes back by itself.
                let waits = before
                    .values()
                    .filter(|standing| matches!(standing, Standing::Open { .. } | Standing::Ejected { .. }));
                prop_assert_eq!(again.is_some(), waits.count() > 0);
            }
        }
        Ok(pick)
    }

    fn done(&mut self, which: usize, outcome: Outcome, took: u64) {
        let (member, era) = self.running.swap_remove(which);
        self.pool.done(member, era, outcome, Duration::from_millis(took), self.now);
        if let Some((_, running)) = self.members.get_mut(&member) {
            *running -= 1;
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Join { slots } => self.join(slots),
            Step::Slots { which, slots } => {
                if let Some(member) = self.one(&which) {
                    self.pool.set_slots(member, slots);
                    self.members.get_mut(&member).unwrap().0 = slots;
                }
            }
            Step::Drain(which) => {
                if let Some(member) = self.one(&which) {
                    self.pool.drain(member);
                }
            }
            Step::Leave(which) => {
                if let Some(member) = self.one(&which) {
                    self.pool.leave(member);
                    self.members.remove(&member);
                }
            }
            Step::Pick { prefix, session, avoid } => {
                let avoid: Vec<Member> = avoid.iter().filter_map(|which| self.one(which)).collect();
                let prefix: Vec<u64> =
                    prefix.map_or(vec![], |(of, blocks)| (0..blocks as u64).map(|block| of << 8 | block).collect());
                self.pick(&Wish { prefix: &prefix, session, avoid: &avoid })?;
            }
            Step::Done { which, outcome, took } if !self.running.is_empty() => {
                self.done(which.index(self.running.len()), outcome, took);
            }
            Step::Done { .. } => {}
            Step::Pass(ms) => self.now += Duration::from_millis(ms),
        }
        self.check()
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        prop_assert_eq!(self.pool.len(), self.members.len());
        for (&member, &(slots, running)) in &self.members {
            let state = self.pool.state(member, self.now).unwrap();
            prop_assert_eq!((state.slots, state.running, self.pool.running(member)), (slots, running, running));
        }
        let stay = self.members.len() - self.count(|standing| standing == Standing::Draining);
        let ejected = self.count(|standing| matches!(standing, Standing::Ejected { .. }));
        prop_assert!(ejected * 2 <= stay, "{ejected} of {stay} are set aside");
        let inside = self.count(|standing| standing == Standing::In);
        prop_assert!(ejected == 0 || inside > 0, "{ejected} are set aside, and none is in");
        prop_assert!(self.pool.prefix_bytes() <= config().affinity.max_bytes);
        let considered = self.pool.considered(&Wish::default(), self.now);
        prop_assert_eq!(considered.len(), self.members.len().min(32));
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Running calls are conserved and never exceed the slots; who drains, is open or set aside is not picked, but to be
    /// tried; the ejected are never more than the cap, nor all; a refusal tells when to come again.
    #[test]
    fn any_history_keeps_every_promise(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..400)) {
        let mut world = World::new(seed);
        for step in steps {
            world.step(step)?;
        }
        while !world.running.is_empty() {
            world.done(0, Outcome::Answered, 1);
        }
        prop_assert!(world.members.values().all(|&(_, running)| running == 0));
    }

    /// Whatever happened before, servers that answer from now on are all in again after some time.
    #[test]
    fn who_recovers_is_found_out(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..300)) {
        let mut world = World::new(seed);
        steps.into_iter().try_for_each(|step| world.step(step))?;
        while !world.running.is_empty() {
            world.done(0, Outcome::Failed, 1);
        }
        let members: Vec<Member> = world.members.keys().copied().collect();
        members.iter().for_each(|&member| world.pool.set_slots(member, 1));
        members.iter().for_each(|&member| world.members.get_mut(&member).unwrap().0 = 1);
        // The longest time aside is 300 s, and a breaker is open for 100 s with what it was asked.
        for _ in 0..1_000 {
            world.now += Duration::from_secs(1);
            while let Pick::Taken { .. } = world.pick(&Wish::default())? {
                world.done(0, Outcome::Answered, 1);
                if world.count(|standing| standing == Standing::HalfOpen) == 0 {
                    break;
                }
            }
        }
        prop_assert!(members.iter().all(|&member| matches!(world.standing(member), Standing::In | Standing::Draining)));
    }

    /// One seed and one history give the same picks.
    #[test]
    fn a_pool_is_determined_by_its_seed(seed in any::<u64>(), steps in prop::collection::vec(step(), 1..200)) {
        let (mut one, mut other) = (World::new(seed), World::new(seed));
        other.now = one.now;
        for step in steps {
            one.step(step.clone())?;
            other.step(step)?;
            prop_assert_eq!(&one.running, &other.running);
        }
    }
}

/// A call that runs.
struct Taken {
    member: Member,
    because: Because,
    era: Era,
}

fn taken(pool: &mut Pool, wish: &Wish<'_>, now: Instant) -> Taken {
    match pool.pick(wish, now) {
        Pick::Taken { member, because, era } => Taken { member, because, era },
        Pick::None { again } => panic!("no member may be asked until {again:?}"),
    }
}

impl Taken {
    fn picked(&self) -> (Member, Because) {
        (self.member, self.because)
    }

    fn ends(self, pool: &mut Pool, outcome: Outcome, took: Duration, now: Instant) {
        pool.done(self.member, self.era, outcome, took, now);
    }
}

fn pool(members: u64, slots: usize, now: Instant) -> Pool {
    let mut pool = Pool::new(PoolConfig::default(), 7);
    (0..members).for_each(|member| pool.join(member, slots, now));
    pool
}

#[test]
fn complaint_50_no_call_queues_behind_another_while_an_equal_member_idles() {
    for members in [2, 5, 12, 13, 40, 300] {
        let mut now = Instant::now();
        let mut pool = pool(members, 64, now);
        let mut running = VecDeque::new();
        for call in 0..5_000u64 {
            now += Duration::from_micros(100);
            if running.len() as u64 == members {
                let ended: Taken = running.remove(call as usize * 7 % running.len()).unwrap();
                // Latencies differ by a factor of three.
                ended.ends(&mut pool, Outcome::Answered, Duration::from_millis(10 + call % 20), now);
            }
            let taken = taken(&mut pool, &Wish::default(), now);
            assert_eq!(pool.running(taken.member), 1, "call {call} of {members} members");
            running.push_back(taken);
        }
    }
}

#[test]
fn a_breaker_lets_one_call_try_at_a_time_and_tells_when() {
    let now = Instant::now();
    let mut pool = pool(1, 8, now);
    for _ in 0..5 {
        taken(&mut pool, &Wish::default(), now).ends(&mut pool, Outcome::Failed, Duration::ZERO, now);
    }
    let Pick::None { again: Some(again) } = pool.pick(&Wish::default(), now) else { panic!("the breaker is closed") };
    assert!(!pool.has_room(now) && !pool.has_room(again - Duration::from_nanos(1)) && pool.has_room(again));
    for _ in 0..2 {
        let tries = taken(&mut pool, &Wish::default(), again);
        assert_eq!(tries.picked(), (0, Because::Probe));
        assert_eq!(pool.pick(&Wish::default(), again), Pick::None { again: None });
        tries.ends(&mut pool, Outcome::Answered, Duration::from_millis(1), again);
    }
    assert_eq!(taken(&mut pool, &Wish::default(), again).picked(), (0, Because::Only));
}

/// A pool of one member whose breaker is to be tried now, and calls that it had before it opened.
fn half_open(hung: usize, start: Instant) -> (Pool, Vec<Taken>, Instant) {
    let mut pool = pool(1, 1_000, start);
    let mut calls: Vec<Taken> = (0..hung + 5).map(|_| taken(&mut pool, &Wish::default(), start)).collect();
    for failed in calls.split_off(hung) {
        failed.ends(&mut pool, Outcome::Failed, Duration::ZERO, start);
    }
    let Pick::None { again: Some(again) } = pool.pick(&Wish::default(), start) else { panic!("it is closed") };
    (pool, calls, again)
}

#[test]
fn calls_from_before_a_breaker_opened_neither_open_it_again_nor_close_it() {
    for outcome in [Outcome::Failed, Outcome::NotExecuted, Outcome::Overloaded { retry_after: None }, Outcome::Answered]
    {
        let (mut pool, hung, again) = half_open(100, Instant::now());
        let mut hung = hung.into_iter();
        let mut some_end = |pool: &mut Pool| {
            hung.by_ref().take(33).for_each(|call| call.ends(pool, outcome, Duration::from_secs(60), again));
        };
        let first = taken(&mut pool, &Wish::default(), again);
        some_end(&mut pool);
        assert_eq!(pool.pick(&Wish::default(), again), Pick::None { again: None }, "one tries it, whoever {outcome:?}");
        first.ends(&mut pool, Outcome::Answered, Duration::from_millis(1), again);
        some_end(&mut pool);
        let second = taken(&mut pool, &Wish::default(), again);
        assert_eq!(second.because, Because::Probe);
        second.ends(&mut pool, Outcome::Answered, Duration::from_millis(1), again);
        some_end(&mut pool);
        assert_eq!(pool.state(0, again).unwrap().standing, Standing::In, "{outcome:?}");
    }
}

#[test]
fn a_caller_that_leaves_does_not_end_the_try_of_another() {
    let (mut pool, mut hung, again) = half_open(1, Instant::now());
    let tries = taken(&mut pool, &Wish::default(), again);
    hung.remove(0).ends(&mut pool, Outcome::Cancelled, Duration::from_secs(1), again);
    assert_eq!(pool.pick(&Wish::default(), again), Pick::None { again: None });
    tries.ends(&mut pool, Outcome::Cancelled, Duration::ZERO, again);
    assert_eq!(taken(&mut pool, &Wish::default(), again).because, Because::Probe);
}

#[test]
fn a_try_that_is_a_long_stream_counts_with_its_first_byte() {
    let (mut pool, _, again) = half_open(0, Instant::now());
    let streams = [0, 1].map(|_| {
        let tries = taken(&mut pool, &Wish::default(), again);
        assert_eq!(tries.because, Because::Probe);
        pool.tried(0, tries.era, again);
        tries
    });
    assert_eq!(taken(&mut pool, &Wish::default(), again).because, Because::Only);
    // How they end is no second answer, and no failure of a member that works.
    for stream in streams {
        stream.ends(&mut pool, Outcome::Failed, Duration::ZERO, again);
    }
    assert_eq!((pool.running(0), pool.state(0, again).unwrap().standing), (1, Standing::In));
}

#[test]
fn a_member_that_hangs_until_callers_leave_is_asked_less() {
    let mut now = Instant::now();
    let mut pool = pool(2, 1_000, now);
    let mut asked = [0; 2];
    let mut hung = VecDeque::new();
    for call in 0..1_000 {
        now += Duration::from_millis(10);
        let taken = taken(&mut pool, &Wish::default(), now);
        asked[taken.member as usize] += 1;
        match taken.member {
            0 => hung.push_back((now, taken)),
            _ => taken.ends(&mut pool, Outcome::Answered, Duration::from_millis(5), now),
        }
        // Callers leave after a second.
        while let Some((since, _)) = hung.front()
            && now - *since >= Duration::from_secs(1)
        {
            let (since, left) = hung.pop_front().unwrap();
            left.ends(&mut pool, Outcome::Cancelled, now - since, now);
        }
        assert!(call < 200 || asked[0] < 20, "{asked:?} after {call} calls");
    }
}

#[test]
fn a_call_is_overdue_beside_what_calls_take_here() {
    let now = Instant::now();
    let mut pool = pool(1, 8, now);
    assert!(!pool.is_overdue(Duration::from_secs(3_600)), "nothing is known yet");
    taken(&mut pool, &Wish::default(), now).ends(&mut pool, Outcome::Answered, Duration::from_millis(1), now);
    assert!(pool.is_overdue(Duration::from_secs(1)) && !pool.is_overdue(Duration::from_millis(999)));
    taken(&mut pool, &Wish::default(), now).ends(&mut pool, Outcome::Answered, Duration::from_secs(320), now);
    // The mean has moved by a thirty-second of the way.
    assert!(pool.is_overdue(Duration::from_secs(101)) && !pool.is_overdue(Duration::from_secs(99)));
}

#[test]
fn conversations_and_sessions_stay_where_they_were_until_the_load_is_uneven() {
    let now = Instant::now();
    let mut pool = pool(20, 64, now);
    let prompt = |id: u64, blocks: u64| (0..blocks).map(|block| id << 32 | block).collect::<Vec<_>>();
    for id in 0..50 {
        let first = taken(&mut pool, &Wish { prefix: &prompt(id, 10), ..Wish::default() }, now);
        let home = first.member;
        first.ends(&mut pool, Outcome::Answered, Duration::from_millis(10), now);
        for blocks in 11..15 {
            let again = taken(&mut pool, &Wish { prefix: &prompt(id, blocks), ..Wish::default() }, now);
            assert_eq!(again.picked(), (home, Because::Prefix { blocks: blocks as usize - 1 }));
            again.ends(&mut pool, Outcome::Answered, Duration::from_millis(10), now);
        }
        let session = Wish { session: Some(id), ..Wish::default() };
        let (one, other) = (taken(&mut pool, &session, now), taken(&mut pool, &session, now));
        assert_eq!(one.because, Because::Session);
        assert_eq!(one.picked(), other.picked());
        for call in [one, other] {
            call.ends(&mut pool, Outcome::Answered, Duration::from_millis(10), now);
        }
    }
    // All of one session at once: its member runs a few more than the others, not all.
    let session = Wish { session: Some(1), ..Wish::default() };
    let picks: Vec<_> = (0..100).map(|_| taken(&mut pool, &session, now)).collect();
    let home = picks[0].member;
    // Others run four to five; the least loaded of a sample may run a few more than the least of all.
    let guard = AffinityConfig::default().guard_calls;
    assert!((guard + 1..=guard + 8).contains(&pool.running(home)), "{}", pool.running(home));
    assert!(picks.iter().any(|pick| pick.because == Because::Load));
}

/// What all calls begin with says nothing about where a call belongs.
#[test]
fn a_preamble_that_all_share_does_not_gather_them() {
    let now = Instant::now();
    let mut pool = pool(10, 64, now);
    for id in 0..100u64 {
        let prefix: Vec<u64> = (0..10).map(|block| if block < 4 { block } else { id << 32 | block }).collect();
        taken(&mut pool, &Wish { prefix: &prefix, ..Wish::default() }, now);
    }
    assert!((0..10).all(|member| pool.running(member) == 10));
}
