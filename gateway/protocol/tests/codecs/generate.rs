//! V2's generate extension, as the protocol and as Triton have it.

use serde_json::{Value, json};
use weirgate_protocol::openai::{FinishReason, Generation, Usage};
use weirgate_protocol::sse::{Parser, TooLong};
use weirgate_protocol::v2::{
    GenerateEvents, GenerateHead, GenerateRequest, Generated, generate_error_event, generate_response,
};
use weirgate_protocol::{Error, ErrorCode};

const USAGE: Usage = Usage { prompt_tokens: 5, cached_tokens: 4, completion_tokens: 3 };

#[test]
fn parameters_are_read_within_and_beside() {
    let within = r#"{"id":"7","text_input":"a","parameters":{"temperature":0,"max_tokens":3,"stop":["x"],"seed":1}}"#;
    let beside = r#"{"id":"7","text_input":"a","temperature":0,"max_tokens":3,"stop_words":["x",""],"random_seed":1}"#;
    let request = GenerateRequest::decode(within.as_bytes(), false).unwrap();
    let generation = Generation {
        temperature: 0.0,
        max_tokens: Some(3),
        stop: vec!["x".to_owned()],
        seed: Some(1),
        ..Generation::default()
    };
    let expected = GenerateRequest { id: Some("7".to_owned()), text_input: "a".to_owned(), echo: false, generation };
    assert_eq!(request, expected);
    assert_eq!(GenerateRequest::decode(beside.as_bytes(), false), Ok(expected));
    let triton = r#"{"text_input":"a","bad_words":"","stop_words":"","parameters":{"exclude_input_in_output":false}}"#;
    let request = GenerateRequest::decode(triton.as_bytes(), false).unwrap();
    assert!(request.echo && request.generation.stop.is_empty());
    assert_eq!(request.generation.max_tokens, Some(20), "as the protocol has it");
}

