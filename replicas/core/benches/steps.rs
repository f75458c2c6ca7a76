//! What does a step cost the scheduler: planning it, and reporting it done?
//!
//! The number that matters: time of one `plan` and one `done` with 256 running sequences, which is to be a few tens of µs.
//! Sequences have about 2,000 tokens, of which 1,024 are a prompt that a quarter of them share; each generates 512, and as
//! one ends another comes, so a step also has its part of admissions, prefills and blocks that fill up.
//!
//! `decodes` has blocks enough. `crowded` has too few, so sequences are pre-empted and computed again, and one that does not
//! fit waits at the head of the queue all the time.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use weirgate_protocol::Priority;
use weirgate_replicas_core::tokens::{CacheSalt, NewSequence, Sample, Scheduler, Stats, TokenPolicy};

const RUNNING: [usize; 3] = [1, 32, 256];
const PROMPT: u32 = 1_024;
const NEW: usize = 512;

/// A scheduler in the midst of its work.
struct Busy {
    scheduler: Scheduler,
    now: Instant,
    came: u32,
    tokens: u32,
    samples: Vec<Sample>,
}

impl Busy {
    fn new(running: usize, blocks: usize) -> Busy {
        let policy = TokenPolicy { running, ..TokenPolicy::new(8_192, blocks) };
        let scheduler = Scheduler::new(policy).unwrap();
        let mut busy = Busy { scheduler, now: Instant::now(), came: 0, tokens: 0, samples: Vec::new() };
        // They begin one after the other, as far apart as it takes for one to end in every few steps from then on.
        for _ in 0..running {
            busy.come();
            (0..NEW / running).for_each(|_| busy.step());
        }
        (0..2 * NEW).for_each(|_| busy.step());
        busy
    }

    fn come(&mut self) {
        self.came += 1;
        let own = if self.came.is_multiple_of(4) { 0 } else { self.came * PROMPT };
        let new = NewSequence {
            prompt: (0..PROMPT).map(|token| own + token).collect(),
            max_new_tokens: Some(NEW),
            priority: Priority::Normal,
            arrived: self.now,
            deadline: None,
            salt: CacheSalt::default(),
        };
        self.scheduler.submit(new).unwrap();
    }

    /// One step; for each that ends another comes.
    fn step(&mut self) {
        let step = self.scheduler.plan(self.now).unwrap();
        self.samples.clear();
        for _ in 0..step.samples() {
            self.tokens += 1;
            self.samples.push(Sample::Next(self.tokens));
        }
        if !step.rows.is_empty() {
            let progress = black_box(self.scheduler.done(black_box(&step), &self.samples).unwrap());
            progress.ended.iter().for_each(|_| self.come());
        }
    }

    fn stats(&self) -> Stats {
        self.scheduler.stats()
    }
}

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    let all = (PROMPT as usize + NEW).div_ceil(16);
    for (name, share) in [("decodes", 200), ("crowded", 60)] {
        for running in RUNNING.into_iter().filter(|running| share > 100 || *running > 1) {
            let mut busy = Busy::new(running, running * all * share / 100);
            group.bench_function(BenchmarkId::new(name, running), |bencher| bencher.iter(|| busy.step()));
            let stats = busy.stats();
            assert!(stats.totals.new_tokens > 0 && (share > 100 || stats.totals.preemptions > 0), "{stats:?}");
        }
    }
    group.finish();
}

criterion_group!(benches, steps);
criterion_main!(benches);
