//! Ids, held against those that others give, and against Hugging Face's crate on random texts.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use weirgate_models::gguf::GgufFile;
use weirgate_models::text::{Detokenizer, TokenKind, Tokenizer, unsealed};

use crate::support::{Fixture, smollm2};

const ALL: [&str; 6] = ["smollm", "llama-bpe", "qwen2", "gpt-2", "tekken", "llama"];
const BYTE_LEVEL: [&str; 5] = ["smollm", "llama-bpe", "qwen2", "gpt-2", "tekken"];

#[test]
fn texts_have_the_ids_that_others_give_them() {
    for name in ALL {
        let fixture = Fixture::read(name);
        let tokenizer = fixture.tokenizer();
        assert!(fixture.cases.len() >= 60, "{name} has {} texts", fixture.cases.len());
        let mut wrong = Vec::new();
        for (text, plain, special) in &fixture.cases {
            let (found, found_special) = (tokenizer.encode(text, false), tokenizer.encode(text, true));
            if &found != plain || &found_special != special {
                wrong.push(format!("{text:?}: {found:?} {plain:?}, {found_special:?} {special:?}"));
            }
        }
        assert!(wrong.is_empty(), "{name}: {} of {}: {wrong:#?}", wrong.len(), fixture.cases.len());
    }
}

#[test]
fn texts_come_back_from_their_ids() {
    for name in ALL {
        let fixture = Fixture::read(name);
        let tokenizer = fixture.tokenizer();
        for (text, plain, _) in &fixture.cases {
            let decoded = tokenizer.decode(plain);
            let same = match name {
                // Composed on the way in.
                "qwen2" => icu_normalizer::ComposingNormalizerBorrowed::new_nfc().normalize(text) == decoded,
                // The vocabulary has no tokens for some bytes.
                "smollm" => decoded == *text || text.contains(['\u{4}', '\u{f0000}']),
                _ => decoded == *text,
            };
            assert!(same || name == "llama", "{name}: {text:?} became {decoded:?}");
        }
        for (ids, text) in &fixture.decoded {
            assert_eq!(&tokenizer.decode(ids), text, "{name}: {ids:?}");
        }
    }
}

/// Hugging Face's tokenizer of the same parts, written as the models' own files have it.
fn reference(name: &str, fixture: &Fixture) -> tokenizers::Tokenizer {
    let llama3 = |digits: &str| {
        format!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
    };
    let (high, low) = (r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]");
    let prefix = r"[^\r\n\p{L}\p{N}]?";
    let rest = r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let pattern = match name {
        "llama-bpe" => Some(llama3("{1,3}")),
        "qwen2" => Some(llama3("")),
        "tekken" => Some(format!("{prefix}{high}*{low}+|{prefix}{high}+{low}*|{rest}")),
        _ => None,
    };
    let mut steps = Vec::new();
    if name == "smollm" {
        steps.push(json!({"type": "Digits", "individual_digits": true}));
    }
    if let Some(pattern) = &pattern {
        let pattern = json!({"Regex": pattern});
        steps.push(json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false}));
    }
    let of_its_own = pattern.is_none();
    steps.push(json!({
        "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": of_its_own,
    }));
    let vocabulary: HashMap<String, u32> = fixture.normal().collect();
    let whole = json!({
        "version": "1.0",
        "added_tokens": [],
        "normalizer": if name == "qwen2" { json!({"type": "NFC"}) } else { json!(null) },
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "model": {
            "type": "BPE",
            "vocab": vocabulary,
            "merges": fixture.merges,
            "ignore_merges": matches!(name, "llama-bpe" | "tekken"),
        },
    });
    whole.to_string().parse().unwrap()
}

/// Blocks that have been as they are for long: those of one who does not know a new letter yet aren't ours.
const OLD: &[std::ops::RangeInclusive<char>] = &[
    '\0'..='\u{52f}',
    '\u{5d0}'..='\u{5ea}',
    '\u{620}'..='\u{669}',
    '\u{900}'..='\u{97f}',
    '\u{e00}'..='\u{e7f}',
    '\u{1e00}'..='\u{206f}',
    '\u{2150}'..='\u{218b}',
    '\u{3040}'..='\u{30ff}',
    '\u{4e00}'..='\u{9fef}',
    '\u{ac00}'..='\u{d7a3}',
    '\u{e000}'..='\u{e0ff}',
    '\u{ff00}'..='\u{ffef}',
    '\u{1f300}'..='\u{1f64f}',
    '\u{20000}'..='\u{2a6d6}',
];

