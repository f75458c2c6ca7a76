//! Random histories: arrivals, departures, failures and too few blocks, with all that must hold checked at every step.
//!
//! `WEIRGATE_SEED=N` repeats a run's choices, `WEIRGATE_SCALE=full` makes it long.

use std::hash::{BuildHasher, RandomState};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use weirgate_protocol::Priority;

use super::super::{CacheSalt, Departure, Leave, NewSequence, SequenceId, TokenPolicy};
use super::memory::VOCABULARY;
use super::world::{POLICY, STEP, Stop, World};

#[derive(Clone, Debug)]
enum Event {
    Submit(Call),
    /// Someone leaves; which one is a number among those that live.
    Leave(usize, Leave),
    Steps(usize),
    /// A step, while which some leave, and which may fail.
    Disturbed {
        leave: Vec<usize>,
        fails: bool,
    },
    Deadline(usize, Option<u32>),
}

#[derive(Clone, Debug)]
struct Call {
    /// What prompts begin with: one of a few texts, as far as this.
    stem: (u32, usize),
    tail: Vec<u32>,
    /// Begins with all of an earlier sequence, as the next turn of a conversation does.
    follows: Option<usize>,
    max_new: Option<usize>,
    /// Whether it asks for no more than there can be.
    fits: bool,
    priority: Priority,
    salt: u8,
    deadline: Option<u32>,
    waited: u32,
    stops: Option<(usize, Stop)>,
}

fn leave() -> impl Strategy<Value = Leave> {
    prop::sample::select(vec![Leave::Stopped, Leave::Cancelled, Leave::Failed])
}

fn call() -> impl Strategy<Value = Call> {
    let stop = prop_oneof![Just(Stop::Last), leave().prop_map(Stop::End)];
    (
        (0u32..3, prop_oneof![2 => 0usize..5, 1 => 0usize..30]),
        prop::collection::vec(0..VOCABULARY, 0..12),
        prop::option::weighted(0.3, 0usize..8),
        (prop::option::weighted(0.9, prop_oneof![1usize..8, 8usize..60]), prop::bool::weighted(0.95)),
        prop::sample::select(&Priority::ALL[..]),
        prop::sample::select(vec![0u8, 0, 0, 1]),
        prop::option::weighted(0.15, 0u32..80),
        0u32..30,
        prop::option::weighted(0.2, (0usize..12, stop)),
    )
        .prop_map(|(stem, tail, follows, (max_new, fits), priority, salt, deadline, waited, stops)| Call {
            stem,
            tail,
            follows,
            max_new,
            fits,
            priority,
            salt,
            deadline,
            waited,
            stops,
        })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => call().prop_map(Event::Submit),
        1 => (0usize..100, leave()).prop_map(|(who, leave)| Event::Leave(who, leave)),
        4 => (1usize..8).prop_map(Event::Steps),
        1 => (prop::collection::vec(0usize..100, 0..3), prop::bool::weighted(0.3))
            .prop_map(|(leave, fails)| Event::Disturbed { leave, fails }),
        1 => (0usize..100, prop::option::of(0u32..40)).prop_map(|(who, when)| Event::Deadline(who, when)),
    ]
}

fn policy() -> impl Strategy<Value = TokenPolicy> {
    (
        (1usize..7, 4usize..24, 0usize..26, 0usize..4),
        (2usize..40, 1usize..20),
        (1usize..10, 1usize..20, 8usize..200),
        prop_oneof![1 => 8usize..60, 2 => 60usize..120],
        any::<bool>(),
    )
        .prop_map(|(blocks, step, sequences, context, reuse_decoded)| TokenPolicy {
            context,
            block_tokens: blocks.0,
            blocks: blocks.1,
            cached_blocks: blocks.2,
            reserve_blocks: blocks.3,
            step_tokens: step.0,
            prefill_tokens: step.1.min(step.0 - 1),
            running: sequences.0,
            waiting: sequences.1,
            waiting_tokens: sequences.2,
            reuse_decoded,
        })
}

/// What histories reach; they are there for it.
#[derive(Debug, Default)]
struct Reached {
    refused: usize,
    ended: std::collections::BTreeMap<&'static str, usize>,
    preemptions: u64,
    recomputed: u64,
    hits: u64,
    evicted: u64,
    steps: u64,
}

