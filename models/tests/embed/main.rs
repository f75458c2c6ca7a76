//! Embedders against Hugging Face's tokenizers, onnxruntime and numpy, against themselves in other company, and from broken
//! folders.

#![allow(clippy::unwrap_used)]

mod company;
mod hostile;
mod reference;
mod refusals;
mod tokens;

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use weirgate_models::embed::{Backend, Embedder, EmbedderOptions};

/// What `models/make/embedders.py` wrote.
#[derive(Deserialize)]
struct Fixture {
    max_tokens: usize,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    text: String,
    /// Cut to `max_tokens`.
    ids: Vec<u32>,
    /// How many there are uncut.
    whole: usize,
    #[serde(default)]
    vector: String,
    #[serde(default)]
    vectors: String,
}

fn own() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/embed")
}

fn tiny() -> PathBuf {
    own().join("tiny")
}

fn minilm() -> PathBuf {
    let models = std::env::var_os("WEIRGATE_MODELS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../build/models"), PathBuf::from);
    let path = models.join("all-minilm-l6-v2");
    assert!(path.exists(), "{} is missing: run `make setup-models`", path.display());
    path
}

fn fixture(name: &str) -> Fixture {
    let text = std::fs::read_to_string(own().join(format!("{name}.json"))).unwrap();
    let fixture: Fixture = serde_json::from_str(&text).unwrap();
    assert!(fixture.cases.len() >= 60);
    fixture
}

fn load(folder: &Path, backend: Backend) -> Embedder {
    Embedder::load(folder, &EmbedderOptions { threads: 2, backend, ..EmbedderOptions::default() }).unwrap()
}

fn floats(text: &str) -> Vec<f32> {
    let bytes = STANDARD.decode(text).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}
