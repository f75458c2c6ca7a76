//! Files of prompts: JSONL, a request or a conversation each line.
//!
//! A line is a text, or an object with one of
//!
//! - `prompt`: a text
//! - `messages`: those of a chat; more than one of the user make a conversation
//! - `conversations`: the same as ShareGPT has it, `[{"from":"human","value":…},{"from":"gpt","value":…}]`
//! - `input`: what is to be embedded
//! - `body`: a request's body, sent as it is
//!
//! and besides, perhaps `max_tokens` (or `output_len`) and `expect`, a text that the last answer must contain. What else
//! stands beside `prompt`, `messages` or `input`, as `temperature` or `tools`, is sent with them, all but `id`. Recorded
//! answers are not sent: each turn goes on from what the server itself answered.

use std::path::Path;

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::budget::{Budget, MOST_BYTES};
use super::openai::{Message, More, names_model};
use super::samples::cut;

/// Characters of a line that are shown in an error.
const SHOWN: usize = 60;
const FORMS: &str = "give a text, or an object with prompt, messages, conversations, input or body";

/// Fields that are read here.
const OWN: [&str; 7] = ["prompt", "messages", "input", "max_tokens", "output_len", "expect", "id"];

/// A line.
#[derive(Debug, PartialEq)]
pub struct Prompt {
    pub asked: Asked,
    pub max_tokens: Option<u32>,
    pub expect: Option<String>,
    pub more: More,
    /// From 1, where the file has it.
    pub line: usize,
}

#[derive(Debug, PartialEq)]
pub enum Asked {
    Text(String),
    /// What is said before each answer.
    Turns(Vec<Vec<Message>>),
    Input(Value),
    Body(String),
}

#[derive(Deserialize)]
struct Fields<'a> {
    prompt: Option<String>,
    messages: Option<Vec<Message>>,
    conversations: Option<Vec<Said>>,
    input: Option<Value>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    #[serde(alias = "output_len")]
    max_tokens: Option<u32>,
    expect: Option<String>,
}

#[derive(Deserialize)]
struct Said {
    from: String,
    value: String,
}

/// Reads a file. Errors name it and the line.
pub fn read(path: &Path) -> Result<Vec<Prompt>, String> {
    let wrong = |why: &dyn std::fmt::Display| format!("--prompts {}: {why}", path.display());
    let length = std::fs::metadata(path).map_err(|error| wrong(&error))?.len();
    if length > MOST_BYTES {
        return Err(wrong(&format!("has {} MiB, the limit is {} MiB", length >> 20, MOST_BYTES >> 20)));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let mut budget = Budget::new("give fewer lines");
    let mut prompts = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let line_number = index + 1;
        let at = |why: &dyn std::fmt::Display| format!("--prompts {}:{line_number}: {why}", path.display());
        budget.take(line.len() as u64).map_err(|why| at(&why))?;
        prompts.push(parse(line, line_number).map_err(|why| at(&why))?);
    }
    match prompts.is_empty() {
        true => Err(wrong(&"has no lines")),
        false => Ok(prompts),
    }
}

fn parse(text: &str, line: usize) -> Result<Prompt, String> {
    let wrong = |error: serde_json::Error| format!("'{}' can't be read: {error}: {FORMS}", cut(text, SHOWN));
    if text.trim_start().starts_with('"') {
        let asked = Asked::Text(serde_json::from_str(text).map_err(wrong)?);
        return Ok(Prompt { asked, max_tokens: None, expect: None, more: More::default(), line });
    }
    let fields: Fields<'_> = serde_json::from_str(text).map_err(wrong)?;
    let is_endpoints_own = fields.conversations.is_none() && fields.body.is_none();
    let given = [
        fields.prompt.map(|text| Ok(Asked::Text(text))),
        fields.messages.map(|messages| turns(messages).map(Asked::Turns)),
        fields.conversations.map(|said| turns(said.into_iter().map(message).collect()).map(Asked::Turns)),
        fields.input.map(|input| Ok(Asked::Input(input))),
        fields.body.map(|body| Ok(Asked::Body(body.get().to_owned()))),
    ];
    let mut given = given.into_iter().flatten();
    let asked = given.next().ok_or_else(|| format!("'{}' asks nothing: {FORMS}", cut(text, SHOWN)))?;
    if given.next().is_some() {
        return Err(format!("'{}' asks in two ways: {FORMS}", cut(text, SHOWN)));
    }
    // Those two have forms of their own.
    let more = if is_endpoints_own { more(text).map_err(wrong)? } else { More::default() };
    Ok(Prompt { asked: asked?, max_tokens: fields.max_tokens, expect: fields.expect, more, line })
}

/// What a line says besides.
fn more(text: &str) -> serde_json::Result<More> {
    let mut fields: Map<String, Value> = serde_json::from_str(text)?;
    fields.retain(|name, value| !OWN.contains(&name.as_str()) && !value.is_null());
    let model = fields.remove("model").map(serde_json::from_value).transpose()?;
    let stream = fields.remove("stream").map(serde_json::from_value).transpose()?;
    Ok(More { model, stream, fields })
}

fn message(said: Said) -> Message {
    let role = match said.from.as_str() {
        "human" => "user",
        "gpt" | "chatgpt" | "bard" | "bing" => "assistant",
        other => other,
    };
    Message::new(role, said.value)
}

