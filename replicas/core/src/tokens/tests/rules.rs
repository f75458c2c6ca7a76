//! Each rule by its name.

use weirgate_protocol::Priority;

use super::super::{
    CacheSalt, Departure, EndReason, Leave, NewSequence, Phase, Refusal, Sample, SequenceId, Step, StepError,
    TokenPolicy,
};
use super::world::{POLICY, STEP, Stop, World};

/// Who has how many tokens of which phase in a step.
fn rows(step: &Step) -> Vec<(SequenceId, Phase, usize)> {
    step.rows.iter().map(|row| (row.sequence, row.phase, row.positions.len())).collect()
}

use Phase::{Decode, Prefill};

#[test]
fn a_prompt_is_computed_in_chunks_that_end_with_a_block_and_then_token_by_token() {
    let mut world = World::new(TokenPolicy { step_tokens: 10, ..POLICY });
    let a = world.enter(1, 21, 3);
    let step = world.step();
    assert_eq!((rows(&step), step.samples()), (vec![(a, Prefill, 8)], 0));
    assert_eq!(step.admitted, [a]);
    assert_eq!(rows(&world.step()), [(a, Prefill, 8)]);
    let step = world.step();
    assert_eq!((rows(&step), step.samples()), (vec![(a, Prefill, 5)], 1));
    assert_eq!(rows(&world.step()), [(a, Decode, 1)]);
    assert_eq!(rows(&world.step()), [(a, Decode, 1)]);
    assert_eq!(world.end_of(a).reason, EndReason::MaxNewTokens);
    assert!(world.step().rows.is_empty());
    world.drain();
}

#[test]
fn a_prompt_of_one_token_is_a_prefill() {
    let mut world = World::new(POLICY);
    let a = world.enter(1, 1, 2);
    assert_eq!(rows(&world.step()), [(a, Prefill, 1)]);
    assert_eq!(rows(&world.step()), [(a, Decode, 1)]);
}

#[test]
fn decodes_come_first_and_leave_prompts_their_share() {
    let mut world = World::new(TokenPolicy { blocks: 64, step_tokens: 10, prefill_tokens: 8, ..POLICY });
    let short: Vec<_> = (0..4).map(|token| world.enter(token, 1, 20)).collect();
    world.step();
    let step = world.step();
    assert_eq!(rows(&step), short.iter().map(|&id| (id, Decode, 1)).collect::<Vec<_>>(), "nothing to share with");
    let long = world.enter(4, 40, 1);
    assert_eq!(rows(&world.step()), [(short[0], Decode, 1), (short[1], Decode, 1), (long, Prefill, 8)]);
    // Those that were left out are next.
    assert_eq!(rows(&world.step()), [(short[2], Decode, 1), (short[3], Decode, 1), (long, Prefill, 8)]);
    assert_eq!(rows(&world.step()), [(short[0], Decode, 1), (short[1], Decode, 1), (long, Prefill, 8)]);
    world.drain();
}

#[test]
fn one_prompt_after_the_other_is_finished() {
    let mut world = World::new(POLICY);
    let (a, b) = (world.enter(1, 22, 1), world.enter(2, 22, 1));
    assert_eq!(rows(&world.step()), [(a, Prefill, 16)]);
    assert_eq!(rows(&world.step()), [(a, Prefill, 6), (b, Prefill, 8)], "aligned to a block");
    assert_eq!(rows(&world.step()), [(b, Prefill, 14)]);
}

#[test]
fn what_the_end_of_a_block_leaves_of_a_step_is_for_nobody_else() {
    let mut world = World::new(TokenPolicy { step_tokens: 10, ..POLICY });
    let (a, b) = (world.enter(1, 21, 1), world.enter(1, 21, 1));
    assert_eq!(rows(&world.step()), [(a, Prefill, 8)]);
    assert_eq!(rows(&world.step()), [(a, Prefill, 8)]);
    assert_eq!(rows(&world.step()), [(a, Prefill, 5), (b, Prefill, 5)]);
    world.drain();
    assert_eq!(world.end_of(b).cached_tokens, 16, "the first was through before it began");
}

