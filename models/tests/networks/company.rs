//! A row's logits are the same bits whatever else is in the step, however its tokens were cut, and on how many threads.

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use weirgate_models::network::{KvType, Network, NetworkConfig, Row};

use super::{NETWORKS, alone, bits, config, fixture, load};

/// A sequence that is under way: its tokens, how many of them are in the store, and its blocks.
struct Sequence {
    tokens: Vec<u32>,
    done: usize,
    blocks: Vec<u32>,
}

impl Sequence {
    fn random(random: &mut StdRng, length: usize, blocks: Vec<u32>) -> Sequence {
        Sequence { tokens: (0..length).map(|_| random.random_range(0..64)).collect(), done: 0, blocks }
    }
}

/// Tables of eight blocks each, none of which is in two.
fn tables(random: &mut StdRng, network: &Network) -> Vec<Vec<u32>> {
    let mut blocks: Vec<u32> = (0..network.limits().blocks as u32).collect();
    blocks.shuffle(random);
    blocks.chunks_exact(8).map(<[u32]>::to_vec).collect()
}

/// Runs steps of random cuts of random sequences until the first one's tokens are through, and returns its last logits.
fn among_others(network: &mut Network, random: &mut StdRng, tokens: &[u32], others: usize) -> Vec<f32> {
    let mut tables = tables(random, network);
    let mut sequences = vec![Sequence { tokens: tokens.to_vec(), done: 0, blocks: tables.pop().unwrap() }];
    loop {
        while sequences.len() <= others {
            let length = random.random_range(1..120);
            let Some(table) = tables.pop() else { break };
            sequences.push(Sequence::random(random, length, table));
        }
        let mut room = network.limits().tokens;
        let mut cuts = vec![];
        for (index, sequence) in sequences.iter().enumerate() {
            let left = sequence.tokens.len() - sequence.done;
            // One token, as if it had just been generated, or some of the prompt.
            let count = if random.random_bool(0.4) { 1 } else { random.random_range(1..=left) };
            let count = count.min(left).min(room);
            if count > 0 && (index == 0 || random.random_bool(0.8)) {
                cuts.push((index, count));
                room -= count;
            }
        }
        cuts.shuffle(random);
        let rows: Vec<Row> = cuts
            .iter()
            .map(|&(index, count)| {
                let sequence = &sequences[index];
                let last = index == 0 && sequence.done + count == tokens.len();
                Row {
                    tokens: &sequence.tokens[sequence.done..][..count],
                    start: sequence.done,
                    blocks: &sequence.blocks,
                    logits: last || (index > 0 && random.random_bool(0.3)),
                }
            })
            .collect();
        let mine = rows.iter().zip(&cuts).filter(|(row, _)| row.logits).position(|(_, cut)| cut.0 == 0);
        let logits = network.step(&rows).unwrap();
        if let Some(mine) = mine {
            return logits.rows().nth(mine).unwrap().to_vec();
        }
        for (index, count) in cuts {
            sequences[index].done += count;
        }
        // Who is done leaves, and its blocks are another's.
        let mut index = sequences.len();
        while index > 1 {
            index -= 1;
            if sequences[index].done == sequences[index].tokens.len() {
                tables.push(sequences.swap_remove(index).blocks);
            }
        }
    }
}

#[test]
fn logits_are_the_same_bits_alone_and_among_others_in_any_cuts() {
    for name in NETWORKS {
        let tokens = fixture(name).tokens;
        let mut network = load(name, &config());
        let right = bits(&alone(&mut network, &tokens, 0, &[0, 1, 2]));
        let mut random = StdRng::seed_from_u64(11);
        for others in [0, 1, 3, 7, 12] {
            for _ in 0..4 {
                let found = among_others(&mut network, &mut random, &tokens, others);
                assert_eq!(bits(&found), right, "{name} among {others} others");
            }
        }
    }
}

#[test]
fn a_prompt_s_start_that_is_found_in_the_store_gives_the_same_bits() {
    for name in NETWORKS {
        let tokens = fixture(name).tokens;
        let mut network = load(name, &config());
        let right = bits(&alone(&mut network, &tokens, 0, &[0, 1, 2]));
        // Two blocks of the first sequence are the start of the second's table.
        let found = alone(&mut network, &tokens[32..], 32, &[0, 1, 9]);
        assert_eq!(bits(&found), right, "{name}");
    }
}

#[test]
fn generated_tokens_have_the_same_bits_in_steps_of_any_number_of_rows() {
    for name in NETWORKS {
        let mut network = load(name, &config());
        let mut random = StdRng::seed_from_u64(5);
        let tables = tables(&mut random, &network);
        let prompts: Vec<Sequence> =
            tables.into_iter().take(17).map(|table| Sequence::random(&mut random, 37, table)).collect();
        let mut right = vec![];
        for prompt in &prompts {
            alone(&mut network, &prompt.tokens[..36], 0, &prompt.blocks);
            right.push(bits(&alone(&mut network, &prompt.tokens[36..], 36, &prompt.blocks)));
        }
        for rows in 1..=prompts.len() {
            let step: Vec<Row> = prompts[..rows]
                .iter()
                .map(|prompt| Row { tokens: &prompt.tokens[36..], start: 36, blocks: &prompt.blocks, logits: true })
                .collect();
            let logits = network.step(&step).unwrap();
            let found: Vec<_> = logits.rows().map(bits).collect();
            assert_eq!(found, right[..rows], "{name} in a step of {rows} rows");
        }
    }
}

#[test]
fn blocks_threads_and_their_number_change_no_bits() {
    for name in NETWORKS {
        let tokens = fixture(name).tokens;
        let right = bits(&alone(&mut load(name, &config()), &tokens, 0, &[0, 1, 2]));
        for threads in [2, 5] {
            let mut network = load(name, &NetworkConfig { threads, ..config() });
            for _ in 0..10 {
                assert_eq!(bits(&alone(&mut network, &tokens, 0, &[5, 3, 8])), right, "{name} on {threads} threads");
            }
        }
        let mut network = load(name, &NetworkConfig { block_tokens: 48, ..config() });
        assert_eq!(bits(&alone(&mut network, &tokens, 0, &[4])), right, "{name} in blocks of 48 tokens");
    }
}

#[test]
fn what_others_left_in_a_block_is_never_seen() {
    for kv_type in [KvType::F16, KvType::F32] {
        let config = NetworkConfig { kv_type, ..config() };
        let tokens = fixture("llama").tokens;
        let mut network = load("llama", &config);
        let right = bits(&alone(&mut network, &tokens, 0, &[0, 1, 2]));
        // Other tokens fill the blocks to their ends.
        let other: Vec<u32> = (0..48).map(|index| (index * 7 + 3) % 64).collect();
        alone(&mut network, &other, 0, &[2, 0, 1]);
        for (position, token) in tokens.iter().enumerate() {
            let found = alone(&mut network, &[*token], position, &[0, 1, 2]);
            if position + 1 == tokens.len() {
                assert_eq!(bits(&found), right);
            }
        }
    }
}
