//! Answers of `POST /v1/completions`, whole and in chunks. Each prompt has a choice, whose index is its place.

use bytes::Bytes;

use crate::json::write;

use super::answer::{AnswerHead, Chunks, FinishReason, Usage};
use super::request::StreamOptions;

const ID: &str = "cmpl";
const OBJECT: &str = "text_completion";

/// The answer to one prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// Begins with the prompt where the request says `echo`.
    pub text: &'a str,
    pub reason: FinishReason,
}

/// A whole answer, with the choices in the order of the prompts and the usage of them all.
pub fn text_completion(head: &AnswerHead<'_>, choices: &[Choice<'_>], usage: &Usage) -> Bytes {
    let mut out = head.begin(ID, OBJECT);
    out.reserve(160 + choices.iter().map(|choice| choice.text.len() + 80).sum::<usize>());
    out.push(b'[');
    for (index, choice) in choices.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_choice(&mut out, index, choice.text, Some(choice.reason));
    }
    out.extend_from_slice(br#"],"usage":"#);
    usage.write(&mut out);
    out.push(b'}');
    out.into()
}

fn write_choice(out: &mut Vec<u8>, index: usize, text: &str, reason: Option<FinishReason>) {
    out.extend_from_slice(br#"{"text":"#);
    write::string(out, text);
    out.extend_from_slice(br#","index":"#);
    write::integer(out, index);
    out.extend_from_slice(br#","logprobs":null,"finish_reason":"#);
    match reason {
        Some(reason) => write::string(out, reason.name()),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b'}');
}

/// Writes the events of one streamed answer: for each prompt any number of [`text`](Self::text) and then
/// [`last`](Self::last), as they come; after all of them [`usage`](Self::usage) if it is some, and
/// [`done_event`](super::done_event).
#[derive(Clone, Debug)]
pub struct CompletionChunks(Chunks);

impl CompletionChunks {
    pub fn new(head: &AnswerHead<'_>, options: StreamOptions) -> Self {
        CompletionChunks(Chunks::new(head, ID, OBJECT, options))
    }

    /// A piece of text of the prompt at `index`. `usage` is that so far, which is told where the caller wants it in each
    /// chunk.
    pub fn text(&self, index: usize, text: &str, usage: &Usage) -> Bytes {
        self.0.chunk(text.len() + 80, usage, |out| write_choice(out, index, text, None))
    }

    /// Says why there is no more text of the prompt at `index`.
    pub fn last(&self, index: usize, reason: FinishReason, usage: &Usage) -> Bytes {
        self.0.chunk(80, usage, |out| write_choice(out, index, "", Some(reason)))
    }

    /// The usage of all prompts, if the caller wants it.
    pub fn usage(&self, usage: &Usage) -> Option<Bytes> {
        self.0.usage(usage)
    }
}
