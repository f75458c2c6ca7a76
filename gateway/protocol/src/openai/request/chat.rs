//! `POST /v1/chat/completions`.

use crate::error::{Error, Result};
use crate::json::{Cursor, Fault, Parsed, owned_string};

use super::fields::Neutral::{Bool, Empty, Null, Number, OneOf, TextAlone};
use super::fields::{self, Field, Seen, honoured, ignored, refused};
use super::generation::{self, Generation};
use super::message::{Message, NO_TOOLS, messages};
use super::values::{boolean, put, word};

/// The most entries of `chat_template_kwargs`.
const MOST_VARIABLES: usize = 64;

/// Variables of templates that requests say otherwise, or can't say.
const OWN_VARIABLES: [&str; 9] = [
    "messages",
    "add_generation_prompt",
    "continue_final_message",
    "tools",
    "documents",
    "bos_token",
    "eos_token",
    "strftime_now",
    "chat_template",
];

/// A chat to go on with.
#[derive(Clone, Debug, PartialEq)]
pub struct ChatRequest {
    pub model: Option<String>,
    pub chat: Chat,
    pub generation: Generation,
}

/// What a model's template makes a prompt of.
#[derive(Clone, Debug, PartialEq)]
pub struct Chat {
    /// At least one.
    pub messages: Vec<Message>,
    /// The prompt ends with what begins the assistant's answer. Never together with `continue_final_message`.
    pub add_generation_prompt: bool,
    /// The prompt ends within the last message, and the answer goes on with it.
    pub continue_final_message: bool,
    /// What the template is told besides: names, and values as JSON text. No name comes twice.
    pub variables: Vec<(String, String)>,
}

/// The part of a request that is about its template, while it is read.
#[derive(Default)]
pub(crate) struct ChatDraft {
    pub messages: Option<Vec<Message>>,
    pub add_generation_prompt: Option<bool>,
    pub continue_final_message: bool,
    pub variables: Vec<(String, String)>,
    pub effort: Option<&'static str>,
}

impl ChatDraft {
    pub fn finish(self) -> Result<Chat> {
        let messages = self
            .messages
            .ok_or_else(|| Error::invalid("messages is missing; give at least one").with_param("messages"))?;
        if self.continue_final_message && self.add_generation_prompt == Some(true) {
            let text = "continue_final_message and add_generation_prompt are both true: give one of them";
            return Err(Error::invalid(text).with_param("continue_final_message"));
        }
        let mut variables = self.variables;
        if let Some(effort) = self.effort {
            let mut add = |name: &str, value: String| {
                if variables.iter().all(|(given, _)| given != name) {
                    variables.push((name.to_owned(), value));
                }
            };
            add("reasoning_effort", format!("\"{effort}\""));
            add("enable_thinking", (effort != "none").to_string());
        }
        Ok(Chat {
            messages,
            add_generation_prompt: self.add_generation_prompt.unwrap_or(!self.continue_final_message),
            continue_final_message: self.continue_final_message,
            variables,
        })
    }
}

/// Shared by all routes that take a chat.
pub(crate) static CHAT_FIELDS: &[Field<ChatDraft>] = &[
    honoured("messages", "a list of [messages](#messages)", |cursor, chat| {
        put(&mut chat.messages, Some(messages(cursor)?))
    }),
    honoured(
        "add_generation_prompt",
        "the prompt ends with what begins an answer; default true, without `continue_final_message`",
        |cursor, chat| put(&mut chat.add_generation_prompt, Some(boolean(cursor)?)),
    ),
    honoured(
        "continue_final_message",
        "the answer goes on with the last message; not with `add_generation_prompt`",
        |cursor, chat| put(&mut chat.continue_final_message, boolean(cursor)?),
    ),
    honoured(
        "chat_template_kwargs",
        "up to 64 variables for the model's template, as `{\"enable_thinking\": false}`",
        |cursor, chat| put(&mut chat.variables, variables(cursor)?),
    ),
    refused("chat_template", Null, "the model's own template is used"),
    refused("tools", Empty, NO_TOOLS),
    refused("documents", Empty, "templates are given no documents"),
    ignored("media_io_kwargs", "messages are text alone"),
    ignored("mm_processor_kwargs", "messages are text alone"),
];

