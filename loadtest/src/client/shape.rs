//! Whether an answer that says it went well has the shape that its protocol gives answers.
//!
//! A server in front of the model, or a wrong path, answers 200 with a page of its own; without this it would be the
//! fastest model of all. Values are not looked at: that is what `--expect` is for.

use std::fmt;

use prost::Message;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::error::Category;
use weirgate_protocol::oip;

use super::openai::{Usage, Whole};
use crate::request::Protocol;

/// The flag and length before a gRPC message.
const PREFIX: usize = 5;

/// What is wrong with an answer that came whole, with a status of success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    NotJson,
    /// The field that answers are about is not there, is empty or is something else.
    Lacks(&'static str),
    /// Not one whole message of gRPC.
    NotAMessage,
    /// The length of the JSON before binary tensors is not within the answer.
    HeaderLength,
    /// It has an `error` at its top.
    SaysError,
    /// A chat or completion of nothing: no text, reasoning, refusal or call of a tool.
    Empty,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NotJson => f.write_str("malformed answer: not a JSON object"),
            Fault::Lacks(field) => write!(f, "malformed answer: no {field}"),
            Fault::NotAMessage => f.write_str("malformed answer: not a gRPC message"),
            Fault::HeaderLength => f.write_str("malformed answer: wrong inference-header-content-length"),
            Fault::SaysError => f.write_str("200 with an error"),
            Fault::Empty => f.write_str("empty completion"),
        }
    }
}

/// A body, or what was kept of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// The beginning, or all of it.
    pub(super) bytes: &'a [u8],
    /// Of all of it.
    pub(super) length: u64,
    /// The last byte that is no white space.
    pub(super) last: Option<u8>,
    /// What `inference-header-content-length` says.
    pub(super) header_length: Option<u64>,
}

/// What is wrong with an answer in tensors. Of one that was not kept whole only its ends are looked at.
pub(super) fn tensors(protocol: Protocol, seen: Seen<'_>) -> Option<Fault> {
    let Seen { bytes, length, last, header_length } = seen;
    let is_whole = bytes.len() as u64 == length;
    match (protocol, header_length) {
        (Protocol::Grpc, _) => message(bytes, length, is_whole),
        (Protocol::V2Binary, Some(header)) if header > length => Some(Fault::HeaderLength),
        (Protocol::V2Binary, Some(header)) => {
            match usize::try_from(header).ok().and_then(|header| bytes.get(..header)) {
                Some(head) => outputs(head).err(),
                None => (!is_object(bytes)).then_some(Fault::NotJson),
            }
        }
        _ if !is_whole => (!is_object(bytes) || last != Some(b'}')).then_some(Fault::NotJson),
        (Protocol::V1, _) => predictions(bytes).err(),
        _ => outputs(bytes).err(),
    }
}

/// The tokens in an answer of OpenAI's endpoints that came whole, and what is wrong with it.
pub(super) fn openai(protocol: Protocol, body: &[u8]) -> (Option<Usage>, Option<Fault>) {
    let field = if protocol == Protocol::Embeddings { "data" } else { "choices" };
    let whole: Whole<'_> = match object(body, field) {
        Ok(whole) => whole,
        Err(fault) => return (None, Some(fault)),
    };
    let fault = match protocol {
        _ if whole.error.is_some() => Some(Fault::SaysError),
        Protocol::Embeddings => whole.data.is_none_or(|data| data.is_empty()).then_some(Fault::Lacks(field)),
        _ if whole.choices.is_empty() => Some(Fault::Lacks(field)),
        _ => (!whole.choices.iter().any(|choice| choice.has_output())).then_some(Fault::Empty),
    };
    (whole.usage, fault)
}

fn predictions(bytes: &[u8]) -> Result<(), Fault> {
    /// TensorFlow Serving has `outputs` where it was asked in columns.
    #[derive(Deserialize)]
    struct Predictions {
        predictions: Option<IgnoredAny>,
        outputs: Option<IgnoredAny>,
        error: Option<IgnoredAny>,
    }
    match object(bytes, "predictions")? {
        Predictions { error: Some(_), .. } => Err(Fault::SaysError),
        Predictions { predictions: None, outputs: None, .. } => Err(Fault::Lacks("predictions")),
        _ => Ok(()),
    }
}