/// Splits messages where the assistant answered; what it said is left out.
fn turns(messages: Vec<Message>) -> Result<Vec<Vec<Message>>, String> {
    let mut turns = Vec::new();
    let mut turn: Vec<Message> = Vec::new();
    let asks = |turn: &[Message]| turn.iter().any(|message| message.role == "user");
    for message in messages {
        match message.role.as_str() {
            // An assistant that speaks first is not answering anybody.
            "assistant" if asks(&turn) => turns.push(std::mem::take(&mut turn)),
            "assistant" => {}
            "system" | "developer" | "user" => turn.push(message),
            other => {
                let role = cut(other, SHOWN);
                return Err(format!("role '{role}' can't be held anew with other answers: give the request as body"));
            }
        }
    }
    if asks(&turn) {
        turns.push(turn);
    }
    if turns.is_empty() { Err("it has no message of a user".to_owned()) } else { Ok(turns) }
}

impl Prompt {
    /// Whether it must be told which model to ask.
    pub fn needs_model(&self) -> bool {
        match &self.asked {
            Asked::Body(body) => names_model(body) != Ok(true),
            _ => self.more.model.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(line: &str) -> Asked {
        parse(line, 1).unwrap().asked
    }

    fn said(messages: &[(&str, &str)]) -> Vec<Message> {
        messages.iter().map(|&(role, text)| Message::new(role, text)).collect()
    }

    #[test]
    fn every_form_of_a_line() {
        assert_eq!(asked(r#" "hello""#), Asked::Text("hello".to_owned()));
        assert_eq!(asked(r#"{"prompt":"hello","id":7}"#), Asked::Text("hello".to_owned()));
        assert_eq!(asked(r#"{"input":["a","b"]}"#), Asked::Input(json!(["a", "b"])));
        assert_eq!(asked(r#"{"body": {"b":1.50, "a":1}}"#), Asked::Body(r#"{"b":1.50, "a":1}"#.to_owned()));
        let line = r#"{"messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text"}]}]}"#;
        let parts = Message::new("user", json!([{ "type": "text" }]));
        assert_eq!(asked(line), Asked::Turns(vec![vec![Message::new("system", "s"), parts]]));
        let with = parse(r#"{"prompt":"x","output_len":5,"expect":"y"}"#, 3).unwrap();
        assert_eq!((with.max_tokens, with.expect.as_deref(), with.line), (Some(5), Some("y"), 3));
    }

    #[test]
    fn what_stands_beside_is_kept_but_for_names_and_what_is_read_here() {
        let more = |line| parse(line, 1).unwrap().more;
        let fields = |value: Value| value.as_object().unwrap().clone();
        let line = r#"{"id":1,"messages":[{"role":"user","content":"a"}],"temperature":0.7,"tools":[{}],"max_tokens":5,
            "expect":"x","model":"m","stream":true,"seed":null}"#;
        let wanted = fields(json!({ "temperature": 0.7, "tools": [{}] }));
        assert_eq!(more(line), More { model: Some("m".to_owned()), stream: Some(true), fields: wanted });
        assert_eq!(more(r#"{"prompt":"a","top_p":1}"#).fields, fields(json!({ "top_p": 1 })));
        assert_eq!(more(r#"{"conversations":[{"from":"human","value":"a"}],"lang":"en"}"#), More::default());
        assert!(parse(r#"{"prompt":"a","stream":"yes"}"#, 1).unwrap_err().contains("can't be read"));
    }

    #[test]
    fn conversations_are_split_where_the_assistant_answered() {
        let line = r#"{"id":"x","conversations":[{"from":"gpt","value":"hi"},{"from":"human","value":"a"},
            {"from":"gpt","value":"A"},{"from":"human","value":"b"},{"from":"gpt","value":"B"}]}"#;
        assert_eq!(asked(line), Asked::Turns(vec![said(&[("user", "a")]), said(&[("user", "b")])]));
        let messages = said(&[("system", "s"), ("user", "a"), ("user", "b"), ("assistant", "A"), ("user", "c")]);
        let wanted = vec![said(&[("system", "s"), ("user", "a"), ("user", "b")]), said(&[("user", "c")])];
        assert_eq!(turns(messages), Ok(wanted));
    }

    #[test]
    fn lines_that_ask_nothing_are_told() {
        for (line, part) in [
            ("{}", "asks nothing: give a text"),
            (r#"{"prompt":"a","input":"b"}"#, "asks in two ways"),
            (r#"{"prompt":1}"#, "can't be read"),
            (r#"{"messages":[{"role":"system","content":"s"}]}"#, "no message of a user"),
            (r#"{"messages":[{"role":"tool","content":"s"}]}"#, "role 'tool'"),
            ("42", "can't be read"),
        ] {
            let error = parse(line, 1).unwrap_err();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn errors_name_file_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("prompts.jsonl");
        std::fs::write(&file, "\"a\"\n\n{\"prompt\":\"b\"}\n").unwrap();
        let lines: Vec<_> = read(&file).unwrap().iter().map(|prompt| prompt.line).collect();
        assert_eq!(lines, [1, 3]);
        std::fs::write(&file, "\"a\"\n\n{}\n").unwrap();
        assert!(read(&file).unwrap_err().contains("prompts.jsonl:3: '{}' asks nothing"));
        std::fs::write(&file, "\n").unwrap();
        assert!(read(&file).unwrap_err().ends_with("has no lines"));
        assert!(read(Path::new("nowhere.jsonl")).unwrap_err().starts_with("--prompts nowhere.jsonl: "));
    }

    #[test]
    fn a_line_may_name_its_model() {
        let needs = |line: &str| parse(line, 1).unwrap().needs_model();
        assert!(needs("\"a\"") && needs(r#"{"body":{}}"#) && !needs(r#"{"body":{"model":"m"}}"#));
        assert!(!needs(r#"{"prompt":"a","model":"m"}"#));
    }
}
