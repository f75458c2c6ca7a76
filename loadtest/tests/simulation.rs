//! Lane and batch former in virtual time: random histories keep every promise, and known ones come out as they should.
//!
//! `WEIRGATE_SEED=N` plays one history, `WEIRGATE_SCALE=full` many more.

use std::time::Duration;

use weirgate_loadtest::sim::{Arrivals, Call, Scenario, Service, run};
use weirgate_protocol::Priority;
use weirgate_replicas_core::{BatchPolicy, CloseReason};
use weirgate_router::LaneLimits;
use weirgate_router::lane::HEAD_START;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn full_scale() -> bool {
    std::env::var("WEIRGATE_SCALE").is_ok_and(|scale| scale == "full")
}

/// Promises: each admitted call ends exactly once, the lane is bounded, no engine idles beside a call in time, the
/// first call in time leads each batch, late calls are never run, batches keep to their policy, and all of it drains.
#[test]
fn any_history_keeps_every_promise() {
    let seed = std::env::var("WEIRGATE_SEED").ok().map(|seed| seed.parse::<u64>().expect("WEIRGATE_SEED is a number"));
    let first = seed.unwrap_or_else(rand::random);
    let histories = match seed {
        Some(_) => 1,
        None if full_scale() => 200_000,
        None => 2_000,
    };
    println!("seeds from {first}");
    let (mut ran, mut fates, mut closed) = (0, [0; 4], [0; 4]);
    for history in 0..histories {
        let scenario = Scenario::random(first.wrapping_add(history));
        let summary = run(&scenario).unwrap_or_else(|violation| panic!("{violation}"));
        let ended = [summary.answered, summary.refused, summary.cancelled, summary.expired];
        assert_eq!(ended.iter().sum::<usize>(), scenario.calls.len(), "seed {}", scenario.seed);
        ran += summary.ran;
        fates = std::array::from_fn(|index| fates[index] + ended[index]);
        closed = std::array::from_fn(|index| closed[index] + summary.closed[index]);
    }
    let [answered, refused, cancelled, expired] = fates;
    println!("{histories} histories: {answered} answered, {refused} refused, {cancelled} cancelled, {expired} expired");
    println!("{ran} calls run in batches closed as {:?}: {closed:?}", CloseReason::ALL.map(CloseReason::label));
    // The histories reach what they are there for.
    assert!(histories == 1 || fates.iter().chain(&closed).all(|&count| count > 0));
}

#[test]
fn one_seed_gives_one_history() {
    for seed in 0..50 {
        let scenario = Scenario::random(seed);
        assert_eq!(run(&scenario).unwrap(), run(&scenario).unwrap(), "seed {seed}");
    }
}

#[test]
fn a_lone_caller_never_waits() {
    for seed in 0..20 {
        let lone = Arrivals::Closed { callers: 1, think: Duration::from_micros(seed * 100) };
        let summary = run(&Scenario::plain(seed, 200, lone)).unwrap();
        assert_eq!(summary.longest_wait(), Duration::ZERO);
        assert_eq!((summary.answered, summary.batches), (200, 200));
    }
}

/// Rates in multiples of what one engine does without batching, about 990 calls a second.
#[test]
fn batches_grow_with_load_and_by_themselves() {
    for seed in 0..10 {
        let mean_batch = |load: f64| {
            let arrivals = Arrivals::Poisson { per_second: 990.0 * load };
            run(&Scenario::plain(seed, 4_000, arrivals)).unwrap().mean_batch()
        };
        let means = [0.05, 0.5, 1.0, 3.0, 10.0].map(mean_batch);
        assert!(means.is_sorted(), "{means:?}");
        assert!(means[0] < 1.1 && means[4] > 8.0, "{means:?}");
    }
}

/// Twice of what full batches can do: calls are refused at the door, and those let in are answered at nearly full speed.
#[test]
fn overload_is_refused_at_the_door_and_the_engine_stays_busy() {
    let full_speed = 32.0 / (0.001 + 32.0 * 10e-6);
    for seed in 0..10 {
        let scenario = Scenario {
            limits: LaneLimits { max_calls: 256, max_bytes: 1 << 30 },
            ..Scenario::plain(seed, 20_000, Arrivals::Poisson { per_second: 2.0 * full_speed })
        };
        let summary = run(&scenario).unwrap();
        assert_eq!(summary.expired, 0);
        assert!(summary.refused > 8_000, "{}", summary.refused);
        let speed = summary.answered as f64 / summary.took.as_secs_f64();
        assert!(speed > 0.95 * full_speed, "{speed} of {full_speed}");
    }
}

