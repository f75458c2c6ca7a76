//! Answers of OpenAI's endpoints: the parts of a streamed one as they come, and the tokens of a whole one.

use std::borrow::Cow;
use std::time::Instant;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use weirgate_protocol::sse::{Parser, TooLong};

use super::Failure;
use crate::request::Stream;

/// Most gaps of an answer that are told one by one.
const MOST_GAPS: usize = 1 << 14;

/// Reads a streamed answer.
#[derive(Debug, Default)]
pub(super) struct Reader {
    parser: Parser,
    seen: Seen,
}

/// What the events so far have told.
#[derive(Debug, Default)]
struct Seen {
    stream: Stream,
    keeps_text: bool,
}

impl Reader {
    pub(super) fn new(keeps_text: bool) -> Reader {
        Reader { parser: Parser::default(), seen: Seen { stream: Stream::default(), keeps_text } }
    }

    /// Takes the next bytes, read at `at`.
    pub(super) fn push(&mut self, bytes: &[u8], at: Instant) -> Result<(), Failure> {
        self.parser.push(bytes, |data| self.seen.event(data, at))
    }

    /// Bytes of the text that it keeps.
    pub(super) fn text_length(&self) -> usize {
        self.seen.stream.text.len()
    }

    pub(super) fn finish(mut self) -> Result<Stream, Failure> {
        // Only an event without the empty line behind it is still to come, mostly [DONE]. If it has text, that came with
        // the text before at the latest.
        let at = self.seen.stream.last.unwrap_or_else(Instant::now);
        self.parser.finish(|data| self.seen.event(data, at))?;
        Ok(self.seen.stream)
    }
}

impl From<TooLong> for Failure {
    fn from(error: TooLong) -> Failure {
        Failure::Malformed(error.to_string())
    }
}

impl Seen {
    fn event(&mut self, data: &[u8], at: Instant) -> Result<(), Failure> {
        let stream = &mut self.stream;
        if stream.whole || stream.error.is_some() {
            return Ok(());
        }
        if data.trim_ascii() == b"[DONE]" {
            stream.whole = true;
            return Ok(());
        }
        let chunk: Chunk<'_> =
            serde_json::from_slice(data).map_err(|error| Failure::Malformed(format!("event: {error}")))?;
        let error = chunk.error.map(ErrorEvent::text);
        if let Some(error) = error.or_else(|| chunk.message.filter(|_| chunk.object.as_deref() == Some("error"))) {
            stream.error = Some(error);
            return Ok(());
        }
        if let Some(usage) = chunk.usage {
            (stream.prompt_tokens, stream.output_tokens) = (usage.prompt_tokens, usage.completion_tokens);
        }
        let choices = chunk.choices.unwrap_or_default();
        if self.keeps_text {
            let first = choices.iter().filter(|choice| choice.index == 0);
            stream.text.extend(first.filter_map(Choice::text));
        }
        if choices.iter().any(Choice::has_output) {
            self.part(at);
        }
        Ok(())
    }

    fn part(&mut self, at: Instant) {
        let stream = &mut self.stream;
        match stream.last {
            None => stream.first = Some(at),
            Some(last) if stream.gaps_us.len() < MOST_GAPS => {
                let gap = at.saturating_duration_since(last).as_micros();
                stream.gaps_us.push(u32::try_from(gap).unwrap_or(u32::MAX));
            }
            Some(_) => {}
        }
        stream.last = Some(at);
        stream.parts = stream.parts.saturating_add(1);
    }
}

/// One event. Servers leave out or null what they have nothing to say about.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Usage>,
    error: Option<ErrorEvent>,
    /// `error` where the event itself is one, with a message.
    #[serde(borrow)]
    object: Option<Cow<'a, str>>,
    message: Option<String>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    /// Of chat completions.
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    /// Of completions.
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    reasoning_content: Option<Cow<'a, str>>,
    /// What newer servers call it.
    #[serde(borrow)]
    reasoning: Option<Cow<'a, str>>,
    /// Why the model does not answer, in place of content.
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
    /// Calls of tools, piece by piece. Their text is of no interest, only that it came.
    tool_calls: Option<Vec<IgnoredAny>>,
}

/// An answer in one piece.
#[derive(Deserialize)]
pub(super) struct Whole<'a> {
    #[serde(borrow, default, deserialize_with = "some_or_none")]
    pub(super) choices: Vec<WholeChoice<'a>>,
    /// Of embeddings.
    pub(super) data: Option<Vec<IgnoredAny>>,
    pub(super) usage: Option<Usage>,
    pub(super) error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct WholeChoice<'a> {
    #[serde(borrow)]
    message: Option<Delta<'a>>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

impl WholeChoice<'_> {
    pub(super) fn has_output(&self) -> bool {
        has_output(self.message.as_ref(), self.text.as_deref())
    }
}

/// A list that may be null.
fn some_or_none<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Whether the model put out anything: text, reasoning, a refusal, or a call of a tool.
fn has_output(message: Option<&Delta<'_>>, text: Option<&str>) -> bool {
    let texts =
        message.map(|message| [&message.content, &message.reasoning_content, &message.reasoning, &message.refusal]);
    let texts = texts.into_iter().flatten().filter_map(Option::as_deref);
    let calls = message.and_then(|message| message.tool_calls.as_ref());
    text.into_iter().chain(texts).any(|text| !text.is_empty()) || calls.is_some_and(|calls| !calls.is_empty())
}

