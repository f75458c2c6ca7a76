//! Where calls go when a server misbehaves, beside turns: in virtual time, with servers that are a rule each.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use weirgate_router::pool::{BreakerConfig, EjectionConfig, Era, Outcome, Pick, Pool, PoolConfig, Wish};

/// What a server does with a call.
#[derive(Clone, Copy)]
enum Server {
    /// Answers after so many milliseconds, however many it runs.
    Answers(u64),
    /// Fails after a millisecond so many calls of ten; the others are answered after so many milliseconds.
    Fails { of_ten: u64, answers: u64 },
    /// Refuses all as overloaded after a millisecond.
    Refuses,
}

impl Server {
    fn end(self, call: u64) -> (Duration, Outcome) {
        let (ms, outcome) = match self {
            Server::Answers(ms) => (ms, Outcome::Answered),
            // Not in turn with anything else.
            Server::Fails { of_ten, .. } if call.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32 & 0xffff < of_ten * 6554 => {
                (1, Outcome::Failed)
            }
            Server::Fails { answers, .. } => (answers, Outcome::Answered),
            Server::Refuses => (1, Outcome::Overloaded { retry_after: None }),
        };
        (Duration::from_millis(ms), outcome)
    }
}

/// Who picks.
enum Picker {
    Turns(usize),
    /// The fewest running calls, the first of equals: it knows no failures.
    Fewest(Vec<usize>),
    Pool(Box<Pool>),
}

impl Picker {
    fn pool(config: PoolConfig, servers: usize, now: Instant) -> Picker {
        let mut pool = Pool::new(config, 3);
        (0..servers as u64).for_each(|member| pool.join(member, 1_000, now));
        Picker::Pool(Box::new(pool))
    }

    fn pick(&mut self, servers: usize, now: Instant) -> Option<(usize, Era)> {
        match self {
            Picker::Turns(next) => {
                *next = (*next + 1) % servers;
                Some((*next, Era::default()))
            }
            Picker::Fewest(running) => {
                let fewest = (0..servers).min_by_key(|&server| running[server])?;
                running[fewest] += 1;
                Some((fewest, Era::default()))
            }
            Picker::Pool(pool) => match pool.pick(&Wish::default(), now) {
                Pick::Taken { member, era, .. } => Some((member as usize, era)),
                Pick::None { .. } => None,
            },
        }
    }

    fn done(&mut self, server: usize, era: Era, outcome: Outcome, took: Duration, now: Instant) {
        match self {
            Picker::Turns(_) => {}
            Picker::Fewest(running) => running[server] -= 1,
            Picker::Pool(pool) => pool.done(server as u64, era, outcome, took, now),
        }
    }
}

/// The part of 20,000 calls that each server gets, of 1,000 a second.
fn shares(servers: &[Server], mut picker: Picker, start: Instant) -> Vec<f64> {
    const CALLS: u64 = 20_000;
    let mut counts = vec![0u64; servers.len()];
    let mut eras = vec![Era::default(); CALLS as usize];
    let mut ends: BinaryHeap<Reverse<(Instant, u64, usize)>> = BinaryHeap::new();
    for call in 0..CALLS {
        let now = start + Duration::from_millis(call);
        while let Some(&Reverse((at, ended, server))) = ends.peek()
            && at <= now
        {
            ends.pop();
            let (took, outcome) = servers[server].end(ended);
            picker.done(server, eras[ended as usize], outcome, took, at);
        }
        if let Some((server, era)) = picker.pick(servers.len(), now) {
            eras[call as usize] = era;
            counts[server] += 1;
            ends.push(Reverse((now + servers[server].end(call).0, call, server)));
        }
    }
    counts.into_iter().map(|count| count as f64 / CALLS as f64).collect()
}

/// Neither breaker nor ejection: what balancing alone does.
fn balance_alone() -> PoolConfig {
    PoolConfig {
        breaker: BreakerConfig { consecutive: u32::MAX, min_calls: u32::MAX, ..BreakerConfig::default() },
        ejection: EjectionConfig { max_share: 0.0, ..EjectionConfig::default() },
        ..PoolConfig::default()
    }
}

/// The share of the first server, by turns, by fewest calls, by balance alone and with everything.
fn first(servers: &[Server]) -> [f64; 4] {
    let (count, now) = (servers.len(), Instant::now());
    let pickers = [
        Picker::Turns(0),
        Picker::Fewest(vec![0; count]),
        Picker::pool(balance_alone(), count, now),
        Picker::pool(PoolConfig::default(), count, now),
    ];
    let first = pickers.map(|picker| shares(servers, picker, now)[0]);
    println!("turns, fewest, balance, everything: {first:.4?}");
    first
}

#[test]
fn who_fails_at_once_attracts_no_calls() {
    for count in [2, 4, 20] {
        let mut servers = vec![Server::Answers(20); count];
        servers[0] = Server::Fails { of_ten: 10, answers: 0 };
        let [turns, fewest, balance, all] = first(&servers);
        assert!(fewest > 1.5 * turns, "the trap is not there: {fewest}");
        assert!(balance < turns / 10.0 && all < turns / 20.0, "{balance} and {all}, by turns {turns}");
    }
}

#[test]
fn who_refuses_all_as_overloaded_attracts_no_calls() {
    for count in [4, 20] {
        let mut servers = vec![Server::Answers(20); count];
        servers[0] = Server::Refuses;
        let [turns, _, balance, all] = first(&servers);
        assert!(balance < turns / 10.0 && all < turns / 10.0, "{balance} and {all}, by turns {turns}");
    }
}

#[test]
fn who_fails_now_and_then_gets_less() {
    for count in [4, 20] {
        let mut servers = vec![Server::Answers(20); count];
        servers[0] = Server::Fails { of_ten: 4, answers: 20 };
        let [turns, fewest, balance, all] = first(&servers);
        assert!(fewest > turns && balance < turns / 4.0 && all < turns / 4.0, "{balance} and {all}, by turns {turns}");
    }
}

#[test]
fn who_is_slow_gets_about_as_much_as_it_does() {
    for count in [4, 20] {
        let mut servers = vec![Server::Answers(20); count];
        servers[0] = Server::Answers(180);
        let [turns, fewest, balance, _] = first(&servers);
        assert!(fewest < turns && balance < fewest, "{balance}, by fewest {fewest}");
        // It is asked now and then all the same, else nobody would learn that it has recovered.
        assert!(balance > 0.0005 && balance < turns / 3.0, "{balance}, by turns {turns}");
    }
}

#[test]
fn equals_get_equal_shares() {
    for count in [2, 10, 30] {
        let now = Instant::now();
        let shares = shares(&vec![Server::Answers(20); count], Picker::pool(PoolConfig::default(), count, now), now);
        let even = 1.0 / count as f64;
        assert!(shares.iter().all(|share| (share / even - 1.0).abs() < 0.25), "{shares:.4?}");
    }
}
