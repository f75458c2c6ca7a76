//! Vocabularies of `vocabularies/`, as the metadata of a GGUF file, and files that the tests need.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use weirgate_models::gguf::{Metadata, Value};
use weirgate_models::text::Tokenizer;

/// What models/make/vocabularies.py wrote.
#[derive(Deserialize)]
pub struct Fixture {
    pub model: String,
    pub pre: String,
    pub size: usize,
    /// Id, text, kind, and the score where there are any.
    tokens: Vec<(u32, String, i64, Option<f64>)>,
    #[serde(default)]
    pub merges: Vec<String>,
    /// A text, its ids, and its ids where control tokens are looked for.
    pub cases: Vec<(String, Vec<u32>, Vec<u32>)>,
    /// Ids and their text, as another reads them.
    #[serde(default)]
    pub decoded: Vec<(Vec<u32>, String)>,
}

impl Fixture {
    pub fn read(name: &str) -> Fixture {
        let path = folder().join("vocabularies").join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // Rows have three or four columns.
        let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
        for row in value["tokens"].as_array_mut().unwrap() {
            row.as_array_mut().unwrap().resize(4, serde_json::Value::Null);
        }
        serde_json::from_value(value).unwrap()
    }

    /// The vocabulary's tokens under their own ids; those that were left out are unused and have no text.
    pub fn metadata(&self) -> Metadata {
        Metadata::new(self.entries())
    }

    /// The same, to be changed.
    pub fn entries(&self) -> HashMap<String, Value> {
        let mut texts: Vec<Box<str>> = vec!["".into(); self.size];
        let mut kinds = vec![5; self.size];
        let mut scores = vec![0.0; self.size];
        for (id, text, kind, score) in &self.tokens {
            let at = *id as usize;
            (texts[at], kinds[at], scores[at]) = (text.as_str().into(), *kind, score.unwrap_or_default());
        }
        let merges = self.merges.iter().map(|merge| merge.as_str().into()).collect();
        HashMap::from([
            ("tokenizer.ggml.model".to_owned(), Value::String(self.model.clone())),
            ("tokenizer.ggml.pre".to_owned(), Value::String(self.pre.clone())),
            ("tokenizer.ggml.tokens".to_owned(), Value::Strings(texts)),
            ("tokenizer.ggml.token_type".to_owned(), Value::Integers(kinds)),
            ("tokenizer.ggml.scores".to_owned(), Value::Floats(scores)),
            ("tokenizer.ggml.merges".to_owned(), Value::Strings(merges)),
        ])
    }

    pub fn tokenizer(&self) -> Tokenizer {
        Tokenizer::of(&self.metadata()).unwrap()
    }

    /// Tokens of a byte-level vocabulary by their text.
    pub fn normal(&self) -> impl Iterator<Item = (String, u32)> {
        self.tokens.iter().filter(|(_, _, kind, _)| *kind == 1).map(|(id, text, _, _)| (text.clone(), *id))
    }
}

/// The folder of these tests.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/text")
}

/// SmolLM2's file, which `make setup-models` puts in place.
pub fn smollm2() -> PathBuf {
    let models = std::env::var_os("WEIRGATE_MODELS").filter(|value| !value.is_empty());
    let models = models.map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/models"), PathBuf::from);
    let path = models.join("smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
    assert!(path.exists(), "{} is not there: run `make setup-models`, or set WEIRGATE_MODELS", path.display());
    path
}