impl Choice<'_> {
    /// The answer's own text, without the reasoning before it.
    fn text(&self) -> Option<&str> {
        let content = self.delta.as_ref().and_then(|delta| delta.content.as_deref());
        content.or(self.text.as_deref())
    }

    /// Whether the part has output in it, which may be a piece of a tool's call.
    fn has_output(&self) -> bool {
        has_output(self.delta.as_ref(), self.text.as_deref())
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ErrorEvent {
    Object { message: String },
    Text(String),
    Other(serde_json::Value),
}

impl ErrorEvent {
    fn text(self) -> String {
        match self {
            ErrorEvent::Object { message } => message,
            ErrorEvent::Text(text) => text,
            ErrorEvent::Other(value) => value.to_string(),
        }
    }
}

/// Tokens by the server's own count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Usage {
    pub prompt_tokens: Option<u32>,
    /// Those that were generated; embeddings have none.
    pub completion_tokens: Option<u32>,
}

impl Usage {
    /// Of an answer that came whole; None where it tells nothing of tokens.
    pub fn of(body: &[u8]) -> Option<Usage> {
        #[derive(Deserialize)]
        struct Whole {
            usage: Option<Usage>,
        }
        serde_json::from_slice::<Whole>(body).ok()?.usage
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read(events: &[(u64, &str)]) -> Result<Stream, Failure> {
        let start = Instant::now();
        let mut reader = Reader::new(true);
        for (millis, event) in events {
            reader.push(format!("data: {event}\n\n").as_bytes(), start + Duration::from_millis(*millis))?;
        }
        reader.finish()
    }

    #[test]
    fn a_chat_with_role_reasoning_text_and_usage() {
        let stream = read(&[
            (0, r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}],"usage":null}"#),
            (10, r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm","content":null}}]}"#),
            (30, r#"{"choices":[{"index":0,"delta":{"content":"He\"y"},"finish_reason":null}]}"#),
            (35, r#"{"choices":[{"index":0,"delta":{"content":" you"}},{"index":1,"delta":{"content":"no"}}]}"#),
            (36, r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#),
            (40, r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":3,"total_tokens":8}}"#),
            (40, "[DONE]"),
        ])
        .unwrap();
        assert_eq!((stream.parts, &stream.gaps_us[..], stream.text.as_str()), (3, &[20_000, 5_000][..], "He\"y you"));
        assert_eq!((stream.prompt_tokens, stream.output_tokens), (Some(5), Some(3)));
        assert_eq!(stream.last.zip(stream.first).map(|(last, first)| last - first), Some(Duration::from_millis(25)));
        assert!(stream.whole && stream.error.is_none());
    }

    #[test]
    fn completions_have_their_text_elsewhere() {
        let stream = read(&[(1, r#"{"choices":[{"index":0,"text":"a"}]}"#), (2, r#"{"choices":[{"text":"b"}]}"#)]);
        let stream = stream.unwrap();
        assert_eq!((stream.text.as_str(), stream.parts, stream.whole), ("ab", 2, false));
    }

    #[test]
    fn calls_of_tools_and_refusals_are_parts_but_no_text() {
        let stream = read(&[
            (1, r#"{"choices":[{"delta":{"role":"assistant","content":null,"tool_calls":[]}}]}"#),
            (5, r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}}]}"#),
            (9, r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#),
            (11, r#"{"choices":[{"delta":{"refusal":"I can't"}}]}"#),
            (12, "[DONE]"),
        ])
        .unwrap();
        assert_eq!((stream.parts, &stream.gaps_us[..], stream.text.as_str()), (3, &[4_000, 2_000][..], ""));
    }

    #[test]
    fn gaps_of_long_answers_are_told_up_to_a_number_and_parts_are_all_counted() {
        let start = Instant::now();
        let mut reader = Reader::new(false);
        let parts = MOST_GAPS as u32 + 100;
        for part in 0..parts {
            let at = start + Duration::from_millis(u64::from(part));
            reader.push(b"data: {\"choices\":[{\"text\":\"a\"}]}\n\n", at).unwrap();
        }
        let stream = reader.finish().unwrap();
        assert_eq!((stream.gaps_us.len(), stream.parts), (MOST_GAPS, parts));
        assert_eq!(stream.last, Some(start + Duration::from_millis(u64::from(parts) - 1)));
    }

    #[test]
    fn errors_end_it() {
        for (event, text) in [
            (r#"{"error":{"message":"out of memory","type":"server_error"}}"#, "out of memory"),
            (r#"{"error":"no slots"}"#, "no slots"),
            (r#"{"error":{"code":7}}"#, r#"{"code":7}"#),
            (r#"{"object":"error","message":"too long","code":400}"#, "too long"),
        ] {
            let stream = read(&[(0, r#"{"choices":[{"text":"a"}]}"#), (1, event), (2, "[DONE]")]).unwrap();
            assert_eq!((stream.error.as_deref(), stream.whole, stream.parts), (Some(text), false, 1), "{event}");
        }
        assert!(matches!(read(&[(0, "{\"choices\":")]), Err(Failure::Malformed(_))));
    }

    #[test]
    fn tokens_of_a_whole_answer() {
        let body = br#"{"object":"list","data":[{"embedding":[0.5]}],"usage":{"prompt_tokens":9,"total_tokens":9}}"#;
        assert_eq!(Usage::of(body), Some(Usage { prompt_tokens: Some(9), completion_tokens: None }));
        assert_eq!(Usage::of(b"{\"usage\":null}"), None);
        assert_eq!(Usage::of(b"not json"), None);
    }
}
