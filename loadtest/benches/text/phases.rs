//! What is asked of each server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use weirgate_loadtest::Result;
use weirgate_loadtest::closed::{self, Callers, Plan, Until};
use weirgate_loadtest::process::Server;
use weirgate_loadtest::request::{Answer, Protocol, Request};

/// Tokens of a long answer.
const ANSWER: usize = 64;
/// Tokens of its prompt.
const SHORT: usize = 16;
/// Of a newcomer's prompt, and how many are answered meanwhile.
const NEWCOMER: usize = 128;
const OTHERS: usize = 8;
/// More prompts than a phase comes to.
const DISTINCT: usize = 512;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// One caller, and prompts of so many tokens that are answered with one.
    Prompt(usize),
    /// So many callers, whose answers are long.
    Decode(usize),
    /// The time to the first token of a newcomer, while others are answered.
    Newcomer,
}

impl Phase {
    pub const ALL: [Phase; 8] = [
        Phase::Prompt(128),
        Phase::Prompt(512),
        Phase::Prompt(2_048),
        Phase::Decode(1),
        Phase::Decode(4),
        Phase::Decode(8),
        Phase::Decode(16),
        Phase::Newcomer,
    ];

    pub fn label(self) -> String {
        match self {
            Phase::Prompt(tokens) => format!("prompt of {tokens} tokens"),
            Phase::Decode(1) => "decode, 1 sequence".to_owned(),
            Phase::Decode(sequences) => format!("decode, {sequences} sequences"),
            Phase::Newcomer => format!("first token of {NEWCOMER}, while {OTHERS} decode"),
        }
    }
}

/// One phase's numbers.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Of the whole server, per token of a prompt or of an answer; none where both are mixed.
    pub cpu_us: Option<f64>,
    pub tokens_per_second: f64,
    /// Of a call.
    pub p50_ms: f64,
}

/// A completion of a prompt like no other.
fn request(seed: usize, prompt: usize, answer: usize) -> Request {
    // A multiplicative hash; the first tokens of the vocabulary are not words.
    let token = |at: usize| {
        let mixed = (seed * 1_000_003 + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        100 + (mixed >> 33) % 40_000
    };
    let prompt: Vec<usize> = (0..prompt).map(token).collect();
    let body = json!({
        "model": "smollm2", "prompt": prompt, "max_tokens": answer, "temperature": 0, "ignore_eos": true,
    });
    Request::new(Protocol::Completions, "/v1/completions", body.to_string())
}

fn plan(address: SocketAddr, callers: usize, seed: usize, prompt: usize, answer: usize) -> Plan {
    let requests: Arc<[Request]> = (0..DISTINCT).map(|index| request(seed + index, prompt, answer)).collect();
    // Whole answers: llama.cpp's server ends the connection behind each stream.
    let made = u32::try_from(answer).unwrap_or(u32::MAX);
    let is_right = move |answer: &Answer| answer.usage.is_some_and(|usage| usage.completion_tokens == Some(made));
    Plan {
        address,
        requests,
        callers,
        shared_connections: None,
        check: Some(Arc::new(move |_, answer| is_right(answer))),
    }
}

pub fn run(phase: Phase, server: &Server, round: usize, time: Duration) -> Result<Sample> {
    // No prompt comes twice in all of a benchmark.
    let place = Phase::ALL.iter().position(|other| *other == phase).unwrap_or_default();
    let seed = (round * Phase::ALL.len() + place) * 2 * DISTINCT;
    let address = server.data;
    closed::runtime()?.block_on(async {
        match phase {
            Phase::Prompt(tokens) => {
                let mut all = Callers::connect(plan(address, 1, seed, tokens, 1)).await?;
                let before = server.cpu_time()?;
                let report = all.run(Until::After(time)).await?.all_well()?;
                let cpu = server.cpu_time()? - before;
                all.close().await;
                let computed = report.answered() as f64 * tokens as f64;
                Ok(Sample {
                    cpu_us: Some(cpu.as_secs_f64() * 1e6 / computed),
                    tokens_per_second: computed / report.elapsed.as_secs_f64(),
                    p50_ms: report.latencies.p50_us() / 1e3,
                })
            }
            Phase::Decode(sequences) => {
                let mut all = Callers::connect(plan(address, sequences, seed, SHORT, ANSWER)).await?;
                let before = server.cpu_time()?;
                let report = all.run(Until::After(time)).await?.all_well()?;
                let cpu = server.cpu_time()? - before;
                all.close().await;
                let made = report.answered() as f64 * ANSWER as f64;
                Ok(Sample {
                    cpu_us: Some(cpu.as_secs_f64() * 1e6 / made),
                    tokens_per_second: made / report.elapsed.as_secs_f64(),
                    p50_ms: report.latencies.p50_us() / 1e3,
                })
            }
            Phase::Newcomer => {
                let mut others = Callers::connect(plan(address, OTHERS, seed, SHORT, ANSWER)).await?;
                let mut newcomer = Callers::connect(plan(address, 1, seed + DISTINCT, NEWCOMER, 1)).await?;
                let (others_ran, newcomer_ran) =
                    tokio::join!(others.run(Until::After(time)), newcomer.run(Until::After(time)));
                let (streamed, report) = (others_ran?.all_well()?, newcomer_ran?.all_well()?);
                others.close().await;
                newcomer.close().await;
                Ok(Sample {
                    cpu_us: None,
                    tokens_per_second: streamed.answered() as f64 * ANSWER as f64 / streamed.elapsed.as_secs_f64(),
                    p50_ms: report.latencies.p50_us() / 1e3,
                })
            }
        }
    })
}
