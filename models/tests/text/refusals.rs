//! What a file says of its tokens: acted on, or refused by name.

use weirgate_models::gguf::{Metadata, Value};
use weirgate_models::text::Tokenizer;

use crate::support::Fixture;

fn key(name: &str) -> String {
    format!("tokenizer.ggml.{name}")
}

/// The vocabulary with one entry changed; none: taken out.
fn with(fixture: &str, changes: &[(&str, Option<Value>)]) -> Result<Tokenizer, String> {
    let mut entries = Fixture::read(fixture).entries();
    for (name, value) in changes {
        match value.clone() {
            Some(value) => entries.insert(key(name), value),
            None => entries.remove(&key(name)),
        };
    }
    Tokenizer::of(&Metadata::new(entries))
}

fn refused(fixture: &str, name: &str, value: Option<Value>, says: &str) {
    let error = with(fixture, &[(name, value)]).unwrap_err();
    assert!(error.contains(says), "{error}\n{says}");
}

fn string(text: &str) -> Option<Value> {
    Some(Value::String(text.to_owned()))
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    refused("smollm", "model", string("bert"), "tokenizer.ggml.model is 'bert', and supported are gpt2 and llama");
    refused("smollm", "model", None, "tokenizer.ggml.model is missing");
    refused("smollm", "pre", string("chatglm-bpe"), "tokenizer.ggml.pre is 'chatglm-bpe', and known are gpt-2, smollm");
    refused("smollm", "pre", None, "tokenizer.ggml.pre is missing: convert the model again");
    refused(
        "llama",
        "remove_extra_whitespaces",
        Some(Value::Bool(true)),
        "remove_extra_whitespaces is true, which is not",
    );
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let strings = |texts: &[&str]| Some(Value::Strings(texts.iter().map(|&text| text.into()).collect()));
    refused("smollm", "tokens", None, "tokenizer.ggml.tokens is missing");
    refused("smollm", "tokens", strings(&[]), "tokenizer.ggml.tokens is empty");
    refused("smollm", "tokens", Some(Value::Unsigned(1)), "is a whole number, and has to be an array of strings");
    refused("smollm", "token_type", Some(Value::Integers(vec![1])), "has 1 elements, and there are 49152 tokens");
    refused(
        "smollm",
        "token_type",
        Some(Value::Integers(vec![9; 49152])),
        "has 9 for token 0, and there are the types 0 to 6",
    );
    refused(
        "smollm",
        "token_type",
        Some(Value::Integers(vec![3; 49152])),
        "49152 tokens are special, the limit is 16384",
    );
    refused("smollm", "merges", None, "tokenizer.ggml.merges is missing");
    refused("smollm", "merges", strings(&["ab"]), "has \"ab\" in place 0, which is no pair");
    refused(
        "smollm",
        "merges",
        strings(&["e r", "qq zz"]),
        "has \"qq zz\" in place 1, whose parts and whole aren't all",
    );
    refused(
        "smollm",
        "eos_token_id",
        Some(Value::Unsigned(49152)),
        "eos_token_id is 49152, and there are 49152 tokens",
    );
    refused("smollm", "bos_token_id", Some(Value::Signed(-1)), "bos_token_id is -1, and can't be negative");
    refused("llama", "scores", None, "tokenizer.ggml.scores is missing");
    refused("llama", "scores", Some(Value::Floats(vec![0.0])), "has 1 elements, and there are 32768 tokens");
}

#[test]
fn scores_that_are_no_numbers_are_only_an_order() {
    let tokenizer = with("llama", &[("scores", Some(Value::Floats(vec![f64::NAN; 32768])))]).unwrap();
    assert_eq!(tokenizer.decode(&tokenizer.encode("Hello, world!", true)), "Hello, world!");
}

#[test]
fn a_text_begins_with_bos_where_the_file_says_so() {
    let (bos, no) = (Some(Value::Unsigned(1)), Some(Value::Bool(false)));
    let begins = |tokenizer: &Tokenizer, text: &str| {
        let ids = tokenizer.encode_prompt(text, true);
        ids.iter().take_while(|&&id| Some(id) == tokenizer.bos()).count()
    };
    let yes = with("llama", &[("bos_token_id", bos.clone())]).unwrap();
    assert_eq!((yes.bos_text(), begins(&yes, "Hi"), begins(&yes, "<s>Hi"), begins(&yes, "")), ("<s>", 1, 1, 1));
    let tokenizer = with("llama", &[("bos_token_id", bos), ("add_bos_token", no)]).unwrap();
    assert_eq!((begins(&tokenizer, "Hi"), begins(&tokenizer, "<s>Hi")), (0, 1));
    // Without an id there is nothing to begin with.
    assert_eq!(with("llama", &[]).unwrap().encode_prompt("Hi", true), yes.encode("Hi", true));
    let eot = Some(Value::Unsigned(128_009));
    let tokenizer = with("llama-bpe", &[("bos_token_id", eot.clone())]).unwrap();
    assert_eq!((begins(&tokenizer, "Hi"), begins(&tokenizer, "<|eot_id|>Hi")), (1, 1));
    assert_eq!(
        with("smollm", &[("bos_token_id", Some(Value::Unsigned(1)))]).unwrap().encode_prompt("a", true).len(),
        1
    );
}

#[test]
fn an_answer_ends_at_what_the_file_and_the_vocabulary_name() {
    assert_eq!(
        with("llama-bpe", &[("eos_token_id", Some(Value::Unsigned(128_001)))]).unwrap().ends(),
        [128_001, 128_009]
    );
    let three =
        [("eos", 5u64), ("eot", 7), ("eom", 6)].map(|(name, id)| (format!("{name}_token_id"), Value::Unsigned(id)));
    let three: Vec<(&str, Option<Value>)> = three.iter().map(|(name, id)| (name.as_str(), Some(id.clone()))).collect();
    assert_eq!(with("smollm", &three).unwrap().ends(), [2, 5, 6, 7]);
}

#[test]
fn a_space_goes_before_a_text_unless_the_file_says_no() {
    let tokenizer = with("llama", &[("add_space_prefix", Some(Value::Bool(false)))]).unwrap();
    let (with_space, without) = (with("llama", &[]).unwrap().encode("under", true), tokenizer.encode("under", true));
    assert_ne!(with_space, without);
    assert_eq!((tokenizer.decode(&without), tokenizer.decode(&with_space)), ("under".into(), " under".into()));
}
