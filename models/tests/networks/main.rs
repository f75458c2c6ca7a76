//! Language networks against an independent reference, against themselves in other company, and against broken files.

#![allow(clippy::unwrap_used)]

mod company;
mod reference;
mod refusals;
mod smollm2;
#[path = "../gguf/writer.rs"]
mod writer;

use std::path::PathBuf;

use serde::Deserialize;
use weirgate_models::network::{Network, NetworkConfig, Row};

/// The small networks that `models/make/networks.py` made.
const NETWORKS: [&str; 7] = ["llama", "llama3", "linear", "qwen2", "qwen3", "types", "few_bits"];

#[derive(Deserialize)]
struct Fixture {
    tokens: Vec<u32>,
    /// After each token.
    logits: Vec<Vec<f32>>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/networks")
}

fn fixture(name: &str) -> Fixture {
    let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn config() -> NetworkConfig {
    NetworkConfig { kv_bytes: 4 << 20, step_tokens: 128, step_logits: 64, ..NetworkConfig::default() }
}

fn load(name: &str, config: &NetworkConfig) -> Network {
    Network::load(&folder().join(format!("{name}.gguf")), config).unwrap()
}

/// The logits after a row's last token, as the one row of a step.
fn alone(network: &mut Network, tokens: &[u32], start: usize, blocks: &[u32]) -> Vec<f32> {
    let logits = network.step(&[Row { tokens, start, blocks, logits: true }]).unwrap();
    assert_eq!(logits.len(), 1);
    logits.rows().next().unwrap().to_vec()
}

fn bits(logits: &[f32]) -> Vec<u32> {
    logits.iter().map(|logit| logit.to_bits()).collect()
}