#[test]
fn equal_starts_share_blocks_and_are_computed_once() {
    let mut world = World::new(POLICY);
    let a = world.enter(1, 10, 8);
    world.step();
    let b = world.enter(1, 13, 2);
    let step = world.step();
    assert_eq!(rows(&step), [(a, Decode, 1), (b, Prefill, 5)]);
    assert_eq!(step.rows[0].blocks[..2], step.rows[1].blocks[..2]);
    assert_ne!(step.rows[0].blocks[2], step.rows[1].blocks[2], "a block that is not full is not shared");
    world.drain();
    assert_eq!((world.end_of(a).cached_tokens, world.end_of(b).cached_tokens), (0, 8));
    let totals = world.scheduler.stats().totals;
    assert_eq!((totals.prompt_tokens, totals.prompt_hit_tokens, totals.new_tokens), (23, 8, 10));
}

#[test]
fn a_prompt_that_is_wholly_cached_computes_its_last_block() {
    let mut world = World::new(POLICY);
    world.enter(1, 12, 1);
    world.drain();
    let again = world.enter(1, 12, 1);
    assert_eq!(rows(&world.step()), [(again, Prefill, 4)]);
    assert_eq!(world.end_of(again).cached_tokens, 8);
}

#[test]
fn equal_blocks_that_are_computed_at_once_become_one() {
    let mut world = World::new(POLICY);
    world.enter(1, 8, 4);
    world.enter(1, 8, 4);
    let step = world.step();
    assert_ne!(step.rows[0].blocks, step.rows[1].blocks);
    let step = world.step();
    assert_eq!(step.rows[0].blocks[..2], step.rows[1].blocks[..2]);
    assert_eq!(world.scheduler.stats().used_blocks, 4);
    world.drain();
}

#[test]
fn what_another_computes_meanwhile_is_not_computed_again() {
    let mut world = World::new(TokenPolicy { step_tokens: 24, ..POLICY });
    let (a, b) = (world.enter(1, 16, 1), world.enter(1, 20, 1));
    assert_eq!(rows(&world.step()), [(a, Prefill, 16), (b, Prefill, 8)]);
    assert_eq!(rows(&world.step()), [(b, Prefill, 4)]);
    assert_eq!(world.end_of(b).cached_tokens, 8);
    assert_eq!(world.scheduler.stats().totals.prompt_hit_tokens, 8);
    world.drain();
}

#[test]
fn another_salt_shares_nothing() {
    let mut world = World::new(POLICY);
    world.enter(1, 12, 1);
    world.drain();
    let other = NewSequence { salt: CacheSalt([1; 32]), ..world.new_sequence(&[1; 12], 1) };
    let other = world.submit(other).unwrap();
    assert_eq!(rows(&world.step()), [(other, Prefill, 12)]);
}

#[test]
fn an_answer_in_the_next_prompt_is_found_where_phases_do_not_matter() {
    for reuse_decoded in [false, true] {
        let mut world = World::new(TokenPolicy { reuse_decoded, ..POLICY });
        let first = world.enter(1, 8, 9);
        world.drain();
        // 8 tokens were computed as prefill, 8 as decodes; the last was never computed.
        let (_, mut conversation) = world.ended[&first].clone();
        conversation.push(0);
        let next = world.submit(world.new_sequence(&conversation, 1)).unwrap();
        world.drain();
        assert_eq!(world.end_of(next).cached_tokens, if reuse_decoded { 16 } else { 8 });
    }
}

