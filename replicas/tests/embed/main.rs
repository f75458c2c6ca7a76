//! The embedding engine with real embedders: all-MiniLM-L6-v2 through ONNX Runtime, and a small one through kernels of our own.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use weirgate_models::embed::{Backend, Company, Truncation};
use weirgate_protocol::ErrorCode;
use weirgate_replicas::embed::{Embed, EmbedConfig, EmbedEngine, EmbedderOptions, Embedding, EngineEnd, Unobserved};

const TEXTS: [&str; 8] = [
    "A man is eating food.",
    "A man is eating a piece of bread, and drinks a glass of water with it.",
    "The river rose after two days of rain.",
    "",
    "混ぜて mixed 文字列",
    "a",
    "A weir gate controls how a river is split: lowered by a hand's breadth it sends a tenth more of the water down the old bed.",
    "ÀÈÌ àèì Straße 😀",
];

fn load(folder: &Path, mut config: EmbedConfig) -> EmbedEngine {
    config.embedder.threads = 2;
    assert!(folder.exists(), "{} is missing: run `make setup-models`", folder.display());
    EmbedEngine::load(folder, &config, Arc::new(Unobserved)).unwrap()
}

fn minilm(config: EmbedConfig) -> EmbedEngine {
    let models = std::env::var_os("WEIRGATE_MODELS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../build/models"), PathBuf::from);
    load(&models.join("all-minilm-l6-v2"), config)
}

fn tiny(backend: Backend) -> EmbedEngine {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/tests/embed/tiny");
    load(
        &folder,
        EmbedConfig { embedder: EmbedderOptions { backend, ..EmbedderOptions::default() }, ..EmbedConfig::default() },
    )
}

fn submit(engine: &EmbedEngine, texts: &[&str]) -> Embedding {
    let encode = |text: &&str| engine.tokenizer().encode(text, Truncation::CutEnd).unwrap();
    engine.submit(Embed::new(texts.iter().map(encode).collect(), Instant::now())).unwrap()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_at_once_get_what_each_would_get_alone() {
    let engine = minilm(EmbedConfig { run_tokens: 256, ..EmbedConfig::default() });
    assert_eq!((engine.dimensions(), engine.max_tokens(), engine.spec().company), (384, 256, Company::Padded));
    let mut alone = Vec::new();
    for text in TEXTS {
        alone.push(submit(&engine, &[text]).answer().await.unwrap().values);
    }
    let runs = engine.stats().runs;
    assert_eq!(runs, TEXTS.len() as u64);
    // Each caller has all texts, and begins with another one.
    let turned = |by: usize| (0..8).map(move |at| (at + by) % 8);
    let calls: Vec<Embedding> =
        (0..24).map(|by| submit(&engine, &turned(by).map(|at| TEXTS[at]).collect::<Vec<_>>())).collect();
    let mut least = 1.0f64;
    for (by, mut call) in calls.into_iter().enumerate() {
        let embedded = call.answer().await.unwrap();
        assert_eq!(embedded.vectors().len(), 8);
        for (at, vector) in turned(by).zip(embedded.vectors()) {
            least = least.min(cosine(vector, &alone[at]));
        }
    }
    println!("least cosine in company: 1 - {:.1e}", 1.0 - least);
    assert!(least >= 0.999_999, "{least}");
    let stats = engine.stats();
    let (shared, texts) = (stats.runs - runs, 24 * 8);
    println!("{texts} texts in {shared} runs, {} tokens computed for {}", stats.computed, stats.tokens);
    assert!(shared < texts, "nobody shared a run");
    assert!(stats.computed <= 2 * stats.tokens);
    assert_eq!((stats.calls, stats.waiting_tokens, stats.failed_runs), (0, 0, 0));
    engine.drain();
    assert_eq!(engine.ended().await, EngineEnd::Stopped);
}

#[tokio::test]
async fn like_texts_are_nearer_than_unlike_ones() {
    let engine = minilm(EmbedConfig::default());
    let embedded = submit(&engine, &TEXTS[..3]).answer().await.unwrap();
    let vectors: Vec<&[f32]> = embedded.vectors().collect();
    let (like, unlike) = (cosine(vectors[0], vectors[1]), cosine(vectors[0], vectors[2]));
    assert!(like > 0.5 && unlike < 0.2, "{like} {unlike}");
    assert!(vectors.iter().all(|vector| (vector.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5));
}

#[tokio::test]
async fn kernels_of_our_own_give_the_same_bits_in_any_company() {
    let engine = tiny(Backend::Safetensors);
    let mut alone = Vec::new();
    for text in TEXTS {
        alone.extend(submit(&engine, &[text]).answer().await.unwrap().values);
    }
    let together = submit(&engine, &TEXTS).answer().await.unwrap().values;
    let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&together), bits(&alone));
}

#[tokio::test]
async fn a_run_that_is_dropped_gives_the_engine_back() {
    for backend in [Backend::Onnx, Backend::Safetensors] {
        let engine = tiny(backend);
        let long = vec![vec![5; 72]; 2_000];
        let dropped = engine.submit(Embed::new(long, Instant::now())).unwrap();
        while engine.stats().runs == 0 {
            tokio::task::yield_now().await;
        }
        drop(dropped);
        assert_eq!(engine.stats().calls, 0);
        let embedded = submit(&engine, &["a"]).answer().await.unwrap();
        assert_eq!(embedded.vectors().len(), 1);
    }
}

#[tokio::test]
async fn what_a_model_can_not_do_is_the_caller_s_error() {
    let engine = minilm(EmbedConfig::default());
    let few = Embed { dimensions: Some(64), ..Embed::new(vec![vec![101, 102]], Instant::now()) };
    let error = engine.submit(few).err().unwrap();
    assert_eq!(error.code(), ErrorCode::InvalidRequest);
    assert!(
        error.message().starts_with("64 dimensions are asked for, and the model has 384: it does not say"),
        "{error:?}"
    );
    let config = EmbedConfig {
        embedder: EmbedderOptions { max_tokens: Some(257), ..EmbedderOptions::default() },
        ..EmbedConfig::default()
    };
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/tests/embed/tiny");
    let error = EmbedEngine::load(&folder, &config, Arc::new(Unobserved)).err().unwrap();
    assert!(error.0.ends_with("257 tokens of a text are asked for, and the model's limit is 72"), "{error}");
    let config = EmbedConfig { run_tokens: 0, ..EmbedConfig::default() };
    let error = EmbedEngine::load(&folder, &config, Arc::new(Unobserved)).err().unwrap();
    assert!(error.0.ends_with("run_tokens is 0; it must be 1 to 1099511627776"), "{error}");
}