#[test]
fn the_route_says_whether_it_is_a_stream() {
    let decode = |parameters: &str, stream| {
        let body = format!(r#"{{"text_input":"a","parameters":{parameters}}}"#);
        GenerateRequest::decode(body.as_bytes(), stream).map(|request| request.generation.stream)
    };
    assert_eq!(decode("null", false), Ok(false));
    assert_eq!(decode(r#"{"stream":false}"#, false), Ok(false));
    assert_eq!(decode("{}", true), Ok(true));
    assert_eq!(decode(r#"{"stream":false}"#, true), Ok(false), "one event has all of it");
    let error = decode(r#"{"stream":true}"#, false).unwrap_err();
    let text = "stream is true: ask generate_stream for a stream, or ModelStreamInfer over gRPC";
    assert_eq!((error.param(), error.message()), (Some("stream"), text));
}

#[test]
fn refusals_name_the_parameter() {
    for (body, code, param, message) in [
        ("{}", ErrorCode::InvalidRequest, "text_input", "text_input is missing; give a text"),
        (
            r#"{"text_input":"a","parameters":{"temperature":3}}"#,
            ErrorCode::InvalidRequest,
            "parameters.temperature",
            "parameters.temperature is 3; it must be from 0 to 2",
        ),
        (
            r#"{"text_input":"a","seed":1,"parameters":{"seed":1}}"#,
            ErrorCode::InvalidRequest,
            "parameters.seed",
            "parameters.seed: is given twice (byte 48)",
        ),
        (
            r#"{"text_input":"a","parameters":{},"parameters":{}}"#,
            ErrorCode::InvalidRequest,
            "parameters",
            "parameters: is given twice (byte 47)",
        ),
        (
            r#"{"text_input":"a","parameters":{"best_of":2}}"#,
            ErrorCode::UnsupportedParameter,
            "parameters.best_of",
            "parameters.best_of is 2, and one answer is made for each prompt: leave it out, or give 1",
        ),
        (
            r#"{"text_input":"a","bad_words":["b"]}"#,
            ErrorCode::UnsupportedParameter,
            "bad_words",
            "bad_words is given, and tokens are taken out by `logit_bias` alone: leave it out, or give an empty one",
        ),
    ] {
        let error = GenerateRequest::decode(body.as_bytes(), false).expect_err(body);
        assert_eq!((error.code(), error.param(), error.message()), (code, Some(param), message));
    }
    let many = vec!["\"a\""; 20].join(",");
    let body = format!(r#"{{"text_input":"a","stop":[{many}],"stop_words":[{many}]}}"#);
    let error = GenerateRequest::decode(body.as_bytes(), false).unwrap_err();
    assert_eq!(error.message(), "stop and stop_words have 40 strings together; the limit is 32");
}

#[test]
fn answers_to_the_byte() {
    let head = GenerateHead { id: Some("7"), model_name: "m", model_version: Some("1") };
    let expected = concat!(
        r#"{"id":"7","model_name":"m","model_version":"1","text_output":"a\n","#,
        r#""details":{"finish_reason":"stop","prompt_tokens":5,"completion_tokens":3}}"#
    );
    assert_eq!(generate_response(&head, "a\n", FinishReason::Stop, &USAGE), expected);
    let head = GenerateHead { id: None, model_name: "m", model_version: None };
    let answer: Value = serde_json::from_slice(&generate_response(&head, "", FinishReason::Length, &USAGE)).unwrap();
    let details = json!({"finish_reason": "length", "prompt_tokens": 5, "completion_tokens": 3});
    assert_eq!(answer, json!({"model_name": "m", "text_output": "", "details": details}));
    let events = GenerateEvents::new(&head);
    let text = "data: {\"model_name\":\"m\",\"text_output\":\"é\",\"done\":false}\n\n";
    assert_eq!(events.text("é"), text);
    let last = concat!(
        "data: {\"model_name\":\"m\",\"text_output\":\"\",\"details\":{\"finish_reason\":\"stop\",",
        "\"prompt_tokens\":5,\"completion_tokens\":3},\"done\":true}\n\n"
    );
    assert_eq!(events.last("", FinishReason::Stop, &USAGE), last);
    assert_eq!(generate_error_event(&Error::engine("a\nb")), "data: {\"error\":\"a\\nb\"}\n\n");
}

/// What is written is read again, whole and in events, however the bytes are cut.
#[test]
fn answers_come_back_as_they_were_written() {
    let head = GenerateHead { id: Some("7"), model_name: "m", model_version: None };
    let read = |json: &[u8]| Generated::decode(json).unwrap();
    let text = |text: &str, reason: Option<&str>| Generated::Text {
        text: text.to_owned(),
        finish_reason: reason.map(str::to_owned),
    };
    let whole = generate_response(&head, "a \"b\"", FinishReason::Length, &USAGE);
    assert_eq!(read(&whole), text("a \"b\"", Some("length")));

    let events = GenerateEvents::new(&head);
    let written = [
        events.text("data: \n\n"),
        events.last("", FinishReason::Stop, &USAGE),
        generate_error_event(&Error::engine("it broke")),
    ];
    let written = written.concat();
    for cut in 1..written.len() {
        let mut parser = Parser::default();
        let mut seen = Vec::new();
        for piece in written.chunks(cut) {
            let pushed: Result<(), TooLong> = parser.push(piece, |event| {
                seen.push(read(event));
                Ok(())
            });
            pushed.unwrap();
        }
        let broke = Generated::Error("it broke".to_owned());
        assert_eq!(seen, [text("data: \n\n", None), text("", Some("stop")), broke], "cut at {cut}");
    }
}

#[test]
fn answers_that_are_none_are_their_servers_fault() {
    for json in ["", "{}", "[]", r#"{"text_output":1}"#, r#"{"text_output":"a"}}"#] {
        let error = Generated::decode(json.as_bytes()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::EngineFailed, "{json}: {error}");
    }
    let foreign = br#"{"model_name":"m","text_output":"a","details":null,"log_probs":[0.1]}"#;
    assert_eq!(Generated::decode(foreign), Ok(Generated::Text { text: "a".to_owned(), finish_reason: None }));
}