pub(crate) static FIELDS: &[Field<Draft>] = &[
    honoured("model", "which service answers", |cursor, draft| put(&mut draft.model, Some(owned_string(cursor)?))),
    honoured(
        "reasoning_effort",
        "told to the model's template, and as `enable_thinking`, which is false for `none`",
        |cursor, draft| put(&mut draft.chat.effort, Some(word(cursor, &EFFORTS)?)),
    ),
    ignored("parallel_tool_calls", NO_TOOLS),
    refused("tool_choice", OneOf(&["none", "auto"]), NO_TOOLS),
    refused("functions", Empty, NO_TOOLS),
    refused("function_call", OneOf(&["none", "auto"]), NO_TOOLS),
    refused("logprobs", Bool(false), "log probabilities are not told"),
    refused("top_logprobs", Number(0.0), "log probabilities are not told"),
    refused("modalities", TextAlone, "answers are text alone"),
    refused("audio", Null, "answers are text alone"),
    refused("prediction", Null, "answers are not predicted"),
    refused("moderation", Null, "answers are not moderated"),
    refused("verbosity", OneOf(&["medium"]), "answers are as long as the model makes them"),
    refused("web_search_options", Null, "nothing is searched"),
    refused("include_reasoning", Bool(true), "thoughts are not told apart"),
    refused("echo", Bool(false), "messages are not repeated"),
    refused("add_special_tokens", Bool(false), "the model's template says which there are"),
    refused("return_prompt_text", Bool(false), "`/tokenize` tells the prompt"),
];

const EFFORTS: [(&str, &str); 7] = [
    ("none", "none"),
    ("minimal", "minimal"),
    ("low", "low"),
    ("medium", "medium"),
    ("high", "high"),
    ("xhigh", "xhigh"),
    ("max", "max"),
];

#[derive(Default)]
pub(crate) struct Draft {
    model: Option<String>,
    chat: ChatDraft,
    generation: generation::Draft,
}

impl ChatRequest {
    /// Reads a whole body. Errors name the field at fault.
    pub fn decode(body: &[u8]) -> Result<ChatRequest> {
        let mut cursor = Cursor::without_tensors(body);
        let draft = read(&mut cursor)?;
        Ok(ChatRequest { model: draft.model, chat: draft.chat.finish()?, generation: draft.generation.finish(false)? })
    }
}

fn read(cursor: &mut Cursor<'_>) -> Parsed<Draft> {
    let mut draft = Draft::default();
    let mut seen = Seen::default();
    cursor.object(|cursor, key| {
        let known = fields::read(FIELDS, &mut seen, cursor, key, &mut draft)?
            || fields::read(CHAT_FIELDS, &mut seen, cursor, key, &mut draft.chat)?
            || fields::read(generation::FIELDS, &mut seen, cursor, key, &mut draft.generation)?;
        if known { Ok(()) } else { cursor.skip().map(drop) }
    })?;
    cursor.end()?;
    Ok(draft)
}

fn variables(cursor: &mut Cursor<'_>) -> Parsed<Vec<(String, String)>> {
    let start = cursor.at();
    let mut variables: Vec<(String, String)> = Vec::new();
    cursor.object(|cursor, key| {
        let at = cursor.at();
        if OWN_VARIABLES.contains(&key) {
            return Err(Fault::value(at, "is no variable that can be set: the request's own fields say it, if any"));
        }
        if variables.iter().any(|(name, _)| name == key) {
            return Err(Fault::new(at, "is given twice"));
        }
        let range = cursor.skip()?;
        // What was skipped is JSON, so it is UTF-8.
        let text = String::from_utf8_lossy(cursor.text(range)).into_owned();
        // One more than there may be says that there are too many.
        if variables.len() <= MOST_VARIABLES {
            variables.push((key.to_owned(), text));
        }
        Ok(())
    })?;
    if variables.len() > MOST_VARIABLES {
        return Err(Fault::value(start, format!("has more than {MOST_VARIABLES} entries, which is the limit")));
    }
    Ok(variables)
}
