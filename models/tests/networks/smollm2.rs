//! A real network against numpy, on fifty texts: SmolLM2-135M-Instruct in Q4_1.

use std::path::PathBuf;

use serde::Deserialize;
use weirgate_models::network::{KvType, Network, NetworkConfig, Precision, Row};

use super::{alone, bits, folder};

#[derive(Deserialize)]
struct Text {
    tokens: Vec<u32>,
    /// After each token: the likeliest four tokens with their logits, and eight others.
    after: Vec<Vec<(u32, f32)>>,
}

fn texts() -> Vec<Text> {
    serde_json::from_str(&std::fs::read_to_string(folder().join("smollm2.json")).unwrap()).unwrap()
}

fn network(config: NetworkConfig) -> Network {
    let models = std::env::var_os("WEIRGATE_MODELS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../build/models"), PathBuf::from);
    let path = models.join("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.exists(), "{} is missing: run `make setup-models`", path.display());
    Network::load(&path, &config).unwrap()
}

fn config() -> NetworkConfig {
    NetworkConfig { kv_bytes: 512 << 20, step_tokens: 64, step_logits: 64, ..NetworkConfig::default() }
}

/// How far the network's logits are from the reference's.
#[derive(Debug, Default)]
struct Difference {
    greatest: f32,
    /// Mean of the squares, while they are added up their sum.
    squares: f64,
    compared: usize,
    tokens: usize,
    /// The greatest lead of the reference's likeliest token where the network has another one.
    misled: f32,
    agreed: usize,
}

/// Runs all texts side by side, token by token.
fn compare(network: &mut Network, texts: &[Text]) -> Difference {
    let tables: Vec<Vec<u32>> = (0..texts.len() as u32).map(|text| (text * 8..text * 8 + 8).collect()).collect();
    let longest = texts.iter().map(|text| text.tokens.len()).max().unwrap();
    let mut difference = Difference::default();
    for position in 0..longest {
        let here = || texts.iter().zip(&tables).filter(|(text, _)| position < text.tokens.len());
        let rows: Vec<Row> = here()
            .map(|(text, blocks)| Row {
                tokens: &text.tokens[position..=position],
                start: position,
                blocks,
                logits: true,
            })
            .collect();
        let logits = network.step(&rows).unwrap();
        for ((text, _), logits) in here().zip(logits.rows()) {
            let right = &text.after[position];
            for (token, right) in right {
                let error = (logits[*token as usize] - right).abs();
                difference.greatest = difference.greatest.max(error);
                difference.squares += f64::from(error * error);
                difference.compared += 1;
            }
            let likeliest = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
            difference.tokens += 1;
            if likeliest == right[0].0 as usize {
                difference.agreed += 1;
            } else {
                difference.misled = difference.misled.max(right[0].1 - right[1].1);
            }
        }
    }
    difference.squares /= difference.compared as f64;
    difference
}

#[test]
fn in_floats_the_logits_are_the_reference_s() {
    let texts = texts();
    assert_eq!(texts.len(), 50);
    let config = NetworkConfig { precision: Precision::Float32, kv_type: KvType::F32, ..config() };
    let difference = compare(&mut network(config), &texts);
    println!("{difference:?}");
    assert!(difference.greatest < 1e-3, "{difference:?}");
    assert!(difference.misled < 1e-3, "{difference:?}");
}

/// A question, and the likeliest answer to its end.
#[derive(Deserialize)]
struct Answer {
    tokens: Vec<u32>,
    answer: Vec<u32>,
    /// By how much each token's logit is above the next one's.
    leads: Vec<f32>,
}

fn answers() -> Vec<Answer> {
    serde_json::from_str(&std::fs::read_to_string(folder().join("smollm2_answers.json")).unwrap()).unwrap()
}

/// Always the likeliest token, up to so many.
fn greedy(network: &mut Network, prompt: &[u32], count: usize) -> Vec<u32> {
    let blocks: Vec<u32> = (0..8).collect();
    let mut logits = alone(network, prompt, 0, &blocks);
    let mut answer = vec![];
    loop {
        answer.push((0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap() as u32);
        if answer.len() == count {
            return answer;
        }
        logits = alone(network, &answer[answer.len() - 1..], prompt.len() + answer.len() - 1, &blocks);
    }
}

#[test]
fn in_floats_answers_are_the_reference_s_to_their_end() {
    let mut network = network(NetworkConfig { precision: Precision::Float32, kv_type: KvType::F32, ..config() });
    for Answer { tokens, answer, .. } in answers() {
        assert_eq!(greedy(&mut network, &tokens, answer.len()), answer);
    }
}

/// With "?" the first token's lead is 0.08, which is less than rounding rows to 8 bits moves logits; and from the next likeliest
/// one, as llama.cpp goes too, this network doesn't find back. Without it, and once the first token is given, the answer is the
/// reference's.
#[test]
fn as_stored_answers_are_the_reference_s_but_for_a_tie_that_rounding_decides() {
    let mut network = network(config());
    let [tie, clear] = answers().try_into().ok().expect("two questions");
    assert!(tie.leads[0] < 0.1 && tie.leads[1..].iter().all(|lead| *lead > 0.25), "{:?}", tie.leads);
    let begun = [&tie.tokens[..], &tie.answer[..1]].concat();
    assert_eq!(greedy(&mut network, &begun, tie.answer.len() - 1), tie.answer[1..]);
    assert_eq!(greedy(&mut network, &clear.tokens, clear.answer.len()), clear.answer);
}

#[test]
fn as_stored_the_likeliest_token_is_the_reference_s_where_it_leads_clearly() {
    let texts = texts();
    let difference = compare(&mut network(config()), &texts);
    println!("{difference:?}");
    // llama.cpp, which rounds rows in the same way, is as far off: 0.20 in the lead of one likely token before another, where
    // this is 0.18.
    assert!(difference.greatest < 4.0 && difference.squares < 0.16, "{difference:?}");
    assert!(difference.misled < 0.5, "{difference:?}");
    assert!(difference.agreed * 100 >= difference.tokens * 95, "{difference:?}");
}

#[test]
fn a_prompt_at_once_and_token_by_token_among_others_give_the_same_bits() {
    let texts = texts();
    let mut network = network(config());
    let tables: Vec<Vec<u32>> = (0..texts.len() as u32).map(|text| (text * 8..text * 8 + 8).collect()).collect();
    for (text, blocks) in texts.iter().zip(&tables) {
        let (last, before) = text.tokens.split_last().unwrap();
        for (index, tokens) in before.chunks(7).enumerate() {
            network.step(&[Row { tokens, start: index * 7, blocks, logits: false }]).unwrap();
        }
        let right = bits(&alone(&mut network, &[*last], before.len(), blocks));
        // Elsewhere, all at once.
        let elsewhere: Vec<u32> = (800..808).collect();
        assert_eq!(bits(&alone(&mut network, &text.tokens, 0, &elsewhere)), right);
    }
    let rows: Vec<Row> = texts
        .iter()
        .zip(&tables)
        .map(|(text, blocks)| {
            let start = text.tokens.len() - 1;
            Row { tokens: &text.tokens[start..], start, blocks, logits: true }
        })
        .collect();
    let together: Vec<Vec<u32>> = network.step(&rows).unwrap().rows().map(bits).collect();
    for ((text, blocks), together) in texts.iter().zip(&tables).zip(together) {
        let start = text.tokens.len() - 1;
        assert_eq!(bits(&alone(&mut network, &text.tokens[start..], start, blocks)), together);
    }
}