fn play(policy: TokenPolicy, events: Vec<Event>, reached: &mut Reached) {
    let mut world = World::new(policy);
    // Each has a stem that goes on as far as any prompt does.
    let stems: Vec<Vec<u32>> =
        (0..3u32).map(|stem| (0..30u32).map(|n| (n * n + stem) % VOCABULARY).collect()).collect();
    for event in events {
        match event {
            Event::Submit(call) => submit(&mut world, &stems, call, reached),
            Event::Leave(who, leave) => {
                if let Some(id) = living(&world, who) {
                    assert!(matches!(world.leave(id, leave), Departure::Gone(_)), "no step is under way");
                    assert_eq!(world.leave(id, leave), Departure::Unknown);
                }
            }
            Event::Steps(steps) => (0..steps).for_each(|_| drop(world.step())),
            Event::Disturbed { leave, fails } => drop(world.step_and(|world, step| {
                for who in leave {
                    let Some(id) = living(world, who) else { continue };
                    let in_step = step.rows.iter().any(|row| row.sequence == id);
                    let departure = world.leave(id, Leave::Cancelled);
                    assert_eq!(departure == Departure::AfterStep, in_step, "{departure:?}");
                }
                assert!(world.scheduler.plan(world.now).is_err(), "one step at a time");
                !fails
            })),
            Event::Deadline(who, when) => {
                if let Some(id) = living(&world, who) {
                    let deadline = when.map(|steps| world.now + STEP * steps);
                    world.scheduler.set_deadline(id, deadline);
                    world.live.get_mut(&id).unwrap().deadline = deadline;
                }
            }
        }
    }
    world.drain();
    let totals = world.scheduler.stats().totals;
    for (ended, _) in world.ended.values() {
        *reached.ended.entry(ended.reason.label()).or_default() += 1;
    }
    reached.preemptions += totals.preemptions;
    reached.recomputed += totals.recomputed_tokens;
    reached.hits += totals.prompt_hit_tokens;
    reached.evicted += totals.evicted_blocks;
    reached.steps += world.scheduler.steps;
}

fn living(world: &World, who: usize) -> Option<SequenceId> {
    let index = who.checked_rem(world.live.len())?;
    world.live.keys().nth(index).copied()
}

fn submit(world: &mut World, stems: &[Vec<u32>], call: Call, reached: &mut Reached) {
    let (stem, length) = call.stem;
    let mut prompt = match call.follows.and_then(|index| world.ended.values().nth_back(index)) {
        Some((_, tokens)) => tokens.clone(),
        None => stems[stem as usize][..length].to_vec(),
    };
    prompt.extend(call.tail);
    let mut max_new_tokens = call.max_new;
    if call.fits {
        let policy = world.scheduler.policy();
        let most = policy.context.min(policy.blocks * policy.block_tokens);
        prompt.resize(prompt.len().clamp(1, most - 1), 0);
        max_new_tokens = max_new_tokens.map(|max_new| max_new.min(most - prompt.len()));
    }
    let new = NewSequence {
        prompt,
        max_new_tokens,
        priority: call.priority,
        arrived: world.now.checked_sub(STEP * call.waited).unwrap_or(world.now),
        deadline: call.deadline.map(|steps| world.now + STEP * steps),
        salt: CacheSalt([call.salt; 32]),
    };
    match world.submit(new) {
        Ok(id) => world.live.get_mut(&id).unwrap().stops = call.stops,
        Err(_) => reached.refused += 1,
    }
}

#[test]
fn any_history_keeps_every_promise() {
    let seed = std::env::var("WEIRGATE_SEED").ok().map(|seed| seed.parse::<u64>().expect("WEIRGATE_SEED is a number"));
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    let full = std::env::var("WEIRGATE_SCALE").is_ok_and(|scale| scale == "full");
    println!("WEIRGATE_SEED={seed}");
    let bytes: Vec<u8> = (0..4u64).flat_map(|word| seed.wrapping_add(word).to_le_bytes()).collect();
    let config = Config { cases: if full { 100_000 } else { 500 }, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let reached = std::cell::RefCell::new(Reached::default());
    let histories = (policy(), prop::collection::vec(event(), 0..80));
    let result = runner.run(&histories, |(policy, events)| {
        play(policy, events, &mut reached.borrow_mut());
        Ok(())
    });
    if let Err(error) = result {
        panic!("WEIRGATE_SEED={seed}: {error}");
    }
    let reached = reached.into_inner();
    println!("{reached:?}");
    // The histories reach what they are there for.
    assert_eq!(reached.ended.len(), super::super::EndReason::ALL.len(), "{reached:?}");
    assert!([reached.refused as u64, reached.preemptions, reached.recomputed].iter().all(|&count| count > 0));
    assert!([reached.hits, reached.evicted].iter().all(|&count| count > 0));
}

/// The policy of the rules, under more load than it has blocks for.
#[test]
fn answers_are_the_same_whatever_runs_beside_them() {
    for blocks in [9, 10, 12, 16, 64] {
        let mut world = World::new(TokenPolicy { blocks, context: 36, ..POLICY });
        for index in 0..40u32 {
            world.enter(index % VOCABULARY, 1 + index as usize % 11, 24);
            world.step();
        }
        world.drain();
        // `World` holds each token against the one that the sequence has alone; here, that pre-emption came in between.
        let preempted = world.ended.values().filter(|(ended, _)| ended.preemptions > 0).count();
        assert_eq!(preempted > 0, blocks < 64, "{preempted} with {blocks} blocks");
        assert!(world.ended.values().all(|(ended, _)| ended.new_tokens == 24));
    }
}