fn outputs(bytes: &[u8]) -> Result<(), Fault> {
    #[derive(Deserialize)]
    struct Outputs {
        /// These take no memory.
        outputs: Option<Vec<IgnoredAny>>,
        error: Option<IgnoredAny>,
    }
    let answer: Outputs = object(bytes, "outputs")?;
    match (answer.error, answer.outputs) {
        (Some(_), _) => Err(Fault::SaysError),
        (None, None) => Err(Fault::Lacks("outputs")),
        (None, Some(outputs)) if outputs.is_empty() => Err(Fault::Lacks("outputs")),
        (None, Some(_)) => Ok(()),
    }
}

fn message(bytes: &[u8], length: u64, is_whole: bool) -> Option<Fault> {
    let Some((&[compressed, ref size @ ..], message)) = bytes.split_first_chunk::<PREFIX>() else {
        return Some(Fault::NotAMessage);
    };
    let size = u64::from(u32::from_be_bytes(*size));
    // Compression was not offered.
    if compressed != 0 || size + PREFIX as u64 != length {
        return Some(Fault::NotAMessage);
    }
    if !is_whole {
        return None;
    }
    match oip::ModelInferResponse::decode(message) {
        Ok(answer) => answer.outputs.is_empty().then_some(Fault::Lacks("outputs")),
        Err(_) => Some(Fault::NotAMessage),
    }
}

/// A struct would be read from a list too.
fn is_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().first() == Some(&b'{')
}