/// Texts that are hard to split: pieces of many kinds, in any order.
fn texts() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        4 => prop::sample::select(vec![
            " ", "  ", "\n", "\r", "\r\n", "\t", "'", "'s", "'T", "'Re", "'ſ", "'ll", "'VE", "/", "//", ".", "!", "_", "a",
            "ab", "A", "AB", "aB", "the", " the", "1", "12", "1234", "½", "٣", "é", "e\u{301}", "\u{301}", "\u{302}", "ʰ",
            "ª", "ǅ", "好", "日本", "\u{a0}", "\u{3000}", "\u{85}", "\u{200b}", "\u{feff}", "\u{2028}", "😀", "👨\u{200d}👩", "क्ष",
        ]).prop_map(str::to_owned),
        2 => prop::char::ranges(OLD.into()).prop_map(String::from),
        1 => "[a-zA-Z]{1,12}",
        1 => "[ \n\r\t]{1,9}",
    ];
    prop::collection::vec(pieces, 0..24).prop_map(|pieces| pieces.concat())
}

fn check(cases: u32, test: impl Fn(String) -> Result<(), TestCaseError>) {
    TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() }).run(&texts(), test).unwrap();
}

#[test]
fn random_texts_have_the_ids_that_hugging_face_gives_them() {
    for name in BYTE_LEVEL {
        let fixture = Fixture::read(name);
        let (tokenizer, reference) = (fixture.tokenizer(), reference(name, &fixture));
        check(2000, |text| {
            let expected = reference.encode(text.as_str(), false).unwrap();
            prop_assert_eq!(tokenizer.encode(&text, false), expected.get_ids(), "{} {:?}", name, text);
            Ok(())
        });
    }
}

#[test]
fn pieces_of_a_stream_are_the_text_of_all() {
    for name in ALL {
        let fixture = Fixture::read(name);
        let tokenizer = fixture.tokenizer();
        let known: Vec<u32> = fixture.cases.iter().flat_map(|case| case.2.iter().copied()).collect();
        let ids =
            prop::collection::vec(prop_oneof![prop::sample::select(known), 0..tokenizer.size() as u32 + 9], 0..40);
        let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
        let run = TestRunner::new(config).run(&ids, |ids| {
            let mut detokenizer = Detokenizer::new(&tokenizer, true);
            let mut pieces = Vec::new();
            for &id in &ids {
                let mut piece = String::new();
                detokenizer.push(&tokenizer, id, &mut piece);
                pieces.push(piece);
            }
            let mut last = String::new();
            detokenizer.finish(&mut last);
            pieces.push(last);
            prop_assert_eq!(pieces.concat(), tokenizer.decode(&ids));
            Ok(())
        });
        run.unwrap();
    }
}

#[test]
fn a_sealed_text_has_no_control_tokens_and_comes_back() {
    for name in ["smollm", "llama-bpe", "qwen2", "llama"] {
        let fixture = Fixture::read(name);
        let tokenizer = fixture.tokenizer();
        let is_control = |id: &u32| tokenizer.kind(*id) == Some(TokenKind::Control);
        for (text, plain, special) in &fixture.cases {
            let sealed = tokenizer.seal(text);
            let found = tokenizer.encode(&sealed, true);
            assert_eq!(special.iter().any(is_control), sealed != *text, "{name}: {text:?}");
            assert!(!found.iter().any(is_control), "{name}: {text:?}");
            assert_eq!(&found, plain, "{name}: {text:?}");
            assert_eq!(unsealed(&sealed), *text);
        }
    }
}

#[test]
fn the_unknown_token_is_found_like_control_tokens() {
    let tokenizer = Fixture::read("llama").tokenizer();
    // As llama.cpp has it, of the same vocabulary.
    assert_eq!(tokenizer.encode("a<unk>", true), [1032, 0]);
    assert_eq!(tokenizer.encode("a<unk>", false).last(), Some(&29535));
    assert_eq!(tokenizer.encode(&tokenizer.seal("a<unk>"), true), tokenizer.encode("a<unk>", false));
}

#[test]
fn smollm2_is_read_from_its_file() {
    let file = GgufFile::open(&smollm2()).unwrap();
    let tokenizer = Tokenizer::of(file.metadata()).unwrap();
    let fixture = Fixture::read("smollm");
    for (text, plain, special) in &fixture.cases {
        assert_eq!((&tokenizer.encode(text, false), &tokenizer.encode(text, true)), (plain, special), "{text:?}");
    }
    assert_eq!((tokenizer.bos_text(), tokenizer.eos_text()), ("<|im_start|>", "<|im_end|>"));
    assert_eq!(tokenizer.ends(), [0, 2]);
    // Its file says that no token goes before a text.
    assert_eq!(tokenizer.encode_prompt("Hi", true), tokenizer.encode("Hi", true));
}