#[test]
fn the_cache_keeps_to_its_cap_and_forgets_the_leaf_that_was_left_first() {
    let mut world = World::new(TokenPolicy { cached_blocks: 5, ..POLICY });
    // Three blocks each; the second one leaves last.
    world.enter(1, 13, 1);
    world.drain();
    assert_eq!(world.scheduler.stats().cached_blocks, 3);
    world.enter(2, 13, 1);
    world.drain();
    let stats = world.scheduler.stats();
    assert_eq!((stats.cached_blocks, stats.free_blocks, stats.totals.evicted_blocks), (5, 11, 1));
    let (old, new) = (world.enter(1, 13, 1), world.enter(2, 13, 1));
    world.drain();
    assert_eq!((world.end_of(old).cached_tokens, world.end_of(new).cached_tokens), (8, 12));
}

#[test]
fn without_a_cache_nothing_is_kept() {
    let mut world = World::new(TokenPolicy { cached_blocks: 0, ..POLICY });
    world.enter(1, 13, 2);
    world.enter(1, 13, 2);
    world.drain();
    let stats = world.scheduler.stats();
    assert_eq!((stats.cached_blocks, stats.free_blocks, stats.totals.prompt_hit_tokens), (0, 16, 0));
}

#[test]
fn cached_blocks_are_there_for_whoever_needs_them() {
    let mut world = World::new(POLICY);
    world.enter(1, 61, 1);
    world.drain();
    assert_eq!(world.scheduler.stats().cached_blocks, 15);
    let other = world.enter(2, 61, 1);
    world.drain();
    assert_eq!(world.end_of(other).reason, EndReason::MaxNewTokens);
    assert_eq!(world.scheduler.stats().totals.evicted_blocks, 15);
}

#[test]
fn what_can_never_fit_is_refused_with_both_numbers() {
    let mut world = World::new(TokenPolicy { context: 100, ..POLICY });
    let mut refused = |prompt: usize, max_new_tokens: Option<usize>| {
        let new = NewSequence { max_new_tokens, ..world.new_sequence(&vec![1; prompt], 1) };
        world.submit(new).unwrap_err()
    };
    assert_eq!(refused(0, Some(1)), Refusal::EmptyPrompt);
    assert_eq!(refused(5, Some(0)), Refusal::NoNewTokens);
    assert_eq!(refused(90, Some(11)), Refusal::Context { prompt: 90, new: 11, context: 100 });
    assert_eq!(refused(100, None), Refusal::Context { prompt: 100, new: 1, context: 100 });
    assert_eq!(refused(5, Some(usize::MAX)), Refusal::Context { prompt: 5, new: usize::MAX, context: 100 });
    assert_eq!(refused(60, Some(6)), Refusal::Blocks { prompt: 60, new: 6, needed: 17, blocks: 16 });
    assert_eq!(refused(65, None), Refusal::Blocks { prompt: 65, new: 1, needed: 17, blocks: 16 });
    assert!(world.scheduler.is_idle());
    // One less fits, and runs to its end.
    let (most, open) = (world.enter(1, 60, 5), world.enter(1, 64, 1));
    world.drain();
    assert_eq!((world.end_of(most).new_tokens, world.end_of(open).new_tokens), (5, 1));
}

#[test]
fn a_full_queue_refuses_and_one_alone_is_always_let_in() {
    let mut world = World::new(TokenPolicy { waiting: 2, waiting_tokens: 20, ..POLICY });
    world.enter(1, 30, 1);
    let new = world.new_sequence(&[1], 1);
    assert_eq!(world.submit(new.clone()), Err(Refusal::QueueTokens { held: 30, asked: 1, limit: 20 }));
    world.step();
    world.enter(2, 10, 1);
    world.enter(3, 10, 1);
    assert_eq!(world.submit(new), Err(Refusal::QueueFull { limit: 2 }));
    world.drain();
}

#[test]
fn the_first_in_the_queue_is_not_overtaken() {
    let mut world = World::new(POLICY);
    let running = world.enter(1, 40, 4);
    world.step();
    let (large, small) = (world.enter(2, 40, 1), world.enter(3, 1, 1));
    while !world.ended.contains_key(&running) {
        assert!(world.step().admitted.iter().all(|&id| id != small), "there is room for the small one");
    }
    assert_eq!(world.step().admitted, [large]);
    world.drain();
}

