//! The generate extension: `POST /v2/models/{model}/generate` and `/generate_stream`.
//!
//! The Open Inference Protocol and Triton have it, alike: a text in, a text out, and parameters, which Triton also takes
//! beside the text. Here both are, and the parameters are those of OpenAI's routes, by the same names.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::json::{Cursor, Fault, Parsed, owned_string, write};
use crate::openai::request::fields::Neutral::{Bool, Empty, Number};
use crate::openai::request::fields::{self, Field, Seen, honoured, refused};
use crate::openai::request::generation;
use crate::openai::request::values::{boolean, put, strings, whole};
use crate::openai::{FinishReason, Generation, Usage};

use super::error_body;

/// `max_tokens` where it is not given, as the Open Inference Protocol has it.
const DEFAULT_TOKENS: usize = 20;

/// A text to go on with.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateRequest {
    /// Told again in the answer.
    pub id: Option<String>,
    pub text_input: String,
    /// The answer begins with the text.
    pub echo: bool,
    /// `max_tokens` is never `None`. `stream` says whether the text comes in pieces: true only of `/generate_stream`, and there
    /// unless the request says otherwise.
    pub generation: Generation,
}

#[derive(Default)]
pub(crate) struct Draft {
    id: Option<String>,
    text_input: Option<String>,
}

/// What is written among the parameters, or beside the text.
#[derive(Default)]
pub(crate) struct Parameters {
    exclude_input: Option<bool>,
    stop_words: Vec<String>,
    random_seed: Option<u64>,
}

/// The request's own, besides `parameters`.
pub(crate) static FIELDS: &[Field<Draft>] = &[
    honoured("id", "told again in the answer", |cursor, draft| put(&mut draft.id, Some(owned_string(cursor)?))),
    honoured("text_input", "the text to go on with", |cursor, draft| {
        put(&mut draft.text_input, Some(owned_string(cursor)?))
    }),
];

/// Triton's own, besides those of all routes.
pub(crate) static PARAMETERS: &[Field<Parameters>] = &[
    honoured("exclude_input_in_output", "false: the answer begins with the text; default true", |cursor, draft| {
        put(&mut draft.exclude_input, Some(boolean(cursor)?))
    }),
    honoured("stop_words", "as `stop`; empty ones are left out", |cursor, draft| {
        let words = strings(cursor, generation::MOST_STOPS)?;
        put(&mut draft.stop_words, words.into_iter().filter(|word| !word.is_empty()).collect())
    }),
    honoured("random_seed", "as `seed`", |cursor, draft| {
        put(&mut draft.random_seed, Some(whole(cursor, 0..=u64::MAX)?))
    }),
    refused("best_of", Number(1.0), "one answer is made for each prompt"),
    refused("beam_width", Number(1.0), "beams are not searched"),
    refused("logprobs", Bool(false), "log probabilities are not told"),
    refused("return_log_probs", Bool(false), "log probabilities are not told"),
    refused("sampling_parameters", Empty, "parameters are given one by one"),
    refused("image", Empty, "texts alone are read"),
];

#[derive(Default)]
struct All {
    draft: Draft,
    parameters: Parameters,
    generation: generation::Draft,
}

impl GenerateRequest {
    /// Reads a whole body. `stream` says by which route it came: `/generate_stream`.
    pub fn decode(body: &[u8], stream: bool) -> Result<GenerateRequest> {
        let All { draft, parameters, generation } = read(&mut Cursor::without_tensors(body))?;
        let missing = || Error::invalid("text_input is missing; give a text").with_param("text_input");
        let asked = generation.stream;
        if asked == Some(true) && !stream {
            let text = "stream is true: ask generate_stream for a stream, or ModelStreamInfer over gRPC";
            return Err(Error::invalid(text).with_param("stream"));
        }
        let mut generation = generation.finish(false)?;
        generation.stream = stream && asked.unwrap_or(true);
        if generation.max_tokens.is_none() {
            generation.max_tokens = Some(DEFAULT_TOKENS.max(generation.min_tokens));
        }
        generation.seed = generation.seed.or(parameters.random_seed);
        generation.stop.extend(parameters.stop_words);
        if generation.stop.len() > generation::MOST_STOPS {
            let (count, most) = (generation.stop.len(), generation::MOST_STOPS);
            let text = format!("stop and stop_words have {count} strings together; the limit is {most}");
            return Err(Error::invalid(text).with_param("stop_words"));
        }
        Ok(GenerateRequest {
            id: draft.id,
            text_input: draft.text_input.ok_or_else(missing)?,
            echo: parameters.exclude_input == Some(false),
            generation,
        })
    }
}

