//! Bodies of OpenAI's endpoints.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::dress::Dress;
use crate::request::{Protocol, Request};

/// What all requests to an endpoint have in common.
#[derive(Debug)]
pub struct Format {
    pub protocol: Protocol,
    pub model: String,
    pub stream: bool,
    pub ignore_eos: bool,
    pub dress: Dress,
}

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    /// A text, or a list of parts.
    pub content: Value,
}

impl Message {
    pub fn new(role: &str, content: impl Into<Value>) -> Message {
        Message { role: role.to_owned(), content: content.into() }
    }
}

/// What a request says besides, in place of what all have in common.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct More {
    pub model: Option<String>,
    /// Whether it was to be streamed, where that was said.
    pub stream: Option<bool>,
    pub fields: Map<String, Value>,
}

/// The model comes first, so that a gateway can route by it before the rest has come.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(flatten)]
    asked: Asked<'a>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    generation: Option<Generation>,
    #[serde(flatten)]
    more: &'a Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Asked<'a> {
    Messages(&'a [Message]),
    Prompt(&'a str),
    Input(&'a Value),
}

#[derive(Serialize)]
struct Generation {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    /// The likeliest token each time, so that a request has one answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<u8>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    /// vLLM's and SGLang's own: no answer ends before it has all of its tokens.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ignore_eos: bool,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// What a given body says already.
#[derive(Deserialize)]
struct Given {
    model: Option<IgnoredAny>,
    stream: Option<bool>,
    stream_options: Option<IgnoredAny>,
}

/// The path of an endpoint, below the server's own.
const fn path(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Completions => "/v1/completions",
        Protocol::Embeddings => "/v1/embeddings",
        _ => "/v1/chat/completions",
    }
}

impl Format {
    /// A chat with these messages, or a completion of their texts, a line each.
    pub fn generate(&self, messages: &[Message], max_tokens: u32, more: &More) -> Request {
        let prompt;
        let asked = match self.protocol {
            Protocol::Completions => {
                let texts: Vec<_> = messages.iter().filter_map(|message| message.content.as_str()).collect();
                prompt = texts.join("\n");
                Asked::Prompt(&prompt)
            }
            _ => Asked::Messages(messages),
        };
        let says = |field: &str| more.fields.contains_key(field);
        let counts = self.stream && !says("stream_options");
        let generation = Generation {
            max_tokens: (!says("max_completion_tokens")).then_some(max_tokens),
            temperature: (!says("temperature")).then_some(0),
            stream: self.stream,
            stream_options: counts.then_some(StreamOptions { include_usage: true }),
            ignore_eos: self.ignore_eos && !says("ignore_eos"),
        };
        let model = more.model.as_deref().unwrap_or(&self.model);
        self.request(self.stream, body(&Body { model, asked, generation: Some(generation), more: &more.fields }))
    }

    /// The embedding of a text, or of a list of them.
    pub fn embed(&self, input: &Value, more: &More) -> Request {
        let model = more.model.as_deref().unwrap_or(&self.model);
        self.request(false, body(&Body { model, asked: Asked::Input(input), generation: None, more: &more.fields }))
    }

    /// A body as it was given; model and stream are put before the rest if it has none.
    pub fn given(&self, text: &str) -> Result<Request, String> {
        let given = read(text)?;
        let mut missing = String::new();
        if given.model.is_none() {
            missing = format!("\"model\":{},", Value::from(self.model.as_str()));
        }
        match (given.stream, self.stream) {
            (Some(false), true) => return Err("it has \"stream\": false, and --stream is given".to_owned()),
            (None, true) => missing += "\"stream\":true,",
            _ => {}
        }
        let streams = given.stream.unwrap_or(self.stream);
        if streams && given.stream_options.is_none() {
            missing += "\"stream_options\":{\"include_usage\":true},";
        }
        if missing.is_empty() {
            return Ok(self.request(streams, text.as_bytes().to_vec()));
        }
        let (_, rest) = text.split_once('{').ok_or("it is not an object")?;
        if rest.trim_start().starts_with('}') {
            missing.pop();
        }
        Ok(self.request(streams, format!("{{{missing}{rest}").into_bytes()))
    }

    fn request(&self, streams: bool, body: Vec<u8>) -> Request {
        self.dress.on(Request { streams, ..Request::new(self.protocol, path(self.protocol), body) })
    }
}

/// Whether a given body names its model.
pub fn names_model(text: &str) -> Result<bool, String> {
    Ok(read(text)?.model.is_some())
}

fn read(text: &str) -> Result<Given, String> {
    if !text.trim_start().starts_with('{') {
        return Err("it is not a JSON object".to_owned());
    }
    serde_json::from_str(text).map_err(|error| format!("it can't be read as a request: {error}"))
}

fn body(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("texts and numbers can be serialised")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn format(protocol: Protocol, stream: bool) -> Format {
        Format { protocol, model: "m".to_owned(), stream, ignore_eos: false, dress: Dress::default() }
    }

    fn json_of(request: &Request) -> Value {
        serde_json::from_slice(&request.body).unwrap()
    }

    #[test]
    fn chats_completions_and_embeddings_as_openai_has_them() {
        let messages = [Message::new("system", "be brief"), Message::new("user", "hello")];
        let chat = format(Protocol::Chat, true).generate(&messages, 9, &More::default());
        assert!(chat.streams && chat.path == "/v1/chat/completions" && chat.body.starts_with(br#"{"model":"m""#));
        assert_eq!(
            json_of(&chat),
            json!({
                "model": "m",
                "messages": [{ "role": "system", "content": "be brief" }, { "role": "user", "content": "hello" }],
                "max_tokens": 9, "temperature": 0, "stream": true, "stream_options": { "include_usage": true }
            })
        );
        let completions = Format { ignore_eos: true, ..format(Protocol::Completions, false) };
        let completion = completions.generate(&messages, 9, &More::default());
        assert!(!completion.streams && completion.path == "/v1/completions");
        let wanted =
            json!({ "model": "m", "prompt": "be brief\nhello", "max_tokens": 9, "temperature": 0, "ignore_eos": true });
        assert_eq!(json_of(&completion), wanted);
        let embedding = format(Protocol::Embeddings, false).embed(&json!(["a", "b"]), &More::default());
        assert_eq!(json_of(&embedding), json!({ "model": "m", "input": ["a", "b"] }));
        assert_eq!(embedding.path, "/v1/embeddings");
    }

    #[test]
    fn what_a_request_says_itself_holds() {
        let fields = json!({ "temperature": 0.7, "stream_options": {}, "max_completion_tokens": 3, "tools": [] });
        let fields = fields.as_object().unwrap().clone();
        let more = More { model: Some("other".to_owned()), stream: Some(true), fields };
        let chat = format(Protocol::Chat, true).generate(&[Message::new("user", "a")], 9, &more);
        let wanted = json!({
            "model": "other", "messages": [{ "role": "user", "content": "a" }], "stream": true,
            "temperature": 0.7, "stream_options": {}, "max_completion_tokens": 3, "tools": []
        });
        assert_eq!(json_of(&chat), wanted);
        let keys = std::str::from_utf8(&chat.body).unwrap().matches("\"temperature\"").count();
        assert_eq!(keys, 1, "nothing is said twice");
    }

    #[test]
    fn given_bodies_are_sent_as_they_are_but_for_what_is_missing() {
        let whole = r#" {"model":"x", "stream":true, "stream_options":{}, "messages":[]}"#;
        let request = format(Protocol::Chat, false).given(whole).unwrap();
        assert_eq!(request.body, whole);
        assert!(request.streams, "it asks for a stream itself");
        let part = format(Protocol::Chat, true).given(r#"{ "messages":[1.50]}"#).unwrap();
        assert!(part.streams && std::str::from_utf8(&part.body).unwrap().ends_with(r#" "messages":[1.50]}"#));
        let wanted = json!({
            "model": "m", "stream": true, "stream_options": { "include_usage": true }, "messages": [1.5]
        });
        assert_eq!(json_of(&part), wanted);
        assert_eq!(json_of(&format(Protocol::Chat, false).given("{ }").unwrap()), json!({ "model": "m" }));
    }

    #[test]
    fn bodies_that_can_not_be_sent_are_told() {
        for (text, part) in
            [("[]", "not a JSON object"), ("{\"a\":", "can't be read"), (r#"{"stream":false}"#, "--stream is given")]
        {
            let error = format(Protocol::Chat, true).given(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert_eq!(names_model(r#"{"messages":[],"model":"m"}"#), Ok(true));
        assert_eq!(names_model("{}"), Ok(false));
    }
}