#[test]
fn one_that_did_not_fit_is_looked_up_again_when_the_cache_may_know_more() {
    let mut world = World::new(TokenPolicy { blocks: 12, step_tokens: 24, ..POLICY });
    let (first, second) = (world.enter(1, 40, 8), world.enter(1, 40, 1));
    world.step();
    // It needs four blocks of its own now, and one when the prompt of the first is computed.
    assert!(world.step().admitted.is_empty());
    while !world.step().admitted.contains(&second) {
        assert!(world.live.contains_key(&first), "it waited for all of its blocks");
    }
    world.drain();
    assert_eq!(world.end_of(second).cached_tokens, 36);
    assert_eq!(world.end_of(first).preemptions, 0);
}

#[test]
fn a_class_has_a_head_start_and_no_more() {
    let mut world = World::new(TokenPolicy { running: 1, ..POLICY });
    let running = world.enter(0, 1, 20);
    world.step();
    let low = world.enter_as(Priority::Low, 1, 1, 1);
    let normal = world.enter(1, 1, 1);
    let high = world.enter_as(Priority::High, 1, 1, 1);
    world.now += STEP * 21;
    let late = world.enter_as(Priority::High, 1, 1, 1);
    let mut order = Vec::new();
    while !world.scheduler.is_idle() {
        order.extend(world.step().admitted);
    }
    assert_eq!(order, [high, normal, low, late]);
    assert!(world.ended.contains_key(&running));
}

#[test]
fn a_reserve_is_left_for_each_that_runs() {
    let mut world = World::new(TokenPolicy { reserve_blocks: 3, step_tokens: 64, ..POLICY });
    let (a, b) = (world.enter(1, 20, 4), world.enter(2, 20, 4));
    let c = world.enter(3, 1, 1);
    // Five blocks each leave six; for the third there would have to be seven.
    assert_eq!(world.step().admitted, [a, b]);
    world.drain();
    assert!(world.end_of(c).new_tokens == 1);
    // Alone it may have everything.
    let all = world.enter(4, 60, 4);
    world.drain();
    assert_eq!(world.end_of(all).new_tokens, 4);
}

/// Four sequences of three blocks and one of four fill all sixteen; the next block is one too many.
fn crowd(classes: [Priority; 5]) -> (World, [SequenceId; 5]) {
    let mut world = World::new(TokenPolicy { step_tokens: 64, ..POLICY });
    let ids = std::array::from_fn(|index| {
        let prompt = if index == 0 { 16 } else { 12 };
        world.enter_as(classes[index], index as u32, prompt, 12)
    });
    world.step();
    assert_eq!(world.scheduler.stats().free_blocks, 0);
    (world, ids)
}

#[test]
fn the_lowest_class_gives_way_and_of_it_the_last_that_came() {
    use Priority::{High, Low, Normal};
    let (mut world, ids) = crowd([Normal; 5]);
    assert_eq!(world.step().preempted, [ids[4], ids[3]], "the youngest");
    world.drain();
    let (mut world, ids) = crowd([Low, Normal, Normal, Low, Normal]);
    let step = world.step();
    assert_eq!(step.preempted, [ids[3], ids[0]], "the younger low one for the others, then the older for want of any");
    assert_eq!(rows(&step), [ids[1], ids[2], ids[4]].map(|id| (id, Decode, 1)));
    world.drain();
    let (mut world, ids) = crowd([Low, High, Normal, High, High]);
    assert_eq!(world.step().preempted, [ids[0]], "it is the lowest and needs a block itself");
    world.drain();
}

