//! The messages of a chat.

use crate::json::{Cursor, Fault, Parsed, owned_string};

use super::fields::Neutral::{Empty, Null};
use super::fields::{self, Field, honoured, ignored, refused};
use super::values::{put, word};

/// The most messages of a chat.
pub const MOST_MESSAGES: usize = 16_384;

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    System,
    Developer,
    User,
    Assistant,
    Tool,
}

impl Role {
    const ALL: [(&str, Role); 5] = [
        ("system", Role::System),
        ("developer", Role::Developer),
        ("user", Role::User),
        ("assistant", Role::Assistant),
        ("tool", Role::Tool),
    ];

    /// As it is written, and as chat templates know it.
    pub fn name(self) -> &'static str {
        match self {
            Role::System => "system",
            Role::Developer => "developer",
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::Tool => "tool",
        }
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub role: Role,
    /// The texts of its parts, joined. `None` of an assistant that said nothing.
    pub content: Option<String>,
    pub name: Option<String>,
    /// What an assistant thought before it answered.
    pub reasoning_content: Option<String>,
}

#[derive(Default)]
pub(crate) struct Draft {
    role: Option<Role>,
    content: Option<String>,
    name: Option<String>,
    reasoning: Option<String>,
}

pub(crate) static FIELDS: &[Field<Draft>] = &[
    honoured(
        "role",
        "`system`, `developer`, `user`, `assistant` or `tool`, as the model's template knows it",
        |cursor, draft| put(&mut draft.role, Some(word(cursor, &Role::ALL)?)),
    ),
    honoured(
        "content",
        "a string, or a list of parts of type `text`, whose texts are joined; other types are refused",
        |cursor, draft| put(&mut draft.content, Some(content(cursor)?)),
    ),
    honoured("name", "told to the model's template", |cursor, draft| put(&mut draft.name, Some(owned_string(cursor)?))),
    honoured("reasoning_content", "an assistant's thoughts, told to the model's template", |cursor, draft| {
        put(&mut draft.reasoning, Some(owned_string(cursor)?))
    }),
    honoured("reasoning", "the same by its other name", |cursor, draft| {
        let reasoning = owned_string(cursor)?;
        draft.reasoning.get_or_insert(reasoning);
        Ok(())
    }),
    ignored("tool_call_id", "the order of messages says it"),
    ignored("annotations", "they are no part of the text"),
    refused("tool_calls", Empty, NO_TOOLS),
    refused("function_call", Null, NO_TOOLS),
    refused("refusal", Empty, "templates know no refusals: give it as `content`"),
    refused("audio", Null, "messages are text alone"),
];

pub(super) const NO_TOOLS: &str = "no tools are called";

/// A list of messages: at least one.
pub(crate) fn messages(cursor: &mut Cursor<'_>) -> Parsed<Vec<Message>> {
    let at = cursor.at();
    let messages = super::values::list(cursor, MOST_MESSAGES, message)?;
    if messages.is_empty() {
        return Err(Fault::value(at, "is empty; give at least one message"));
    }
    Ok(messages)
}

fn message(cursor: &mut Cursor<'_>) -> Parsed<Message> {
    let at = cursor.at();
    let mut draft = Draft::default();
    fields::object(cursor, FIELDS, &mut draft)?;
    let role = draft.role.ok_or_else(|| Fault::value(at, "is missing; say who speaks").in_field("role"))?;
    if draft.content.is_none() && role != Role::Assistant {
        return Err(Fault::value(at, "is missing; give a text").in_field("content"));
    }
    Ok(Message { role, content: draft.content, name: draft.name, reasoning_content: draft.reasoning })
}

fn content(cursor: &mut Cursor<'_>) -> Parsed<String> {
    match cursor.peek() {
        Some(b'"') => owned_string(cursor),
        Some(b'[') => {
            let mut joined = String::new();
            cursor.array(|cursor, _| part(cursor, &mut joined))?;
            Ok(joined)
        }
        _ => Err(cursor.expected("a string or a list of parts")),
    }
}

#[derive(Default)]
struct Part {
    kind: Option<String>,
    text: Option<String>,
}

static PART_FIELDS: &[Field<Part>] = &[
    honoured("type", "`text`", |cursor, part| put(&mut part.kind, Some(owned_string(cursor)?))),
    honoured("text", "the text", |cursor, part| put(&mut part.text, Some(owned_string(cursor)?))),
];

fn part(cursor: &mut Cursor<'_>, joined: &mut String) -> Parsed<()> {
    let at = cursor.at();
    let mut part = Part::default();
    fields::object(cursor, PART_FIELDS, &mut part)?;
    match (part.kind.as_deref(), part.text) {
        (None, _) => Err(Fault::value(at, "is missing; give \"text\"").in_field("type")),
        (Some("text"), Some(text)) => {
            joined.push_str(&text);
            Ok(())
        }
        (Some("text"), None) => Err(Fault::value(at, "is missing; give the text").in_field("text")),
        (Some(other), _) => {
            let text = format!("is '{}', and messages are text alone: give \"text\"", crate::error::Shown(other));
            Err(Fault::unsupported(at, text).in_field("type"))
        }
    }
}
