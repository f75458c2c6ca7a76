//! Answers of `POST /v1/chat/completions`, whole and in chunks.

use bytes::Bytes;

use crate::json::write;

use super::answer::{AnswerHead, Chunks, FinishReason, Usage};
use super::request::StreamOptions;

const ID: &str = "chatcmpl";

/// A whole answer.
pub fn chat_completion(head: &AnswerHead<'_>, text: &str, reason: FinishReason, usage: &Usage) -> Bytes {
    let mut out = head.begin(ID, "chat.completion");
    out.reserve(text.len() + 320);
    out.extend_from_slice(br#"[{"index":0,"message":{"role":"assistant","content":"#);
    write::string(&mut out, text);
    out.extend_from_slice(br#","refusal":null},"logprobs":null,"finish_reason":""#);
    out.extend_from_slice(reason.name().as_bytes());
    out.extend_from_slice(br#""}],"usage":"#);
    usage.write(&mut out);
    out.push(b'}');
    out.into()
}

/// Writes the events of one streamed answer: [`first`](Self::first), any number of [`text`](Self::text), then
/// [`last`](Self::last), [`usage`](Self::usage) if it is some, and [`done_event`](super::done_event).
#[derive(Clone, Debug)]
pub struct ChatChunks(Chunks);

impl ChatChunks {
    pub fn new(head: &AnswerHead<'_>, options: StreamOptions) -> Self {
        ChatChunks(Chunks::new(head, ID, "chat.completion.chunk", options))
    }

    /// Says who speaks, before there is any text.
    pub fn first(&self, usage: &Usage) -> Bytes {
        let delta = br#"{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}"#;
        self.0.chunk(delta.len(), usage, |out| out.extend_from_slice(delta))
    }

    /// A piece of text. `usage` is that so far, which is told where the caller wants it in each chunk.
    pub fn text(&self, text: &str, usage: &Usage) -> Bytes {
        self.0.chunk(text.len() + 80, usage, |out| {
            out.extend_from_slice(br#"{"index":0,"delta":{"content":"#);
            write::string(out, text);
            out.extend_from_slice(br#"},"logprobs":null,"finish_reason":null}"#);
        })
    }

    /// Says why there is no more text.
    pub fn last(&self, reason: FinishReason, usage: &Usage) -> Bytes {
        self.0.chunk(80, usage, |out| {
            out.extend_from_slice(br#"{"index":0,"delta":{},"logprobs":null,"finish_reason":""#);
            out.extend_from_slice(reason.name().as_bytes());
            out.extend_from_slice(br#""}"#);
        })
    }

    /// The usage of the whole answer, if the caller wants it.
    pub fn usage(&self, usage: &Usage) -> Option<Bytes> {
        self.0.usage(usage)
    }
}