#[test]
fn what_gave_way_waits_at_the_head_and_is_computed_as_it_was() {
    let mut world = World::new(POLICY);
    let old = world.enter(1, 30, 30);
    world.step();
    world.step();
    let young = world.enter(2, 10, 20);
    let other = world.enter(3, 4, 1);
    let mut step = world.step();
    while step.preempted.is_empty() {
        step = world.step();
    }
    assert_eq!(step.preempted, [young]);
    let behind = world.enter(4, 4, 1);
    let had = world.live[&young].truth.tokens.len();
    assert!(had > 12, "{had}");
    let mut order = Vec::new();
    let mut again = Vec::new();
    while !world.ended.contains_key(&young) {
        let step = world.step();
        order.extend(step.admitted.iter().copied());
        again.extend(rows(&step).into_iter().filter(|row| row.0 == young));
    }
    assert_eq!(order, [young, behind]);
    // One of its blocks is still cached; then come the prompt's tokens, and all others as the decodes that they were.
    assert_eq!(again[..2], [(young, Prefill, 6), (young, Decode, had - 10)]);
    assert!(again[2..].iter().all(|row| *row == (young, Decode, 1)));
    assert_eq!(world.end_of(young).preemptions, 1);
    assert_eq!(world.scheduler.stats().totals.preemptions, 1);
    assert!(world.ended.contains_key(&old) && world.ended.contains_key(&other));
    world.drain();
}

#[test]
fn each_that_gives_way_is_raised_by_a_class() {
    let mut world = World::new(POLICY);
    let low = world.enter_as(Priority::Low, 1, 8, 1);
    let rank = |world: &World| world.scheduler.sequences[low].rank();
    let ranks: Vec<_> = (0..4)
        .map(|preemptions| {
            world.scheduler.sequences[low].preemptions = preemptions;
            rank(&world)
        })
        .collect();
    assert!(ranks[0] > ranks[1] && ranks[1] > ranks[2] && ranks[2] == ranks[3]);
}

#[test]
fn alone_without_blocks_a_sequence_ends_and_says_so() {
    let mut world = World::new(TokenPolicy { context: 100, ..POLICY });
    let id = world.submit(NewSequence { max_new_tokens: None, ..world.new_sequence(&[1; 10], 1) }).unwrap();
    world.drain();
    // 64 tokens have their keys and values in blocks, and the last one needs none.
    assert_eq!((world.end_of(id).reason, world.end_of(id).new_tokens), (EndReason::Blocks, 55));
    let mut world = World::new(TokenPolicy { context: 50, ..POLICY });
    let id = world.submit(NewSequence { max_new_tokens: None, ..world.new_sequence(&[1; 10], 1) }).unwrap();
    world.drain();
    assert_eq!((world.end_of(id).reason, world.end_of(id).new_tokens), (EndReason::Context, 40));
}

#[test]
fn whoever_leaves_frees_at_once_what_no_step_uses() {
    let mut world = World::new(TokenPolicy { cached_blocks: 0, ..POLICY });
    let (a, b) = (world.enter(1, 10, 9), world.enter(2, 10, 9));
    world.step_and(|world, step| {
        assert_eq!(rows(step), [(a, Prefill, 10), (b, Prefill, 4)]);
        let waiting = world.enter(3, 10, 9);
        assert!(matches!(world.leave(waiting, Leave::Cancelled), Departure::Gone(_)));
        assert_eq!(world.leave(a, Leave::Cancelled), Departure::AfterStep);
        assert_eq!(world.leave(a, Leave::Failed), Departure::AfterStep, "it has its reason");
        assert_eq!(world.scheduler.stats().used_blocks, 6, "the step writes to them");
        true
    });
    assert_eq!(world.end_of(a).reason, EndReason::Cancelled);
    assert_eq!((world.end_of(a).new_tokens, world.scheduler.stats().used_blocks), (0, 3));
    assert!(matches!(world.leave(b, Leave::Failed), Departure::Gone(ended) if ended.reason == EndReason::Failed));
    assert_eq!(world.scheduler.stats().free_blocks, 16);
    assert_eq!(world.leave(b, Leave::Failed), Departure::Unknown);
    world.check_empty();
}

