//! Nobody starves, however long others go on coming.

use weirgate_protocol::Priority;

use super::super::{EndReason, TokenPolicy};
use super::world::{POLICY, World};

/// Steps until a sequence ends, while `arrivals` adds others before each.
fn steps_until_end(world: &mut World, id: super::super::SequenceId, mut arrivals: impl FnMut(&mut World)) -> usize {
    for steps in 1..5_000 {
        arrivals(world);
        world.step();
        if world.ended.contains_key(&id) {
            assert_eq!(world.end_of(id).reason, EndReason::MaxNewTokens);
            return steps;
        }
    }
    panic!("it starves: {:?} {:?}", world.scheduler.stats(), world.scheduler.sequences[id]);
}

#[test]
fn a_low_class_ends_beside_a_stream_of_high_ones() {
    let mut world = World::new(POLICY);
    let low = world.enter_as(Priority::Low, 0, 20, 40);
    let mut token = 0;
    let steps = steps_until_end(&mut world, low, |world| {
        while world.scheduler.stats().waiting < 4 {
            token += 1;
            world.enter_as(Priority::High, token % 5, 21, 20);
        }
    });
    assert!(steps < 500, "{steps}");
    // From then on it gives way to older ones only, and there are none.
    assert_eq!(world.end_of(low).preemptions, 2);
    world.drain();
}

#[test]
fn a_long_prompt_goes_on_while_decodes_fill_the_steps() {
    let policy = TokenPolicy { blocks: 200, running: 40, ..POLICY };
    let mut world = World::new(policy);
    for _ in 0..32 {
        world.enter(1, 1, 60);
    }
    while world.scheduler.stats().running < 32 {
        assert!(!world.step().admitted.is_empty());
    }
    assert_eq!(world.step().rows.len(), policy.step_tokens, "decodes alone fill a step");
    let long = world.enter(2, 56, 1);
    let steps = steps_until_end(&mut world, long, |_| ());
    assert_eq!(steps, 56 / policy.prefill_tokens);
    world.drain();
}

#[test]
fn decodes_go_on_while_long_prompts_are_computed() {
    let mut world = World::new(TokenPolicy { blocks: 200, ..POLICY });
    let short = world.enter(1, 1, 50);
    world.step();
    let mut token = 0;
    let steps = steps_until_end(&mut world, short, |world| {
        token += 1;
        while world.scheduler.stats().waiting < 4 {
            world.enter(token % 5, 60, 1);
        }
    });
    assert_eq!(steps, 49, "a token in each step");
    world.drain();
}

/// The reason for the reserve.
#[test]
fn a_block_in_reserve_for_each_saves_most_of_what_is_computed_again() {
    let recomputed = [0, 1].map(|reserve_blocks| {
        let mut world = World::new(TokenPolicy { reserve_blocks, blocks: 60, running: 32, ..POLICY });
        for index in 0..60 {
            world.enter(index % 5, 1 + index as usize % 13, 10 + index as usize * 7 % 37);
        }
        world.drain();
        world.scheduler.stats().totals.recomputed_tokens
    });
    assert!(recomputed[1] * 2 < recomputed[0], "{recomputed:?}");
}
