//! Answers of OpenAI's routes, to the byte, and read again as clients do.

use base64::Engine;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use weirgate_protocol::openai::{
    AnswerHead, ChatChunks, Choice, CompletionChunks, Encoding, FinishReason, StreamOptions, Usage, chat_completion,
    detokenized, done_event, embeddings, error_event, text_completion, tokenized,
};
use weirgate_protocol::{Error, ErrorCode};

const HEAD: AnswerHead<'_> = AnswerHead { request_id: "r1", created: 7, model: "m", fingerprint: None };
const USAGE: Usage = Usage { prompt_tokens: 5, cached_tokens: 4, completion_tokens: 3 };
const WITH_USAGE: StreamOptions = StreamOptions { include_usage: true, continuous_usage: false };

/// What an event carries.
fn data(event: &Bytes) -> &str {
    let text = std::str::from_utf8(event).expect("UTF-8");
    let text = text.strip_prefix("data: ").and_then(|text| text.strip_suffix("\n\n")).expect("an event");
    assert!(!text.contains('\n'), "an event is one line");
    text
}

fn json_of(event: &Bytes) -> Value {
    serde_json::from_str(data(event)).expect("JSON")
}

#[test]
fn a_whole_chat_to_the_byte() {
    let expected = concat!(
        r#"{"id":"chatcmpl-r1","object":"chat.completion","created":7,"model":"m","system_fingerprint":null,"#,
        r#""choices":[{"index":0,"message":{"role":"assistant","content":"a\"\n","refusal":null},"logprobs":null,"#,
        r#""finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8,"#,
        r#""prompt_tokens_details":{"cached_tokens":4}}}"#
    );
    assert_eq!(chat_completion(&HEAD, "a\"\n", FinishReason::Stop, &USAGE), expected);
    let head = AnswerHead { fingerprint: Some("m-00001"), model: "a\"b", ..HEAD };
    let answer: Value =
        serde_json::from_slice(&chat_completion(&head, "", FinishReason::Length, &Usage::default())).unwrap();
    assert_eq!((&answer["system_fingerprint"], &answer["model"]), (&json!("m-00001"), &json!("a\"b")));
    assert_eq!(answer["choices"][0]["finish_reason"], "length");
}

#[test]
fn a_streamed_chat_to_the_byte() {
    let chunks = ChatChunks::new(&HEAD, StreamOptions::default());
    let begin = concat!(
        r#"{"id":"chatcmpl-r1","object":"chat.completion.chunk","created":7,"model":"m","#,
        r#""system_fingerprint":null,"choices":["#
    );
    let first = r#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}"#;
    assert_eq!(data(&chunks.first(&USAGE)), format!("{begin}{first}"));
    let text = r#"{"index":0,"delta":{"content":"é\n"},"logprobs":null,"finish_reason":null}]}"#;
    assert_eq!(data(&chunks.text("é\n", &USAGE)), format!("{begin}{text}"));
    let last = r#"{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}"#;
    assert_eq!(data(&chunks.last(FinishReason::Stop, &USAGE)), format!("{begin}{last}"));
    assert_eq!(chunks.usage(&USAGE), None);
    assert_eq!(data(&done_event()), "[DONE]");
}

#[test]
fn usage_is_told_where_it_is_asked_for() {
    let told = json!({
        "prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8, "prompt_tokens_details": {"cached_tokens": 4}
    });
    let chunks = ChatChunks::new(&HEAD, WITH_USAGE);
    for event in [chunks.first(&USAGE), chunks.text("a", &USAGE), chunks.last(FinishReason::Stop, &USAGE)] {
        let chunk = json_of(&event);
        assert_eq!(chunk.get("usage"), Some(&Value::Null), "{chunk}");
    }
    let last = json_of(&chunks.usage(&USAGE).unwrap());
    assert_eq!((&last["choices"], &last["usage"]), (&json!([]), &told));
    let chunks = ChatChunks::new(&HEAD, StreamOptions { continuous_usage: true, ..WITH_USAGE });
    assert_eq!(json_of(&chunks.text("a", &USAGE))["usage"], told);
    assert_eq!(json_of(&chunks.usage(&USAGE).unwrap())["usage"], told);
    let chunks = ChatChunks::new(&HEAD, StreamOptions { include_usage: false, continuous_usage: true });
    assert_eq!(json_of(&chunks.text("a", &USAGE)).get("usage"), None);
    assert_eq!(chunks.usage(&USAGE), None);
}

