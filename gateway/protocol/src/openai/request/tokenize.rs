//! `POST /tokenize` and `POST /detokenize`, as vLLM has them.

use crate::error::{Error, Result};
use crate::json::{Cursor, Parsed, owned_string};

use super::chat::{CHAT_FIELDS, Chat, ChatDraft};
use super::fields::{self, Field, Seen, honoured};
use super::values::{MOST_TOKENS, boolean, list, put, token};

/// What to take apart into tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenizeRequest {
    pub model: Option<String>,
    pub input: TokenizeInput,
    /// A text's tokens begin as the model wants it. Never of a chat, whose template says which there are.
    pub add_special_tokens: bool,
    /// Each token's text is wanted, too.
    pub return_token_strs: bool,
}

/// A text, or a chat as it would be asked.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenizeInput {
    Prompt(String),
    Chat(Chat),
}

/// Tokens to put together into a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetokenizeRequest {
    pub model: Option<String>,
    pub tokens: Vec<u32>,
}

#[derive(Default)]
pub(crate) struct Draft {
    model: Option<String>,
    prompt: Option<String>,
    chat: ChatDraft,
    add_special_tokens: Option<bool>,
    return_token_strs: bool,
}

pub(crate) static FIELDS: &[Field<Draft>] = &[
    honoured("model", "whose tokens", |cursor, draft| put(&mut draft.model, Some(owned_string(cursor)?))),
    honoured("prompt", "a text; this or `messages`", |cursor, draft| {
        put(&mut draft.prompt, Some(owned_string(cursor)?))
    }),
    honoured(
        "add_special_tokens",
        "a text's tokens begin with the one that the model wants there; default true; of a chat its template says it",
        |cursor, draft| put(&mut draft.add_special_tokens, Some(boolean(cursor)?)),
    ),
    honoured("return_token_strs", "each token's text is told, too", |cursor, draft| {
        put(&mut draft.return_token_strs, boolean(cursor)?)
    }),
];

pub(crate) static DETOKENIZE_FIELDS: &[Field<DetokenizeDraft>] = &[
    honoured("model", "whose tokens", |cursor, draft| put(&mut draft.model, Some(owned_string(cursor)?))),
    honoured("tokens", "a list of token ids, up to 1,048,576", |cursor, draft| {
        put(&mut draft.tokens, Some(list(cursor, MOST_TOKENS, token)?))
    }),
];

#[derive(Default)]
pub(crate) struct DetokenizeDraft {
    model: Option<String>,
    tokens: Option<Vec<u32>>,
}

impl TokenizeRequest {
    /// Reads a whole body. Errors name the field at fault.
    pub fn decode(body: &[u8]) -> Result<TokenizeRequest> {
        let draft = read(&mut Cursor::without_tensors(body))?;
        let of_chat = draft.prompt.is_none();
        let input = match (draft.prompt, &draft.chat.messages) {
            (Some(_), Some(_)) => {
                return Err(Error::invalid("prompt and messages are both given: give one of them").with_param("prompt"));
            }
            (None, None) => {
                return Err(Error::invalid("prompt is missing; give a text, or messages").with_param("prompt"));
            }
            (Some(prompt), None) => TokenizeInput::Prompt(prompt),
            (None, Some(_)) if draft.add_special_tokens == Some(true) => {
                let text = "add_special_tokens is true, and the model's template says which there are: leave it out";
                return Err(Error::unsupported_parameter(text).with_param("add_special_tokens"));
            }
            (None, Some(_)) => TokenizeInput::Chat(draft.chat.finish()?),
        };
        Ok(TokenizeRequest {
            model: draft.model,
            input,
            add_special_tokens: draft.add_special_tokens.unwrap_or(!of_chat),
            return_token_strs: draft.return_token_strs,
        })
    }
}

fn read(cursor: &mut Cursor<'_>) -> Parsed<Draft> {
    let mut draft = Draft::default();
    let mut seen = Seen::default();
    cursor.object(|cursor, key| {
        let known = fields::read(FIELDS, &mut seen, cursor, key, &mut draft)?
            || fields::read(CHAT_FIELDS, &mut seen, cursor, key, &mut draft.chat)?;
        if known { Ok(()) } else { cursor.skip().map(drop) }
    })?;
    cursor.end()?;
    Ok(draft)
}

impl DetokenizeRequest {
    /// Reads a whole body. Errors name the field at fault.
    pub fn decode(body: &[u8]) -> Result<DetokenizeRequest> {
        let mut cursor = Cursor::without_tensors(body);
        let mut draft = DetokenizeDraft::default();
        fields::object(&mut cursor, DETOKENIZE_FIELDS, &mut draft)?;
        cursor.end()?;
        let missing = || Error::invalid("tokens is missing; give a list of token ids").with_param("tokens");
        Ok(DetokenizeRequest { model: draft.model, tokens: draft.tokens.ok_or_else(missing)? })
    }
}
