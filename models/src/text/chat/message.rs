//! The messages of a chat.

use std::borrow::Cow;

use minijinja::Value;
use serde::Deserialize;

/// One message, as OpenAI's protocol has it. What it says besides is not read: whoever takes calls has to refuse what would
/// change the answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Message {
    pub role: String,
    #[serde(default)]
    pub content: Content,
    #[serde(default)]
    pub name: Option<String>,
    /// What an assistant thought before it answered. Templates that know of it leave it out of older messages.
    #[serde(default)]
    pub reasoning_content: Option<String>,
}

/// What a message says: a text, or nothing. Of a list of parts, each of which has to be a text, it is their texts joined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Option<Written>")]
pub struct Content(pub Option<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    r#type: String,
    #[serde(default)]
    text: Option<String>,
}

impl TryFrom<Option<Written>> for Content {
    type Error = String;

    fn try_from(written: Option<Written>) -> Result<Content, String> {
        let parts = match written {
            None => return Ok(Content(None)),
            Some(Written::Text(text)) => return Ok(Content(Some(text))),
            Some(Written::Parts(parts)) => parts,
        };
        let mut joined = String::new();
        for part in parts {
            match (&*part.r#type, part.text) {
                ("text", Some(text)) => joined.push_str(&text),
                ("text", None) => {
                    return Err("a part of a message's content is of type text, and has no text".to_owned());
                }
                (other, _) => {
                    let short: String = other.chars().take(40).collect();
                    return Err(format!(
                        "a part of a message's content is of type '{short}', and this model takes parts of type text alone"
                    ));
                }
            }
        }
        Ok(Content(Some(joined)))
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Content {
        Content(Some(text.to_owned()))
    }
}

impl Message {
    /// A message of text.
    pub fn new(role: &str, content: &str) -> Message {
        Message { role: role.to_owned(), content: content.into(), ..Message::default() }
    }

    /// Bytes of all that is in it.
    pub(super) fn size(&self) -> usize {
        let texts = [self.content.0.as_deref(), self.name.as_deref(), self.reasoning_content.as_deref()];
        self.role.len() + texts.into_iter().flatten().map(str::len).sum::<usize>()
    }

    /// The message with each of its texts changed.
    pub(super) fn map<'a>(&'a self, change: impl Fn(&'a str) -> Cow<'a, str>) -> Message {
        let of = |text: &'a Option<String>| text.as_deref().map(|text| change(text).into_owned());
        Message {
            role: change(&self.role).into_owned(),
            content: Content(of(&self.content.0)),
            name: of(&self.name),
            reasoning_content: of(&self.reasoning_content),
        }
    }

    /// As templates see it: without what it hasn't, but for the content.
    pub(super) fn value(&self) -> Value {
        let content = self.content.0.as_deref().map_or(Value::from(()), Value::from);
        let more = [("name", &self.name), ("reasoning_content", &self.reasoning_content)];
        let more = more.into_iter().filter_map(|(key, text)| Some((key, Value::from(text.as_deref()?))));
        let fields = [("role", Value::from(&*self.role)), ("content", content)];
        Value::from_pairs(fields.into_iter().chain(more))
    }
}
