//! Flags and answers to test with.

use bytes::Bytes;
use http::HeaderMap;

use crate::cli::PayloadOptions;
use crate::request::{Answer, Protocol, Stream};

/// An answer with a body, as a client hands it over.
pub fn answer(protocol: Protocol, status: u16, body: impl Into<Bytes>) -> Answer {
    let body = body.into();
    Answer {
        protocol,
        status,
        headers: HeaderMap::new(),
        length: body.len() as u64,
        body,
        trailers: None,
        revision: None,
        overhead_us: None,
        stream: None,
        usage: None,
        fault: None,
    }
}

/// A streamed answer that ended as it should.
pub fn streamed(text: &str) -> Answer {
    let stream = Stream { text: text.to_owned(), whole: true, parts: 1, ..Stream::default() };
    Answer { stream: Some(stream), ..answer(Protocol::Chat, 200, "") }
}

/// A chat's answer in one piece.
pub fn chat(text: &str) -> Answer {
    let body = serde_json::json!({
        "id": "x", "created": 1, "choices": [{ "index": 0, "message": { "role": "assistant", "content": text } }]
    });
    answer(Protocol::Chat, 200, body.to_string())
}

/// Payload flags as they are parsed.
pub fn payload(flags: &[&str]) -> PayloadOptions {
    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        payload: PayloadOptions,
    }
    let flags = std::iter::once("loadtest").chain(flags.iter().copied());
    <Flags as clap::Parser>::try_parse_from(flags).unwrap().payload
}