#[test]
fn the_executor_stops_a_sequence_with_or_without_a_token() {
    let mut world = World::new(POLICY);
    let (last, end, failed) = (world.enter(1, 4, 9), world.enter(2, 4, 9), world.enter(3, 4, 9));
    let mut stops = |id, stop| world.live.get_mut(&id).unwrap().stops = Some((2, stop));
    stops(last, Stop::Last);
    stops(end, Stop::End(Leave::Stopped));
    stops(failed, Stop::End(Leave::Failed));
    world.drain();
    let how = |id| (world.end_of(id).reason, world.end_of(id).new_tokens);
    assert_eq!(how(last), (EndReason::Stopped, 3));
    assert_eq!(how(end), (EndReason::Stopped, 2));
    assert_eq!(how(failed), (EndReason::Failed, 2));
}

#[test]
fn what_the_network_failed_on_is_not_for_others() {
    for during in [true, false] {
        let mut world = World::new(POLICY);
        let failed = world.enter(1, 13, 9);
        world.live.get_mut(&failed).unwrap().stops = Some((0, Stop::End(Leave::Failed))).filter(|_| !during);
        world.step_and(|world, _| {
            if during {
                world.leave(failed, Leave::Failed);
            }
            true
        });
        assert_eq!(world.end_of(failed).reason, EndReason::Failed);
        let other = world.enter(1, 13, 1);
        world.drain();
        assert_eq!(world.end_of(other).cached_tokens, 0);
    }
}

#[test]
fn a_deadline_ends_what_runs_and_what_waits_and_can_be_lifted() {
    let mut world = World::new(TokenPolicy { running: 2, ..POLICY });
    let deadline = Some(world.now + STEP * 3);
    let mut enter = |max_new| {
        let new = NewSequence { deadline, ..world.new_sequence(&[1], max_new) };
        world.submit(new).unwrap()
    };
    let (runs, lifted, waits) = (enter(20), enter(20), enter(20));
    assert_eq!(world.scheduler.next_deadline(), deadline);
    world.step();
    world.scheduler.set_deadline(lifted, None);
    for _ in 0..2 {
        assert!(world.step().ended.is_empty());
    }
    let step = world.step();
    let ended: Vec<_> = step.ended.iter().map(|ended| (ended.sequence, ended.reason, ended.new_tokens)).collect();
    assert_eq!(ended, [(runs, EndReason::Deadline, 3), (waits, EndReason::Deadline, 0)]);
    world.drain();
    assert_eq!(world.end_of(lifted).new_tokens, 20);
}

#[test]
fn a_step_that_failed_is_planned_again() {
    let mut world = World::new(POLICY);
    let (a, b) = (world.enter(1, 6, 4), world.enter(2, 6, 4));
    let failed = world.step_and(|world, _| {
        world.leave(b, Leave::Cancelled);
        false
    });
    assert_eq!(world.end_of(b).reason, EndReason::Cancelled);
    let again = world.step();
    assert_eq!(again.rows[0], failed.rows[0]);
    assert_eq!(rows(&again), [(a, Prefill, 6)]);
    world.drain();
}

#[test]
fn an_executor_out_of_step_is_told() {
    let mut world = World::new(POLICY);
    world.enter(1, 6, 4);
    let scheduler = &mut world.scheduler;
    let step = scheduler.plan(world.now).unwrap();
    assert_eq!(scheduler.plan(world.now).unwrap_err(), StepError::UnderWay { step: 1 });
    let error = scheduler.done(&step, &[]).unwrap_err();
    assert_eq!(error, StepError::Samples { step: 1, wanted: 1, given: 0 });
    assert_eq!(scheduler.done(&step, &[Sample::Next(3)]).unwrap().produced.len(), 1);
    assert_eq!(scheduler.done(&step, &[Sample::Next(3)]).unwrap_err(), StepError::NotUnderWay { step: 1 });
    assert_eq!(scheduler.undo(&step).unwrap_err(), StepError::NotUnderWay { step: 1 });
}