fn read(cursor: &mut Cursor<'_>) -> Parsed<All> {
    let mut all = All::default();
    let mut seen = Seen::default();
    let mut nested = false;
    cursor.object(|cursor, key| {
        let at = cursor.at();
        if key == "parameters" {
            if std::mem::replace(&mut nested, true) {
                return Err(Fault::new(at, "is given twice"));
            }
            if cursor.literal("null") {
                return Ok(());
            }
            return cursor.object(|cursor, key| parameter(cursor, key, &mut seen, &mut all));
        }
        match fields::read(FIELDS, &mut seen, cursor, key, &mut all.draft)? {
            true => Ok(()),
            false => parameter(cursor, key, &mut seen, &mut all),
        }
    })?;
    cursor.end()?;
    Ok(all)
}

fn parameter(cursor: &mut Cursor<'_>, key: &str, seen: &mut Seen, all: &mut All) -> Parsed<()> {
    let known = fields::read(PARAMETERS, seen, cursor, key, &mut all.parameters)?
        || fields::read(generation::FIELDS, seen, cursor, key, &mut all.generation)?;
    if known { Ok(()) } else { cursor.skip().map(drop) }
}

/// What an answer says of itself.
#[derive(Clone, Copy, Debug)]
pub struct GenerateHead<'a> {
    pub id: Option<&'a str>,
    pub model_name: &'a str,
    pub model_version: Option<&'a str>,
}

impl GenerateHead<'_> {
    /// The begin of the object, up to the text.
    fn begin(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.push(b'{');
        if let Some(id) = self.id {
            out.extend_from_slice(br#""id":"#);
            write::string(&mut out, id);
            out.push(b',');
        }
        out.extend_from_slice(br#""model_name":"#);
        write::string(&mut out, self.model_name);
        if let Some(version) = self.model_version {
            out.extend_from_slice(br#","model_version":"#);
            write::string(&mut out, version);
        }
        out.extend_from_slice(br#","text_output":"#);
        out
    }
}

/// Why the text ended, and its tokens.
fn write_details(out: &mut Vec<u8>, reason: FinishReason, usage: &Usage) {
    out.extend_from_slice(br#","details":{"finish_reason":""#);
    out.extend_from_slice(reason.name().as_bytes());
    out.extend_from_slice(br#"","prompt_tokens":"#);
    write::integer(out, usage.prompt_tokens);
    out.extend_from_slice(br#","completion_tokens":"#);
    write::integer(out, usage.completion_tokens);
    out.push(b'}');
}

/// The whole answer.
pub fn generate_response(head: &GenerateHead<'_>, text: &str, reason: FinishReason, usage: &Usage) -> Bytes {
    let mut out = head.begin();
    write::string(&mut out, text);
    write_details(&mut out, reason, usage);
    out.push(b'}');
    out.into()
}

/// Writes the events of one streamed answer: any number of [`text`](Self::text), then [`last`](Self::last).
#[derive(Clone, Debug)]
pub struct GenerateEvents(Vec<u8>);

impl GenerateEvents {
    pub fn new(head: &GenerateHead<'_>) -> Self {
        let mut begin = b"data: ".to_vec();
        begin.extend_from_slice(&head.begin());
        GenerateEvents(begin)
    }

    /// A piece of text.
    pub fn text(&self, text: &str) -> Bytes {
        let mut out = Vec::with_capacity(self.0.len() + text.len() + 32);
        out.extend_from_slice(&self.0);
        write::string(&mut out, text);
        out.extend_from_slice(b",\"done\":false}\n\n");
        out.into()
    }

    /// The last piece, which may be empty, and why there is no more.
    pub fn last(&self, text: &str, reason: FinishReason, usage: &Usage) -> Bytes {
        let mut out = Vec::with_capacity(self.0.len() + text.len() + 128);
        out.extend_from_slice(&self.0);
        write::string(&mut out, text);
        write_details(&mut out, reason, usage);
        out.extend_from_slice(b",\"done\":true}\n\n");
        out.into()
    }
}

/// The event of an error within a stream: its last.
pub fn generate_error_event(error: &Error) -> Bytes {
    [b"data: ", &*error_body(error), b"\n\n"].concat().into()
}
