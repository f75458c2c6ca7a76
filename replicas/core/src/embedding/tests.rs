//! What the queue promises, by examples and over random histories.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use weirgate_protocol::{Error, ErrorCode, Priority};

use super::*;

const POLICY: EmbedPolicy = EmbedPolicy {
    sharing: Sharing::Padded,
    run_tokens: 100,
    run_texts: 8,
    call_texts: 64,
    waiting: 16,
    waiting_texts: 1_000,
    waiting_tokens: 10_000,
};

#[allow(clippy::disallowed_methods)]
fn start() -> Instant {
    Instant::now()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn call(lengths: &[usize], arrived: Instant) -> NewCall {
    NewCall { lengths: lengths.to_vec(), priority: Priority::Normal, arrived, deadline: None }
}

/// Call and index of each text of the next run.
fn texts(queue: &mut EmbedQueue, now: Instant) -> Vec<(u64, usize)> {
    let run = queue.plan(now).run;
    let texts = run.iter().flat_map(|run| &run.texts).map(|text| (text.call.0, text.index)).collect();
    run.inspect(|run| _ = queue.done(run, None));
    texts
}

#[test]
fn texts_of_several_calls_share_a_run_and_each_call_ends_once() {
    let now = start();
    let mut queue = EmbedQueue::new(POLICY);
    let ids: Vec<CallId> =
        [&[10, 10][..], &[10], &[10]].map(|lengths| queue.submit(call(lengths, now)).unwrap()).into();
    let run = queue.plan(now).run.unwrap();
    assert_eq!((run.texts.len(), run.tokens, run.computed), (4, 40, 40));
    assert_eq!(queue.plan(now), Plan::default(), "one run is under way");
    assert_eq!(queue.done(&run, Some(ms(1))), ids);
    assert!(queue.done(&run, None).is_empty() && queue.is_empty());
    assert_eq!(queue.counts(), EmbedCounts::default());
}

#[test]
fn the_nearest_in_length_join_as_far_as_the_budget_and_the_padding_allow() {
    let now = start();
    let mut queue = EmbedQueue::new(POLICY);
    queue.submit(call(&[20, 3, 19], now)).unwrap();
    queue.submit(call(&[21, 18, 4, 90], now)).unwrap();
    // Five texts of 21 would pass the budget of 100; those of 3 and 4 tokens would be padding mostly.
    assert_eq!(texts(&mut queue, now), [(0, 0), (0, 2), (1, 0), (1, 1)]);
    // The second call leads, with its longest.
    assert_eq!(texts(&mut queue, now + ms(1)), [(1, 3)]);
    assert_eq!(texts(&mut queue, now + ms(2)), [(0, 1)], "an eighth of padding is let in while costs aren't known");
    assert_eq!(texts(&mut queue, now + ms(3)), [(1, 2)]);
    assert!(queue.is_empty());
    // A text alone may have more than the budget.
    queue.submit(call(&[300], now)).unwrap();
    assert_eq!(texts(&mut queue, now), [(2, 0)]);
}

#[test]
fn without_padding_all_lengths_share_and_without_a_mask_only_equal_ones() {
    let now = start();
    let run = |sharing: Sharing| {
        let mut queue = EmbedQueue::new(EmbedPolicy { sharing, ..POLICY });
        queue.submit(call(&[50, 1, 30, 1], now)).unwrap();
        let first = texts(&mut queue, now);
        (first, texts(&mut queue, now))
    };
    assert_eq!(run(Sharing::Ragged), (vec![(0, 0), (0, 2), (0, 1), (0, 3)], vec![]));
    assert_eq!(run(Sharing::OneLength), (vec![(0, 0)], vec![(0, 2)]));
    let mut queue = EmbedQueue::new(EmbedPolicy { sharing: Sharing::OneLength, ..POLICY });
    queue.submit(call(&[7, 8, 7], now)).unwrap();
    queue.submit(call(&[8], now)).unwrap();
    assert_eq!(texts(&mut queue, now), [(0, 1), (1, 0)]);
    assert_eq!(texts(&mut queue, now), [(0, 0), (0, 2)]);
}

#[test]
fn padding_is_let_in_where_it_costs_less_than_a_run() {
    let now = start();
    let mut queue = EmbedQueue::new(POLICY);
    let mut learn = |tokens: usize, took: Duration| {
        queue.submit(call(&[tokens], now)).unwrap();
        let run = queue.plan(now).run.unwrap();
        queue.done(&run, Some(took));
    };
    // A run costs 10 ms, and 1 ms for each token.
    learn(10, ms(20));
    learn(20, ms(30));
    queue.submit(call(&[20, 11, 9], now)).unwrap();
    assert_eq!(texts(&mut queue, now), [(2, 0), (2, 1)]);
    assert_eq!(texts(&mut queue, now), [(2, 2)], "eleven of padding would cost more than a run");
}

#[test]
fn a_small_call_leads_after_one_run_of_a_large_one() {
    let now = start();
    let mut queue = EmbedQueue::new(POLICY);
    queue.submit(call(&[50; 64], now)).unwrap();
    assert_eq!(texts(&mut queue, now), [(0, 0), (0, 1)]);
    queue.submit(call(&[5], now)).unwrap();
    queue.submit(call(&[9], now)).unwrap();
    assert_eq!(texts(&mut queue, now + ms(1)), [(1, 0)]);
    assert_eq!(texts(&mut queue, now + ms(2)), [(2, 0)]);
    assert_eq!(texts(&mut queue, now + ms(3)), [(0, 2), (0, 3)]);
}

#[test]
fn a_higher_class_goes_first_and_a_lower_one_is_not_forgotten() {
    let now = start();
    let mut queue = EmbedQueue::new(EmbedPolicy { run_texts: 1, ..POLICY });
    for (priority, arrived) in [(Priority::Low, 0), (Priority::Normal, 1), (Priority::High, 2)] {
        queue.submit(NewCall { priority, ..call(&[5], now + ms(arrived)) }).unwrap();
    }
    queue.submit(NewCall { priority: Priority::High, ..call(&[5], now + Duration::from_secs(21)) }).unwrap();
    let order: Vec<u64> = (0..4).map(|_| texts(&mut queue, now)[0].0).collect();
    assert_eq!(order, [2, 1, 0, 3]);
}

#[test]
fn late_and_removed_calls_give_back_what_they_held() {
    let now = start();
    let mut queue = EmbedQueue::new(POLICY);
    let late = queue.submit(NewCall { deadline: Some(now + ms(5)), ..call(&[50; 4], now) }).unwrap();
    let other = queue.submit(call(&[60], now)).unwrap();
    assert_eq!(queue.next_deadline(), Some(now + ms(5)));
    let run = queue.plan(now).run.unwrap();
    assert_eq!(run.texts.len(), 2);
    // Half of the call is under way when its time is up.
    assert_eq!(queue.plan(now + ms(5)).expired, [late]);
    assert!(!queue.has(late) && queue.done(&run, None).is_empty());
    assert_eq!((queue.counts(), queue.next_deadline()), (EmbedCounts { calls: 1, texts: 1, tokens: 60 }, None));
    assert!(queue.remove(other) && !queue.remove(other) && queue.is_empty());
    assert_eq!(queue.plan(now), Plan::default());
}

#[test]
fn a_run_stops_growing_where_a_call_would_be_late() {
    let now = start();
    let mut queue = EmbedQueue::new(EmbedPolicy { sharing: Sharing::Ragged, ..POLICY });
    queue.submit(call(&[10], now)).unwrap();
    let run = queue.plan(now).run.unwrap();
    queue.done(&run, Some(ms(10)));
    queue.submit(NewCall { deadline: Some(now + ms(25)), ..call(&[10], now) }).unwrap();
    queue.submit(call(&[10, 10, 10], now)).unwrap();
    assert_eq!(texts(&mut queue, now), [(1, 0), (2, 0)]);
}

#[test]
fn what_is_refused_says_why() {
    let now = start();
    let mut queue = EmbedQueue::new(EmbedPolicy { waiting: 2, waiting_tokens: 10, call_texts: 3, ..POLICY });
    let refuse = |queue: &mut EmbedQueue, lengths: &[usize]| -> (ErrorCode, String) {
        let error: Error = queue.submit(call(lengths, now)).unwrap_err().into();
        (error.code(), error.message().to_owned())
    };
    let invalid = |text: &str| (ErrorCode::InvalidRequest, text.to_owned());
    assert_eq!(refuse(&mut queue, &[]), invalid("there are no texts to embed; send at least 1"));
    assert_eq!(refuse(&mut queue, &[1, 0]), invalid("text 1 has no tokens; it needs at least 1"));
    assert_eq!(
        refuse(&mut queue, &[1; 4]),
        invalid("there are 4 texts, and a call may have 3; send them in several calls")
    );
    queue.submit(call(&[8], now)).unwrap();
    let full = "the texts that wait have 8 tokens, and 3 more would pass the limit of 10; try again later";
    assert_eq!(refuse(&mut queue, &[3]), (ErrorCode::QueueFull, full.to_owned()));
    queue.submit(call(&[2], now)).unwrap();
    let full = "2 calls wait already, which is the limit; try again later";
    assert_eq!(refuse(&mut queue, &[1]), (ErrorCode::QueueFull, full.to_owned()));
    let mut many = EmbedQueue::new(EmbedPolicy { waiting_texts: 2, ..POLICY });
    many.submit(call(&[1; 3], now)).unwrap();
    let full = "3 texts wait already, and 1 more would pass the limit of 2; try again later";
    assert_eq!(refuse(&mut many, &[1]), (ErrorCode::QueueFull, full.to_owned()));
    let mut alone = EmbedQueue::new(EmbedPolicy { waiting_tokens: 10, ..POLICY });
    assert!(alone.submit(call(&[11], now)).is_ok(), "one alone is always let in");
}

#[derive(Clone, Debug)]
enum Event {
    Submit {
        lengths: Vec<usize>,
        priority: Priority,
        deadline: Option<u64>,
    },
    Remove(usize),
    /// A run, which takes so long, and while which a call is removed.
    Run {
        took: u64,
        remove: Option<usize>,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let lengths = prop::collection::vec(prop_oneof![3 => 1usize..12, 1 => 1usize..150], 0..20);
    prop_oneof![
        3 => (lengths, prop::sample::select(&Priority::ALL[..]), prop::option::weighted(0.2, 1u64..80))
            .prop_map(|(lengths, priority, deadline)| Event::Submit { lengths, priority, deadline }),
        1 => (0usize..16).prop_map(Event::Remove),
        4 => (0u64..20, prop::option::weighted(0.2, 0usize..16)).prop_map(|(took, remove)| Event::Run { took, remove }),
    ]
}

proptest! {
    /// Every text of a call that stays is computed once, runs keep their bounds, late calls are never computed, and nobody
    /// leads twice before another that waited has led.
    #[test]
    fn histories_are_sound(
        events in prop::collection::vec(event(), 1..60),
        sharing in prop::sample::select(vec![Sharing::Ragged, Sharing::Padded, Sharing::OneLength]),
    ) {
        let policy = EmbedPolicy { sharing, call_texts: 16, waiting_texts: 60, ..POLICY };
        let mut queue = EmbedQueue::new(policy);
        let mut now = start();
        // Texts that are left of each call, and its deadline.
        let mut left: HashMap<CallId, (HashMap<usize, usize>, Option<Instant>)> = HashMap::new();
        // Calls that waited while another of their class led.
        let mut passed: HashMap<CallId, HashSet<CallId>> = HashMap::new();
        let mut classes: HashMap<CallId, Priority> = HashMap::new();
        // How many texts each call had.
        let mut brought: HashMap<CallId, usize> = HashMap::new();
        let drain = std::iter::repeat_n(Event::Run { took: 1, remove: None }, 400);
        for event in events.into_iter().chain(drain) {
            let held: usize = left.values().flat_map(|(texts, _)| texts.values()).sum();
            prop_assert_eq!(queue.counts(), EmbedCounts { calls: left.len(), texts: left.keys().map(|id| brought[id]).sum(), tokens: held });
            match event {
                Event::Submit { lengths, priority, deadline } => {
                    let deadline = deadline.map(|deadline| now + ms(deadline));
                    let texts = lengths.iter().copied().enumerate().collect();
                    let sound = !lengths.is_empty() && lengths.len() <= 16;
                    let texts_of_all = left.keys().map(|id| brought[id]).sum::<usize>() + lengths.len();
                    let full = left.len() >= policy.waiting || (!left.is_empty() && texts_of_all > policy.waiting_texts);
                    let count = lengths.len();
                    let result = queue.submit(NewCall { lengths, priority, arrived: now, deadline });
                    prop_assert_eq!(result.is_ok(), sound && !full);
                    if let Ok(id) = result {
                        left.insert(id, (texts, deadline));
                        classes.insert(id, priority);
                        brought.insert(id, count);
                    }
                }
                Event::Remove(at) => {
                    if let Some(id) = left.keys().nth(at).copied() {
                        prop_assert!(queue.remove(id));
                        left.remove(&id);
                    }
                }
                Event::Run { took, remove } => {
                    let plan = queue.plan(now);
                    for id in &plan.expired {
                        let (_, deadline) = left.remove(id).unwrap();
                        prop_assert!(deadline.unwrap() <= now);
                    }
                    prop_assert!(left.values().all(|(_, deadline)| deadline.is_none_or(|deadline| deadline > now)));
                    let waits = !left.is_empty();
                    prop_assert_eq!(plan.run.is_some(), waits);
                    let Some(run) = plan.run else { continue };
                    let lead = run.texts[0].call;
                    let longest = run.texts.iter().map(|text| text.tokens).max().unwrap();
                    let tokens: usize = run.texts.iter().map(|text| text.tokens).sum();
                    let computed = if sharing == Sharing::Ragged { tokens } else { longest * run.texts.len() };
                    prop_assert_eq!((run.tokens, run.computed), (tokens, computed));
                    prop_assert!(run.texts.len() == 1 || computed <= policy.run_tokens);
                    prop_assert!(run.texts.len() <= policy.run_texts && computed <= 2 * tokens);
                    prop_assert!(sharing != Sharing::OneLength || run.texts.iter().all(|text| text.tokens == longest));
                    for text in &run.texts {
                        prop_assert_eq!(left.get_mut(&text.call).unwrap().0.remove(&text.index), Some(text.tokens));
                    }
                    if let Some(others) = passed.get_mut(&lead) {
                        others.retain(|id| left.contains_key(id) && !left[id].0.is_empty() && classes[id] == classes[&lead]);
                        prop_assert!(others.is_empty(), "{:?} led twice before {:?}", lead, others);
                    }
                    passed.values_mut().for_each(|others| _ = others.remove(&lead));
                    let waiting = left.iter().filter(|(id, (texts, _))| **id != lead && !texts.is_empty());
                    passed.insert(lead, waiting.map(|(id, _)| *id).collect());
                    if let Some(id) = remove.and_then(|at| left.keys().nth(at).copied()) {
                        prop_assert!(queue.remove(id));
                        left.remove(&id);
                    }
                    // Time goes on, so that who has led comes after who waits.
                    now += ms(took + 1);
                    let complete: HashSet<CallId> = queue.done(&run, (took > 0).then(|| ms(took))).into_iter().collect();
                    let ended: HashSet<CallId> = run.texts.iter().map(|text| text.call)
                        .filter(|id| left.get(id).is_some_and(|(texts, _)| texts.is_empty())).collect();
                    prop_assert_eq!(&complete, &ended);
                    left.retain(|id, _| !ended.contains(id));
                }
            }
        }
        prop_assert!(queue.is_empty() && left.is_empty(), "all that stayed was computed");
    }
}
