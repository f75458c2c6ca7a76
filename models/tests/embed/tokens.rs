//! Tokens, held against those of Hugging Face's tokenizers, of fixed texts and of random ones.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use weirgate_models::embed::{Backend, EmbedTokenizer, TokenizerOptions, TooLong, Truncation};

use super::{fixture, load, minilm, tiny};

fn options(max_tokens: usize) -> TokenizerOptions {
    TokenizerOptions { max_tokens, lowercases: false, prompt: String::new() }
}

fn parse(json: &str) -> Result<EmbedTokenizer, String> {
    EmbedTokenizer::parse(json.as_bytes(), options(64))
}

#[test]
fn texts_have_the_tokens_that_hugging_face_gives_them() {
    for (name, folder) in [("minilm", minilm()), ("tiny", tiny())] {
        let fixture = fixture(name);
        let embedder = load(&folder, Backend::Any);
        let tokenizer = embedder.tokenizer();
        assert_eq!(tokenizer.max_tokens(), fixture.max_tokens);
        let mut wrong = Vec::new();
        let mut long = 0;
        for case in &fixture.cases {
            let cut = tokenizer.encode(&case.text, Truncation::CutEnd).unwrap();
            let limit = fixture.max_tokens;
            let expected = match case.whole > limit {
                true => Err(TooLong { tokens: case.whole, limit }),
                false => Ok(case.ids.clone()),
            };
            long += usize::from(expected.is_err());
            let whole = tokenizer.encode(&case.text, Truncation::Refuse);
            if cut != case.ids || whole != expected {
                wrong.push(format!("{:?}: {cut:?} {:?}, {whole:?}", case.text, case.ids));
            }
        }
        assert!(wrong.is_empty(), "{name}: {} of {}: {wrong:#?}", wrong.len(), fixture.cases.len());
        assert!(long > 0, "{name} has no text that is too long");
    }
}

#[test]
fn random_texts_have_the_tokens_of_hugging_face_s_crate() {
    let path = minilm().join("tokenizer.json");
    let mut reference = tokenizers::Tokenizer::from_file(&path).unwrap();
    reference.with_padding(None);
    reference.with_truncation(None).unwrap();
    let tokenizer = EmbedTokenizer::parse(&std::fs::read(&path).unwrap(), options(1 << 20)).unwrap();
    // Characters that were there when the reference's tables were made: it knows no categories of younger ones.
    let strategy = prop::collection::vec(
        prop_oneof![
            4 => "[a-zA-Z0-9 .,!?'-]{0,12}",
            2 => "[\u{a0}-\u{17f}\u{300}-\u{36f}\u{391}-\u{3c9}\u{410}-\u{44f}]{0,8}",
            1 => "[\u{5d0}-\u{5ea}\u{621}-\u{64a}\u{905}-\u{939}\u{93e}-\u{94d}\u{e01}-\u{e3a}]{0,8}",
            1 => "[\u{3041}-\u{30ff}\u{4e00}-\u{4fff}\u{ac00}-\u{ad00}\u{20000}-\u{20010}]{0,6}",
            1 => "[\u{0}-\u{1f}\u{7f}-\u{9f}\u{200b}-\u{2064}\u{feff}\u{fffd}\u{e000}\u{1f600}-\u{1f64f}]{0,4}",
            1 => prop::sample::select(vec!["[SEP]", "[CLS]", "[MASK]x", "[sep]", "##ing", "İ", "ǅ", "ﬁ"]).prop_map(str::to_owned),
        ],
        0..8,
    );
    let mut runner = TestRunner::new(Config { cases: 2_000, ..Config::default() });
    let result = runner.run(&strategy, |parts| {
        let text = parts.concat();
        let right = reference.encode(text.as_str(), true).unwrap().get_ids().to_vec();
        let whole = tokenizer.encode(&text, Truncation::Refuse).unwrap();
        prop_assert_eq!(&whole, &right, "{:?}", text);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn tokens_that_a_caller_made_are_taken_as_they_are() {
    let embedder = load(&tiny(), Backend::Any);
    let tokenizer = embedder.tokenizer();
    let ids: Vec<u32> = (0..100).collect();
    assert_eq!(tokenizer.fit(ids[..72].to_vec(), Truncation::Refuse).unwrap(), ids[..72]);
    assert_eq!(tokenizer.fit(ids.clone(), Truncation::CutEnd).unwrap(), ids[..72]);
    let error = tokenizer.fit(ids, Truncation::Refuse).unwrap_err().to_string();
    assert_eq!(error, "the text has 100 tokens, and the model takes 72; shorten it, or ask for it to be truncated");
}

#[test]
fn a_prompt_goes_before_each_text_and_lower_case_comes_first() {
    let json = std::fs::read(tiny().join("tokenizer.json")).unwrap();
    let plain = EmbedTokenizer::parse(&json, options(64)).unwrap();
    let with = TokenizerOptions { prompt: "The ".to_owned(), lowercases: true, ..options(64) };
    let with = EmbedTokenizer::parse(&json, with).unwrap();
    let both = |a: &str, b: &str| {
        let [a, b] = [with.encode(a, Truncation::Refuse), plain.encode(b, Truncation::Refuse)];
        assert_eq!(a.unwrap(), b.unwrap());
    };
    both("quick brown FOX", "the quick brown fox");
    // In lower case it is no special token any more.
    both("[SEP]", "the [sep]");
}

/// A file that is as small as it can be, with one thing changed.
fn small(what: &str, with: &str) -> String {
    let json = r###"{"added_tokens": [{"id": 1, "content": "[X]"}],
        "normalizer": {"type": "BertNormalizer", "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[X]", 1], "cls": ["[X]", 1]},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "[X]": 1, "a": 2, "##b": 3}}}"###;
    assert!(json.contains(what), "{what}");
    json.replacen(what, with, 1)
}