/// Calls with deadlines under overload: who can't be in time hears so at once, and few of those let in come too late.
#[test]
fn who_is_let_in_is_mostly_in_time() {
    for seed in 0..10 {
        let mut scenario = Scenario::plain(seed, 20_000, Arrivals::Poisson { per_second: 50_000.0 });
        scenario.calls.iter_mut().for_each(|call| call.timeout = ms(20));
        let summary = run(&scenario).unwrap();
        assert!(summary.refused > 5_000, "{}", summary.refused);
        assert!(summary.expired * 20 < summary.answered, "{} expired, {} answered", summary.expired, summary.answered);
    }
}

/// One call in fifty has a shape of its own. Full batches of the common shape don't hold it back.
#[test]
fn a_rare_shape_does_not_starve() {
    for seed in 0..10 {
        let mut scenario = Scenario::plain(seed, 5_000, Arrivals::Closed { callers: 64, think: Duration::ZERO });
        scenario.calls.iter_mut().step_by(50).for_each(|call| call.shape = Some(1));
        let summary = run(&scenario).unwrap();
        assert_eq!(summary.answered, 5_000);
        // Everything that was there before a call, in batches of its own shape, is at most a few batches.
        assert!(summary.longest_wait() < ms(12), "{:?}", summary.longest_wait());
    }
}

/// Under overload urgent calls hardly wait, and the others still come through: none waits longer than the head starts and
/// the queue that was there when it came.
#[test]
fn urgent_calls_go_first_and_the_others_come_through() {
    for seed in 0..10 {
        let mut scenario = Scenario::plain(seed, 10_000, Arrivals::Closed { callers: 500, think: Duration::ZERO });
        scenario.policy.max_rows = 1;
        scenario.calls.iter_mut().for_each(|call| call.priority = Priority::Low);
        scenario.calls.iter_mut().step_by(4).for_each(|call| call.priority = Priority::High);
        let summary = run(&scenario).unwrap();
        assert_eq!(summary.answered, 10_000);
        let at_most = |wait| summary.waits.iter().filter(|waited| **waited <= wait).count();
        assert!(at_most(ms(5)) > 500, "{} calls hardly wait", at_most(ms(5)));
        assert!(summary.longest_wait() < 2 * HEAD_START + Duration::from_secs(4), "{:?}", summary.longest_wait());
    }
}

fn calls_at_once(calls: Vec<Call>, engines: usize, linger: Duration) -> Scenario {
    let size = calls.len();
    Scenario {
        calls,
        engines,
        policy: BatchPolicy { max_rows: 8, max_calls: usize::MAX, linger },
        service: Service { fixed: ms(5), per_byte: Duration::ZERO, noise: 0.0 },
        ..Scenario::plain(1, 1, Arrivals::Bursts { size, every: ms(1) })
    }
}

fn one_call() -> Call {
    Scenario::plain(0, 1, Arrivals::Closed { callers: 1, think: Duration::ZERO }).calls.remove(0)
}

/// The first call teaches the cost of a run, 5 ms. The second begins to wait for company for 100 ms, and the third, which
/// has 20 ms left, ends that: the batch starts when it must.
#[test]
fn an_engine_that_lingers_hears_of_a_tighter_deadline() {
    let reads = |reading| Call { reading: ms(reading), ..one_call() };
    let tight = Call { timeout: ms(131), ..reads(111) };
    let summary = run(&calls_at_once(vec![reads(0), reads(110), tight], 1, ms(100))).unwrap();
    assert_eq!((summary.answered, summary.batches), (3, 2));
    assert_eq!(summary.closed_for(CloseReason::Deadline), 1);
    assert!(summary.took < ms(131), "{:?}", summary.took);
}

/// Where nothing is known of the cost yet, a deadline sooner than the linger still leaves time to run.
#[test]
fn the_first_call_of_all_is_in_time_beside_a_long_linger() {
    let tight = Call { timeout: ms(20), ..one_call() };
    let summary = run(&calls_at_once(vec![tight], 1, ms(100))).unwrap();
    assert_eq!((summary.answered, summary.closed_for(CloseReason::Deadline)), (1, 1));
}

#[test]
fn what_a_full_batch_leaves_behind_goes_to_the_next_idle_engine() {
    let rows = |rows, reading| Call { rows, reading: ms(reading), ..one_call() };
    let summary = run(&calls_at_once(vec![rows(5, 0), rows(4, 1)], 2, ms(3))).unwrap();
    assert_eq!((summary.answered, summary.batches), (2, 2));
    // The second lingers for its own 3 ms beside the first one's run, not after it.
    assert!(summary.took < ms(10), "{:?}", summary.took);
}