fn object<'a, T: Deserialize<'a>>(bytes: &'a [u8], field: &'static str) -> Result<T, Fault> {
    if !is_object(bytes) {
        return Err(Fault::NotJson);
    }
    serde_json::from_slice(bytes).map_err(|error| match error.classify() {
        Category::Data => Fault::Lacks(field),
        Category::Io | Category::Syntax | Category::Eof => Fault::NotJson,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(protocol: Protocol, bytes: &[u8], header_length: Option<u64>) -> Option<Fault> {
        tensors(protocol, Seen { bytes, length: bytes.len() as u64, last: bytes.last().copied(), header_length })
    }

    #[test]
    fn answers_in_json_have_what_they_are_about() {
        let lacks = |field| Some(Fault::Lacks(field));
        for (protocol, body, fault) in [
            (Protocol::V1, r#"{"predictions":[1]}"#, None),
            (Protocol::V1, r#"{"outputs":[[1]]}"#, None),
            (Protocol::V1, r#"{"predictions":null}"#, lacks("predictions")),
            (Protocol::V1, r#"{"error":"no"}"#, Some(Fault::SaysError)),
            (Protocol::V2, r#" {"id":"1","outputs":[{"name":"y","data":[1.5]}],"error":null}"#, None),
            (Protocol::V2, r#"{"outputs":[]}"#, lacks("outputs")),
            (Protocol::V2, r#"{"outputs":7}"#, lacks("outputs")),
            (Protocol::V2, r#"{"status":"ok"}"#, lacks("outputs")),
            (Protocol::V2, r#"{"outputs":[{}],"error":{"message":"no"}}"#, Some(Fault::SaysError)),
            (Protocol::V2, r#"[[1]]"#, Some(Fault::NotJson)),
            (Protocol::V2, "<html>", Some(Fault::NotJson)),
            (Protocol::V2, r#"{"outputs":[{"data":[1"#, Some(Fault::NotJson)),
            (Protocol::V2, "", Some(Fault::NotJson)),
            (Protocol::V2Binary, r#"{"outputs":[{}]}"#, None),
        ] {
            assert_eq!(whole(protocol, body.as_bytes(), None), fault, "{protocol} {body}");
        }
    }

    #[test]
    fn binary_tensors_have_json_before_them() {
        let body = b"{\"outputs\":[{}]}\x00\x01\x02";
        for (length, fault) in [
            (16, None),
            (15, Some(Fault::NotJson)),
            (17, Some(Fault::NotJson)),
            (20, Some(Fault::HeaderLength)),
            (u64::MAX, Some(Fault::HeaderLength)),
        ] {
            assert_eq!(whole(Protocol::V2Binary, body, Some(length)), fault, "{length}");
        }
    }

    #[test]
    fn a_grpc_answer_is_one_message_with_outputs() {
        let output = oip::model_infer_response::InferOutputTensor { name: "y".to_owned(), ..Default::default() };
        let mut answer = oip::ModelInferResponse { model_name: "m".to_owned(), ..Default::default() };
        let framed = |answer: &oip::ModelInferResponse| crate::request::framed(answer).unwrap();
        assert_eq!(whole(Protocol::Grpc, &framed(&answer), None), Some(Fault::Lacks("outputs")));
        answer.outputs.push(output);
        let right = framed(&answer);
        assert_eq!(whole(Protocol::Grpc, &right, None), None);
        let mut garbage = right.to_vec();
        garbage[PREFIX] = 0xff;
        for bytes in [&right[..right.len() - 1], &garbage, b"", b"\x00\x00", b"\x01\x00\x00\x00\x00"] {
            assert_eq!(whole(Protocol::Grpc, bytes, None), Some(Fault::NotAMessage), "{bytes:?}");
        }
    }

    #[test]
    fn of_a_long_answer_the_ends_are_looked_at() {
        let of = |protocol, bytes, length, last| {
            tensors(protocol, Seen { bytes, length, last: Some(last), header_length: None })
        };
        assert_eq!(of(Protocol::V2, b"{\"outputs\":[", 100_000, b'}'), None);
        assert_eq!(of(Protocol::V2, b"{\"outputs\":[", 100_000, b'>'), Some(Fault::NotJson));
        assert_eq!(of(Protocol::V1, b"<html>", 100_000, b'}'), Some(Fault::NotJson));
        assert_eq!(of(Protocol::Grpc, &[0, 0, 0, 0, 250, 9], 255, 9), None);
        assert_eq!(of(Protocol::Grpc, &[0, 0, 0, 0, 250, 9], 256, 9), Some(Fault::NotAMessage));
    }

    #[test]
    fn answers_of_openais_endpoints_have_something_in_them() {
        let lacks = |field| Some(Fault::Lacks(field));
        for (protocol, body, fault) in [
            (Protocol::Chat, r#"{"choices":[{"message":{"role":"assistant","content":"hi"}}]}"#, None),
            (Protocol::Chat, r#"{"choices":[{"message":{"content":null,"tool_calls":[{"id":"a"}]}}]}"#, None),
            (Protocol::Chat, r#"{"choices":[{"message":{"content":null,"reasoning":"hm"}}]}"#, None),
            (Protocol::Chat, r#"{"choices":[{"message":{"content":""}}]}"#, Some(Fault::Empty)),
            (Protocol::Chat, r#"{"choices":[]}"#, lacks("choices")),
            (Protocol::Chat, r#"{"choices":"hi"}"#, lacks("choices")),
            (Protocol::Chat, r#"{"error":{"message":"no"},"choices":null}"#, Some(Fault::SaysError)),
            (Protocol::Completions, r#"{"choices":[{"text":"hi"}]}"#, None),
            (Protocol::Completions, r#"{"choices":[{"text":""}]}"#, Some(Fault::Empty)),
            (Protocol::Embeddings, r#"{"data":[{"embedding":[0.5]}]}"#, None),
            (Protocol::Embeddings, r#"{"data":[]}"#, lacks("data")),
            (Protocol::Embeddings, "hello", Some(Fault::NotJson)),
        ] {
            assert_eq!(openai(protocol, body.as_bytes()).1, fault, "{protocol} {body}");
        }
        let counted = openai(Protocol::Chat, br#"{"choices":[{"text":"a"}],"usage":{"completion_tokens":2}}"#);
        assert_eq!(counted, (Some(Usage { prompt_tokens: None, completion_tokens: Some(2) }), None));
    }
}