#[test]
fn files_of_other_kinds_are_refused_by_their_name() {
    let tokenizer = parse(&small("", "")).unwrap();
    assert_eq!(tokenizer.encode("Ab[X]c ab", Truncation::Refuse).unwrap(), [1, 2, 3, 1, 0, 2, 3, 1]);
    for (what, with, wrong) in [
        (r#""WordPiece""#, r#""Unigram""#, "model is Unigram, and supported is WordPiece"),
        (r#""BertNormalizer""#, r#""Precompiled""#, "normalizer is Precompiled, and supported is BertNormalizer"),
        (r#""BertPreTokenizer""#, r#""Metaspace""#, "pre_tokenizer is Metaspace, and supported is BertPreTokenizer"),
        (
            r#""BertProcessing""#,
            r#""ByteLevel""#,
            "post_processor is ByteLevel, and supported are TemplateProcessing, BertProcessing and RobertaProcessing",
        ),
        (
            r#""content": "[X]""#,
            r#""content": "[X]", "single_word": true"#,
            "added token '[X]' is single_word, which is not supported",
        ),
        (
            r#""content": "[X]""#,
            r#""content": "[X]", "normalized": true"#,
            "added token '[X]' is normalized, which is not supported",
        ),
        (r#""[UNK]": 0, "#, "", "vocab has no '[UNK]', the unknown token"),
        (r#""a": 2"#, r#""a": -2"#, "vocab has no id for 'a' that is a number of 32 bits"),
    ] {
        assert_eq!(parse(&small(what, with)).unwrap_err(), wrong);
    }
    let roberta = parse(&small(r#""BertProcessing""#, r#""RobertaProcessing""#)).unwrap();
    assert_eq!(roberta.encode("a", Truncation::Refuse).unwrap(), [1, 2, 1]);
    let template = r#""type": "TemplateProcessing", "special_tokens": {"[X]": {"ids": [1]}}, "single": "#;
    let whole = r#""type": "BertProcessing", "sep": ["[X]", 1], "cls": ["[X]", 1]"#;
    let single = |parts: &str| parse(&small(whole, &format!("{template}{parts}")));
    let sequence = r#"{"Sequence": {"id": "A", "type_id": 0}}"#;
    let tokenizer = single(&format!(r#"[{sequence}, {{"SpecialToken": {{"id": "[X]", "type_id": 0}}}}]"#)).unwrap();
    assert_eq!(tokenizer.encode("a", Truncation::Refuse).unwrap(), [2, 1]);
    for (parts, wrong) in [
        ("[]".to_owned(), "post_processor has a template without the text"),
        (format!("[{sequence}, {sequence}]"), "post_processor has a template that is not supported"),
        (
            r#"[{"Sequence": {"id": "A", "type_id": 1}}]"#.to_owned(),
            "post_processor has a template that is not supported",
        ),
        (
            r#"[{"SpecialToken": {"id": "[Y]", "type_id": 0}}]"#.to_owned(),
            "post_processor names '[Y]', and has no ids of it",
        ),
    ] {
        let error = single(&parts).unwrap_err();
        assert!(error.starts_with(wrong), "{error}");
    }
    let error = EmbedTokenizer::parse(small("", "").as_bytes(), options(2)).unwrap_err();
    assert_eq!(error, "2 tokens begin and end each text, and the model takes 2");
}
