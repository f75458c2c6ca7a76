//! Files with bytes that were changed: whatever they are, they are read or refused, without a panic.

use std::cell::Cell;
use std::fs;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use weirgate_models::embed::{EmbedTokenizer, TokenizerOptions, Truncation};
use weirgate_models::safetensors::Safetensors;

use super::tiny;

/// Some bytes, each put in another's place.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)
}

fn changed(bytes: &[u8], within: usize, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (at, byte) in changes {
        bytes[at.index(within)] = *byte;
    }
    bytes
}

#[test]
fn changed_tokenizers_are_read_or_refused() {
    let whole = fs::read(tiny().join("tokenizer.json")).unwrap();
    let (read, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    let result = runner.run(&(changes(), "\\PC{0,40}"), |(changes, text)| {
        let options = TokenizerOptions { max_tokens: 16, lowercases: false, prompt: String::new() };
        match EmbedTokenizer::parse(&changed(&whole, whole.len(), &changes), options) {
            Ok(tokenizer) => {
                read.set(read.get() + 1);
                let cut = tokenizer.encode(&text, Truncation::CutEnd).unwrap();
                prop_assert!(cut.len() <= 16);
                let whole = tokenizer.encode(&text, Truncation::Refuse);
                prop_assert!(whole.is_err_and(|error| error.tokens > 16) || cut.len() <= 16);
            }
            Err(error) => {
                refused.set(refused.get() + 1);
                prop_assert!(!error.is_empty());
            }
        }
        Ok(())
    });
    result.unwrap();
    let (read, refused) = (read.get(), refused.get());
    assert!(read > 0 && refused > 0, "{read} were read, {refused} refused");
}

#[test]
fn changed_tables_of_tensors_are_read_or_refused() {
    let whole = fs::read(tiny().join("model.safetensors")).unwrap();
    let table = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    let file = tempfile::NamedTempFile::new().unwrap();
    let (read, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 400, ..Config::default() });
    let result = runner.run(&changes(), |changes| {
        fs::write(file.path(), changed(&whole, table, &changes)).unwrap();
        match Safetensors::open(file.path()) {
            Ok(tensors) => {
                read.set(read.get() + 1);
                for name in tensors.names() {
                    let _ = tensors.floats(name, &[32]);
                    let _ = tensors.floats(name, &[32, 32]);
                }
            }
            Err(error) => {
                refused.set(refused.get() + 1);
                prop_assert!(error.0.contains(&file.path().display().to_string()));
            }
        }
        Ok(())
    });
    result.unwrap();
    let (read, refused) = (read.get(), refused.get());
    assert!(read > 0 && refused > 0, "{read} were read, {refused} refused");
}