#[test]
fn texts_have_a_choice_for_each_prompt() {
    let choices =
        [Choice { text: "a", reason: FinishReason::Stop }, Choice { text: "\u{1}", reason: FinishReason::Length }];
    let mut usage = USAGE;
    usage += USAGE;
    let expected = concat!(
        r#"{"id":"cmpl-r1","object":"text_completion","created":7,"model":"m","system_fingerprint":null,"choices":["#,
        r#"{"text":"a","index":0,"logprobs":null,"finish_reason":"stop"},"#,
        r#"{"text":"\u0001","index":1,"logprobs":null,"finish_reason":"length"}],"#,
        r#""usage":{"prompt_tokens":10,"completion_tokens":6,"total_tokens":16,"#,
        r#""prompt_tokens_details":{"cached_tokens":8}}}"#
    );
    assert_eq!(text_completion(&HEAD, &choices, &usage), expected);
    let chunks = CompletionChunks::new(&HEAD, WITH_USAGE);
    let chunk = json_of(&chunks.text(1, "b", &USAGE));
    assert_eq!(chunk["choices"], json!([{"text": "b", "index": 1, "logprobs": null, "finish_reason": null}]));
    assert_eq!((&chunk["object"], &chunk["id"]), (&json!("text_completion"), &json!("cmpl-r1")));
    let chunk = json_of(&chunks.last(1, FinishReason::Length, &USAGE));
    assert_eq!(chunk["choices"], json!([{"text": "", "index": 1, "logprobs": null, "finish_reason": "length"}]));
    assert_eq!(json_of(&chunks.usage(&USAGE).unwrap())["choices"], json!([]));
}

#[test]
fn errors_within_a_stream_are_objects() {
    let error = Error::deadline("too\nlate", weirgate_protocol::RetryClass::MayHaveExecuted);
    let expected = r#"{"error":{"message":"too\nlate","type":"api_error","param":null,"code":"deadline_exceeded"}}"#;
    assert_eq!(data(&error_event(&error)), expected);
    let error = Error::context_exceeded("too long").with_param("messages");
    let error = &json_of(&error_event(&error))["error"];
    assert_eq!((&error["param"], &error["code"]), (&json!("messages"), &json!("context_length_exceeded")));
}

#[test]
fn embeddings_in_both_encodings() {
    let vectors = [vec![1.0f32, -0.5, 1e-7], vec![0.1]];
    let expected = concat!(
        r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0,-0.5,1e-7]},"#,
        r#"{"object":"embedding","index":1,"embedding":[0.1]}],"model":"m","#,
        r#""usage":{"prompt_tokens":9,"total_tokens":9}}"#
    );
    assert_eq!(embeddings("m", &vectors, Encoding::Float, 9).unwrap(), expected);
    let answer: Value = serde_json::from_slice(&embeddings("m", &vectors, Encoding::Base64, 9).unwrap()).unwrap();
    let bytes =
        base64::engine::general_purpose::STANDARD.decode(answer["data"][0]["embedding"].as_str().unwrap()).unwrap();
    let read: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    assert_eq!(read, vectors[0]);
    for encoding in [Encoding::Float, Encoding::Base64] {
        let error = embeddings("m", &[vec![0.0], vec![0.0, f32::NAN]], encoding, 1).unwrap_err();
        assert_eq!(error.code(), ErrorCode::EngineFailed);
        assert_eq!(error.message(), "number 1 of the embedding of input 1 is NaN or infinite");
    }
    let none: [Vec<f32>; 0] = [];
    assert!(embeddings("m", &none, Encoding::Float, 0).is_ok());
}

#[test]
fn tokens_and_their_text() {
    let texts = ["a".to_owned(), "\"".to_owned()];
    let expected = r#"{"count":2,"max_model_len":64,"tokens":[1,22],"token_strs":["a","\""]}"#;
    assert_eq!(tokenized(&[1, 22], Some(&texts), 64), expected);
    assert_eq!(tokenized(&[], None, 64), r#"{"count":0,"max_model_len":64,"tokens":[],"token_strs":null}"#);
    assert_eq!(detokenized("a\"b"), r#"{"prompt":"a\"b"}"#);
}

proptest! {
    #[test]
    fn any_text_is_read_again_whole_and_in_pieces(text in any::<String>(), id in any::<String>(), cut in 0usize..20) {
        let head = AnswerHead { request_id: &id, model: &text, ..HEAD };
        let whole: Value = serde_json::from_slice(&chat_completion(&head, &text, FinishReason::Stop, &USAGE)).unwrap();
        prop_assert_eq!(&whole["choices"][0]["message"]["content"], &json!(text));
        prop_assert_eq!(&whole["model"], &json!(text));
        prop_assert_eq!(&whole["id"], &json!(format!("chatcmpl-{id}")));
        let middle = text.char_indices().nth(cut).map_or(text.len(), |(at, _)| at);
        let (chat, completion) = (ChatChunks::new(&head, WITH_USAGE), CompletionChunks::new(&head, WITH_USAGE));
        let (mut of_chat, mut of_completion) = (String::new(), String::new());
        for piece in [&text[..middle], &text[middle..]] {
            of_chat += json_of(&chat.text(piece, &USAGE))["choices"][0]["delta"]["content"].as_str().unwrap();
            of_completion += json_of(&completion.text(0, piece, &USAGE))["choices"][0]["text"].as_str().unwrap();
        }
        prop_assert_eq!(&of_chat, &text);
        prop_assert_eq!(&of_completion, &text);
    }
}
