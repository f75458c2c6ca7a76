//! `POST /v1/embeddings`.

use crate::error::{Error, Result};
use crate::json::{Cursor, owned_string};

use super::fields::Neutral::{Bool, Null, Number, OneOf};
use super::fields::{self, Field, honoured, ignored, refused};
use super::prompt::{Prompt, prompts};
use super::values::{count, put, whole, word};

/// The most inputs of one request, as OpenAI has it.
pub const MOST_INPUTS: usize = 2_048;

/// Texts to embed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddingsRequest {
    pub model: Option<String>,
    /// At least one.
    pub inputs: Vec<Prompt>,
    pub encoding: Encoding,
    /// How many of each vector's numbers are wanted, at least 1; `None` for all.
    pub dimensions: Option<usize>,
    /// How much of an input that is too long is read; `None` refuses it.
    pub truncate: Option<Truncate>,
}

/// How vectors are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// A list of numbers.
    #[default]
    Float,
    /// 32-bit floats, little endian, in base64.
    Base64,
}

/// How much of an input is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncate {
    /// As many tokens as the model can read.
    ToModel,
    /// So many tokens, at least 1.
    ToTokens(usize),
}

#[derive(Default)]
pub(crate) struct Draft {
    model: Option<String>,
    inputs: Option<Vec<Prompt>>,
    encoding: Encoding,
    dimensions: Option<usize>,
    truncate: Option<Truncate>,
}

const ENCODINGS: [(&str, Encoding); 2] = [("float", Encoding::Float), ("base64", Encoding::Base64)];

pub(crate) static FIELDS: &[Field<Draft>] = &[
    honoured("model", "which service answers", |cursor, draft| put(&mut draft.model, Some(owned_string(cursor)?))),
    honoured(
        "input",
        "a string, a list of strings, a list of tokens, or a list of lists of tokens; up to 2,048 inputs",
        |cursor, draft| put(&mut draft.inputs, Some(prompts(cursor, MOST_INPUTS)?)),
    ),
    honoured("encoding_format", "`float`, the default, or `base64`: 32-bit floats, little endian", |cursor, draft| {
        put(&mut draft.encoding, word(cursor, &ENCODINGS)?)
    }),
    honoured("dimensions", "how many numbers of each vector, if the model's can be cut", |cursor, draft| {
        put(&mut draft.dimensions, Some(count(cursor, 1)?))
    }),
    honoured(
        "truncate_prompt_tokens",
        "so many tokens of an input are read, or as many as the model can where it is -1; default: too long is refused",
        |cursor, draft| put(&mut draft.truncate, truncate(cursor)?),
    ),
    ignored("user", "nothing is kept of it"),
    ignored("request_id", "ids come from `x-request-id`"),
    refused("messages", Null, "texts are embedded, not chats: give `input`"),
    refused("add_special_tokens", Bool(true), "texts are read as the model wants them"),
    refused("normalize", Null, "the model says whether its vectors are of length 1"),
    refused("embed_dtype", OneOf(&["float32"]), "vectors are 32-bit floats"),
    refused("endianness", OneOf(&["native", "little"]), "vectors are little endian"),
    refused("truncation_side", OneOf(&["right"]), "texts are cut at their end"),
    refused("input_type", Null, "texts are embedded as they are: write a model's prefix before them"),
    refused("priority", Number(0.0), "the header `x-weirgate-priority` says it"),
];

fn truncate(cursor: &mut Cursor<'_>) -> crate::json::Parsed<Option<Truncate>> {
    let at = cursor.at();
    match whole(cursor, -1..=i64::from(u32::MAX))? {
        0 => Err(crate::json::Fault::value(at, "is 0; it must be at least 1, or -1 for as many as the model can read")),
        tokens => Ok(Some(usize::try_from(tokens).map_or(Truncate::ToModel, Truncate::ToTokens))),
    }
}

impl EmbeddingsRequest {
    /// Reads a whole body. Errors name the field at fault.
    pub fn decode(body: &[u8]) -> Result<EmbeddingsRequest> {
        let mut cursor = Cursor::without_tensors(body);
        let mut draft = Draft::default();
        fields::object(&mut cursor, FIELDS, &mut draft)?;
        cursor.end()?;
        let missing = || Error::invalid("input is missing; give a text, or tokens").with_param("input");
        Ok(EmbeddingsRequest {
            model: draft.model,
            inputs: draft.inputs.ok_or_else(missing)?,
            encoding: draft.encoding,
            dimensions: draft.dimensions,
            truncate: draft.truncate,
        })
    }
}
