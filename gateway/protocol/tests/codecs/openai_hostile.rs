//! Bodies of OpenAI's routes that nobody means well with, and every field that is known with values of every kind.

use proptest::collection::vec;
use proptest::prelude::*;
use weirgate_protocol::openai::{
    ChatRequest, CompletionRequest, DetokenizeRequest, EmbeddingsRequest, KnownField, TokenizeRequest, known_fields,
};
use weirgate_protocol::v2::GenerateRequest;
use weirgate_protocol::{ErrorCode, Result};

use crate::hostile::{apply, change};

/// The error of each route's reader, if there is one.
fn read(of: &str, body: &[u8]) -> Result<()> {
    match of {
        "chat" | "message" => ChatRequest::decode(body).map(drop),
        "completions" | "generation" => CompletionRequest::decode(body).map(drop),
        "embeddings" => EmbeddingsRequest::decode(body).map(drop),
        "tokenize" => TokenizeRequest::decode(body).map(drop),
        "detokenize" => DetokenizeRequest::decode(body).map(drop),
        "generate" => GenerateRequest::decode(body, true).map(drop),
        other => panic!("{other} has no reader"),
    }
}

const ALL: [&str; 6] = ["chat", "completions", "embeddings", "tokenize", "detokenize", "generate"];

/// A request that says nothing but what it must, and this field. The field's path in it.
fn with(of: &str, field: &str, value: &str) -> (String, String) {
    let (open, base, close) = match of {
        "chat" => ("{", r#""messages":[{"role":"user","content":"a"}]"#, "}"),
        "message" => (r#"{"messages":[{"#, r#""role":"assistant""#, "}]}"),
        "completions" | "generation" => ("{", r#""prompt":"a""#, "}"),
        "embeddings" => ("{", r#""input":"a""#, "}"),
        "tokenize" => ("{", r#""prompt":"a""#, "}"),
        "detokenize" => ("{", r#""tokens":[]"#, "}"),
        "generate" => ("{", r#""text_input":"a""#, "}"),
        other => panic!("{other} has no base"),
    };
    let needed = base.starts_with(&format!("\"{field}\":"));
    let base = if needed { String::new() } else { format!(",{base}") };
    let path = if of == "message" { format!("messages[0].{field}") } else { field.to_owned() };
    (format!(r#"{open}"{field}":{value}{base}{close}"#), path)
}

fn each_field(check: impl Fn(&str, &KnownField)) {
    let mut count = 0;
    for known in known_fields() {
        for field in &known.fields {
            check(known.of, field);
            count += 1;
        }
    }
    assert!(count > 100, "{count}");
}

#[test]
fn refused_fields_are_refused_by_name_and_null_is_taken() {
    each_field(|of, field| {
        if field.handling != "refused" {
            return;
        }
        for odd in [r#"{"odd":[7]}"#, "777", "\"odd\"", "[[7]]"] {
            let (body, path) = with(of, field.name, odd);
            let error = read(of, body.as_bytes()).expect_err(&body);
            assert_eq!((error.code(), error.param()), (ErrorCode::UnsupportedParameter, Some(&*path)), "{error}");
        }
        let (body, _) = with(of, field.name, "null");
        assert_eq!(read(of, body.as_bytes()), Ok(()), "{body}");
    });
}

#[test]
fn ignored_fields_are_stepped_over() {
    each_field(|of, field| {
        if field.handling == "ignored" {
            for any in [r#"{"odd":[7]}"#, "777", "\"odd\"", "[[7]]", "null", "false"] {
                let (body, _) = with(of, field.name, any);
                assert_eq!(read(of, body.as_bytes()), Ok(()), "{body}");
            }
        }
    });
}

#[test]
fn honoured_fields_are_read_and_so_refuse_what_they_are_not() {
    each_field(|of, field| {
        if field.handling == "honoured" {
            let (body, path) = with(of, field.name, "[{}]");
            let error = read(of, body.as_bytes()).expect_err(&body);
            assert_eq!(error.code(), ErrorCode::InvalidRequest);
            assert!(error.param().is_some_and(|param| param.starts_with(&path)), "{body}: {error}");
        }
    });
}

#[test]
fn no_field_is_in_a_route_twice() {
    let known = known_fields();
    let of = |wanted: &str| known.iter().find(|known| known.of == wanted).unwrap().fields.iter();
    for route in ["chat", "completions", "generate"] {
        let mut names: Vec<_> = of(route).chain(of("generation")).map(|field| field.name).collect();
        names.sort_unstable();
        let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "{route}: {twice:?}");
    }
}

/// A valid body for each reader, of many fields.
const BODIES: [&str; 6] = [
    r#"{"model":"m","messages":[{"role":"system","content":[{"type":"text","text":"é\n\ud83d\ude00"}]},{"role":"user","content":"a","name":"n"}],"temperature":0.5,"top_k":-1,"logit_bias":{"1":-1e2},"seed":-7,"stop":["a","b"],"stream":true,"stream_options":{"include_usage":true},"chat_template_kwargs":{"a":{"b":[1,null]}},"tools":[],"response_format":{"type":"text"}}"#,
    r#"{"model":"m","prompt":[[1,2],[3]],"max_tokens":5,"min_p":0.1,"echo":true,"suffix":null,"stop_token_ids":[1],"user":"u"}"#,
    r#"{"model":"m","input":["a","b"],"encoding_format":"float","dimensions":3,"truncate_prompt_tokens":-1}"#,
    r#"{"messages":[{"role":"assistant","content":null}],"add_generation_prompt":true,"return_token_strs":true}"#,
    r#"{"model":"m","tokens":[1,2,4294967295]}"#,
    r#"{"id":"7","text_input":"a","parameters":{"temperature":0,"stop":"a","max_tokens":3},"stop_words":""}"#,
];

const TOKENS: [&str; 20] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"messages\":",
    "\"role\":",
    "\"user\"",
    "\"prompt\":",
    "\"stop\":",
    "\"n\":",
    "null",
    "true",
    "-",
    "1e5",
    "99999999999999999999",
    "\"x\"",
    "\\ud83d",
    "\"parameters\":",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn changed_bodies_are_read_or_refused(which in 0..BODIES.len(), changes in vec(change(), 0..5)) {
        let mut body = BODIES[which].as_bytes().to_vec();
        let none = changes.is_empty();
        changes.into_iter().for_each(|change| apply(&mut body, change));
        for of in ALL {
            match read(of, &body) {
                Ok(()) => {
                    if let Err(error) = serde_json::from_slice::<serde_json::Value>(&body) {
                        prop_assert!(error.to_string().contains("number out of range"), "{}", error);
                    }
                }
                Err(error) => {
                    prop_assert_eq!(error.row().http, 400);
                    prop_assert!(error.message().len() < 2000);
                    prop_assert!(!none || of != ALL[which], "{}", error);
                }
            }
        }
    }

    #[test]
    fn any_tokens(tokens in vec(proptest::sample::select(&TOKENS[..]), 0..30)) {
        let body = tokens.concat();
        for of in ALL {
            if let Err(error) = read(of, body.as_bytes()) {
                prop_assert_eq!(error.row().http, 400);
            }
        }
    }

    #[test]
    fn any_text_is_read_as_it_is(text in any::<String>(), name in any::<String>()) {
        let (text_json, name_json) = (serde_json::to_string(&text).unwrap(), serde_json::to_string(&name).unwrap());
        let body = format!(r#"{{"messages":[{{"role":"user","content":{text_json},"name":{name_json}}}]}}"#);
        let request = ChatRequest::decode(body.as_bytes()).unwrap();
        prop_assert_eq!(request.chat.messages[0].content.as_deref(), Some(&*text));
        prop_assert_eq!(request.chat.messages[0].name.as_deref(), Some(&*name));
        // In parts, cut anywhere, it is the same text.
        let middle = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
        let part = |text: &str| format!(r#"{{"type":"text","text":{}}}"#, serde_json::to_string(text).unwrap());
        let (left, right) = (part(&text[..middle]), part(&text[middle..]));
        let body = format!(r#"{{"messages":[{{"role":"user","content":[{left},{right}]}}]}}"#);
        let request = ChatRequest::decode(body.as_bytes()).unwrap();
        prop_assert_eq!(request.chat.messages[0].content.as_deref(), Some(&*text));
    }
}
