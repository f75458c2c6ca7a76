//! What the answers of OpenAI's routes have in common.
//!
//! They are written as text at once, without a tree of values: of a chunk of a stream only its text is new, and all that
//! stands before and behind it is made once for each answer.

use std::ops::AddAssign;

use bytes::Bytes;

use crate::error::Error;
use crate::json::write;

use super::bodies::error_body;
use super::request::StreamOptions;

/// What an answer says of itself.
#[derive(Clone, Copy, Debug)]
pub struct AnswerHead<'a> {
    /// The request's id, of which the answer's is made.
    pub request_id: &'a str,
    /// Seconds since 1970.
    pub created: u64,
    /// The model, by the name that it was asked for.
    pub model: &'a str,
    /// What changes when the same request may get another answer: the revision.
    pub fingerprint: Option<&'a str>,
}

impl AnswerHead<'_> {
    /// The begin of the object, up to and with `choices` and what follows its colon.
    pub(super) fn begin(&self, id: &str, object: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(192 + self.model.len() + self.request_id.len());
        out.extend_from_slice(br#"{"id":"#);
        write::string(&mut out, &format!("{id}-{}", self.request_id));
        out.extend_from_slice(br#","object":""#);
        out.extend_from_slice(object.as_bytes());
        out.extend_from_slice(br#"","created":"#);
        write::integer(&mut out, self.created);
        out.extend_from_slice(br#","model":"#);
        write::string(&mut out, self.model);
        out.extend_from_slice(br#","system_fingerprint":"#);
        match self.fingerprint {
            Some(fingerprint) => write::string(&mut out, fingerprint),
            None => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(br#","choices":"#);
        out
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// It is complete.
    Stop,
    /// There is no room for more, or as much as was asked for.
    Length,
}

impl FinishReason {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
        }
    }
}

/// Tokens of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: usize,
    /// How many of the prompt's were not computed again.
    pub cached_tokens: usize,
    pub completion_tokens: usize,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Usage) {
        self.prompt_tokens += other.prompt_tokens;
        self.cached_tokens += other.cached_tokens;
        self.completion_tokens += other.completion_tokens;
    }
}

impl Usage {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"prompt_tokens":"#);
        write::integer(out, self.prompt_tokens);
        out.extend_from_slice(br#","completion_tokens":"#);
        write::integer(out, self.completion_tokens);
        out.extend_from_slice(br#","total_tokens":"#);
        write::integer(out, self.prompt_tokens + self.completion_tokens);
        out.extend_from_slice(br#","prompt_tokens_details":{"cached_tokens":"#);
        write::integer(out, self.cached_tokens);
        out.extend_from_slice(b"}}");
    }
}

/// Writes the chunks of one stream, each as an event.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    /// `data: {` and so on, up to the choices.
    begin: Vec<u8>,
    options: StreamOptions,
}

impl Chunks {
    pub fn new(head: &AnswerHead<'_>, id: &str, object: &str, options: StreamOptions) -> Self {
        let mut begin = b"data: ".to_vec();
        begin.extend_from_slice(&head.begin(id, object));
        Chunks { begin, options }
    }

    /// One chunk, whose choices `choices` writes, about `size` bytes. `usage` is that of the stream so far.
    pub fn chunk(&self, size: usize, usage: &Usage, choices: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut out = Vec::with_capacity(self.begin.len() + size + 160);
        out.extend_from_slice(&self.begin);
        out.push(b'[');
        choices(&mut out);
        out.push(b']');
        match self.options {
            StreamOptions { include_usage: true, continuous_usage: true } => {
                out.extend_from_slice(br#","usage":"#);
                usage.write(&mut out);
            }
            StreamOptions { include_usage: true, continuous_usage: false } => {
                out.extend_from_slice(br#","usage":null"#);
            }
            StreamOptions { include_usage: false, .. } => {}
        }
        out.extend_from_slice(b"}\n\n");
        out.into()
    }

    /// The chunk without choices that tells the usage, if it is asked for.
    pub fn usage(&self, usage: &Usage) -> Option<Bytes> {
        let options = StreamOptions { continuous_usage: true, ..self.options };
        self.options.include_usage.then(|| Chunks { options, begin: self.begin.clone() }.chunk(0, usage, |_| {}))
    }
}

/// The last event of every stream.
pub fn done_event() -> Bytes {
    Bytes::from_static(b"data: [DONE]\n\n")
}

/// The event of an error within a stream. Clients raise it; no more text comes behind it.
pub fn error_event(error: &Error) -> Bytes {
    let body = error_body(error, None);
    [b"data: ", &*body, b"\n\n"].concat().into()
}
