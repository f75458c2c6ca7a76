//! `POST /v1/completions`.

use crate::error::{Error, Result};
use crate::json::{Cursor, Parsed, owned_string};

use super::fields::Neutral::{Bool, Empty, Null, Number};
use super::fields::{self, Field, Seen, honoured, refused};
use super::generation::{self, Generation};
use super::prompt::{Prompt, prompts};
use super::values::{boolean, put};

/// The most prompts of one request.
pub const MOST_PROMPTS: usize = 128;
/// `max_tokens` where it is not given, as OpenAI has it.
const DEFAULT_TOKENS: usize = 16;

/// Texts to go on with.
#[derive(Clone, Debug, PartialEq)]
pub struct CompletionRequest {
    pub model: Option<String>,
    /// At least one. Each is answered by a choice of its own, with its index.
    pub prompts: Vec<Prompt>,
    /// Answers begin with their prompts.
    pub echo: bool,
    /// A text's tokens begin as the model wants it.
    pub add_special_tokens: bool,
    /// `max_tokens` is never `None`, and 0 only with `echo`.
    pub generation: Generation,
}

#[derive(Default)]
pub(crate) struct Draft {
    model: Option<String>,
    prompts: Option<Vec<Prompt>>,
    echo: bool,
    add_special_tokens: Option<bool>,
    generation: generation::Draft,
}

pub(crate) static FIELDS: &[Field<Draft>] = &[
    honoured("model", "which service answers", |cursor, draft| put(&mut draft.model, Some(owned_string(cursor)?))),
    honoured(
        "prompt",
        "a string, a list of strings, a list of tokens, or a list of lists of tokens; up to 128 prompts",
        |cursor, draft| put(&mut draft.prompts, Some(prompts(cursor, MOST_PROMPTS)?)),
    ),
    honoured("echo", "answers begin with their prompts; with it `max_tokens` may be 0", |cursor, draft| {
        put(&mut draft.echo, boolean(cursor)?)
    }),
    honoured(
        "add_special_tokens",
        "a text's tokens begin with the one that the model wants there; default true",
        |cursor, draft| put(&mut draft.add_special_tokens, Some(boolean(cursor)?)),
    ),
    refused("suffix", Empty, "texts are not filled in"),
    refused("best_of", Number(1.0), "one answer is made for each prompt"),
    // 0 asks for the tokens' own.
    refused("logprobs", Bool(false), "log probabilities are not told"),
    refused("prompt_embeds", Null, "prompts are texts or tokens"),
];

impl CompletionRequest {
    /// Reads a whole body. Errors name the field at fault.
    pub fn decode(body: &[u8]) -> Result<CompletionRequest> {
        let draft = read(&mut Cursor::without_tensors(body))?;
        let missing = || Error::invalid("prompt is missing; give a text, or tokens").with_param("prompt");
        let mut generation = draft.generation.finish(draft.echo)?;
        if generation.max_tokens.is_none() {
            generation.max_tokens = Some(DEFAULT_TOKENS.max(generation.min_tokens));
        }
        Ok(CompletionRequest {
            model: draft.model,
            prompts: draft.prompts.ok_or_else(missing)?,
            echo: draft.echo,
            add_special_tokens: draft.add_special_tokens.unwrap_or(true),
            generation,
        })
    }
}

fn read(cursor: &mut Cursor<'_>) -> Parsed<Draft> {
    let mut draft = Draft::default();
    let mut seen = Seen::default();
    cursor.object(|cursor, key| {
        let known = fields::read(FIELDS, &mut seen, cursor, key, &mut draft)?
            || fields::read(generation::FIELDS, &mut seen, cursor, key, &mut draft.generation)?;
        if known { Ok(()) } else { cursor.skip().map(drop) }
    })?;
    cursor.end()?;
    Ok(draft)
}
