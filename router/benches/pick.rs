//! What does it cost to choose a server for a call, and to learn from its end?
//!
//! The number that matters: time of one `pick` and one `done` with 1, 100 and 10,000 members, everything on. Each call
//! has a prefix of 4,096 tokens in 256 blocks, a quarter of which all calls share; one call in ten is a new conversation.
//! Two calls run per member, and at first the breaker of one member in fifty is open. It is to be at most 2 µs with 100
//! members and 10 µs with 10,000.
//!
//! The baseline is what is written first: look at all members, skip those that may not be asked, take the least loaded.
//! It knows no prefix and learns nothing. `session` is a call with a session in place of a prefix.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use weirgate_router::pool::{BreakerConfig, Era, Member, Outcome, Pick, Pool, PoolConfig, Wish};

const SIZES: [usize; 3] = [1, 100, 10_000];
const SLOTS: usize = 64;
const BLOCKS: usize = 256;
const CONVERSATIONS: usize = 1_000;
/// Between two calls.
const PAUSE: Duration = Duration::from_micros(10);
const TOOK: Duration = Duration::from_millis(20);

/// A pool in the midst of its work.
struct Busy {
    pool: Pool,
    now: Instant,
    running: VecDeque<(Member, Era)>,
    conversations: Vec<Vec<u64>>,
    calls: usize,
}

impl Busy {
    fn new(members: usize) -> Busy {
        let breaker = BreakerConfig { consecutive: 2, ..BreakerConfig::default() };
        let mut pool = Pool::new(PoolConfig { breaker, ..PoolConfig::default() }, 1);
        let now = Instant::now();
        (0..members as u64).for_each(|member| pool.join(member, SLOTS, now));
        let conversations = (0..CONVERSATIONS).map(conversation).collect();
        let mut busy = Busy { pool, now, running: VecDeque::new(), conversations, calls: 0 };
        for _ in 0..2 * members {
            busy.start(&Wish::default());
        }
        for member in (0..members as u64).skip(25).step_by(50) {
            busy.fail(member);
        }
        busy
    }

    /// Both calls that run there fail, which opens its breaker.
    fn fail(&mut self, member: Member) {
        for (other, era) in std::mem::take(&mut self.running) {
            if other == member {
                self.pool.done(member, era, Outcome::Failed, TOOK, self.now);
            } else {
                self.running.push_back((other, era));
            }
        }
    }

    fn start(&mut self, wish: &Wish<'_>) {
        match self.pool.pick(wish, self.now) {
            Pick::Taken { member, era, .. } => self.running.push_back((member, era)),
            Pick::None { again } => panic!("no member may be asked until {again:?}"),
        }
    }

    /// One call starts, and the oldest one ends.
    fn step(&mut self, session: bool) {
        self.calls += 1;
        self.now += PAUSE;
        let number = self.calls * 7 % CONVERSATIONS;
        if session {
            self.start(&Wish { session: Some(number as u64), ..Wish::default() });
        } else {
            if self.calls.is_multiple_of(10) {
                // All blocks but the shared ones are new.
                let calls = self.calls as u64;
                self.conversations[number][BLOCKS / 4..].iter_mut().for_each(|block| *block ^= calls << 20);
            }
            let prefix = std::mem::take(&mut self.conversations[number]);
            self.start(&Wish { prefix: &prefix, ..Wish::default() });
            self.conversations[number] = prefix;
        }
        if let Some((member, era)) = self.running.pop_front() {
            self.pool.done(member, era, Outcome::Answered, TOOK, self.now);
        }
    }
}

fn conversation(number: usize) -> Vec<u64> {
    let block = |block: usize| if block < BLOCKS / 4 { block } else { number * BLOCKS + block };
    (0..BLOCKS).map(|place| (block(place) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect()
}

/// What is written first.
struct Naive {
    members: Vec<(usize, bool)>,
    running: VecDeque<usize>,
}

impl Naive {
    fn new(members: usize) -> Naive {
        let members = (0..members).map(|member| (2, member % 50 == 25)).collect::<Vec<_>>();
        let running = (0..2 * members.len()).map(|call| call % members.len()).collect();
        Naive { members, running }
    }

    fn step(&mut self) {
        let asked = self.members.iter().enumerate().filter(|(_, (running, open))| !open && *running < SLOTS);
        let (picked, _) = asked.min_by_key(|(_, (running, _))| *running).unwrap();
        self.members[picked].0 += 1;
        self.running.push_back(picked);
        let ended = self.running.pop_front().unwrap();
        self.members[ended].0 = self.members[ended].0.saturating_sub(1);
    }
}

fn pick(c: &mut Criterion) {
    let mut group = c.benchmark_group("pick");
    for members in SIZES {
        let mut busy = Busy::new(members);
        group.bench_function(BenchmarkId::new("prefix", members), |b| b.iter(|| black_box(&mut busy).step(false)));
        let mut busy = Busy::new(members);
        group.bench_function(BenchmarkId::new("session", members), |b| b.iter(|| black_box(&mut busy).step(true)));
        let mut naive = Naive::new(members);
        group.bench_function(BenchmarkId::new("naive", members), |b| b.iter(|| black_box(&mut naive).step()));
    }
    group.finish();
}

criterion_group!(benches, pick);
criterion_main!(benches);
