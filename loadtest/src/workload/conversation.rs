//! Turns that build on the answers before.

use std::sync::Arc;

use super::expect::{Expect, text_of};
use super::openai::{Format, Message, More};
use crate::request::{Answer, Request};

/// Bytes of a request at which a conversation ends.
const MOST_BYTES: usize = 8 << 20;

/// What a caller says in a conversation after its opening, whatever it is answered.
#[derive(Debug)]
pub struct Script {
    format: Arc<Format>,
    more: More,
    later: Vec<Line>,
}

/// What is said before the server answers: a message of the user, and perhaps one of the system before it.
#[derive(Debug)]
pub struct Line {
    pub messages: Vec<Message>,
    pub max_tokens: u32,
    pub expect: Option<Arc<Expect>>,
}

/// Where in a conversation a request stands.
#[derive(Clone, Debug)]
pub struct Turn {
    script: Arc<Script>,
    /// Which of the later lines follows, from 0.
    next: usize,
    /// All that was said until then, the request's own line included.
    said: Arc<[Message]>,
}

impl Script {
    /// The request that opens a conversation, or the only one if nothing comes later. Completions are of texts alone.
    pub fn open(format: &Arc<Format>, opening: &Line, later: Vec<Line>) -> Request {
        Script::open_with(format, More::default(), opening, later)
    }

    /// The same where all requests say something more.
    pub fn open_with(format: &Arc<Format>, more: More, opening: &Line, later: Vec<Line>) -> Request {
        Arc::new(Script { format: format.clone(), more, later }).request(opening, 0, Vec::new())
    }

    /// The request of a line, after all that was said before it.
    fn request(self: &Arc<Self>, line: &Line, next: usize, mut said: Vec<Message>) -> Request {
        said.extend_from_slice(&line.messages);
        let mut request = self.format.generate(&said, line.max_tokens, &self.more);
        request.expect.clone_from(&line.expect);
        // Nothing follows the last turn, so its answer need not be kept.
        if next < self.later.len() {
            request.turn = Some(Turn { script: self.clone(), next, said: said.into() });
        }
        request
    }
}

impl Turn {
    /// What is asked after this answer. None where the answer is none to go on from, or all that was said has become too
    /// long.
    pub fn next(&self, answer: &Answer) -> Option<Request> {
        let cut = answer.stream.as_ref().is_some_and(|stream| !stream.whole || stream.error.is_some());
        if !answer.is_ok() || cut {
            return None;
        }
        let line = self.script.later.get(self.next)?;
        let mut said = self.said.to_vec();
        said.push(Message::new("assistant", text_of(answer)?));
        let request = self.script.request(line, self.next + 1, said);
        (request.body.len() <= MOST_BYTES).then_some(request)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::request::{Protocol, Stream};
    use crate::workload::dress::Dress;
    use crate::workload::fixtures::{answer, chat, streamed};

    fn first(protocol: Protocol, texts: &[&str]) -> Request {
        let dress = Dress::default();
        let format = Format { protocol, model: "m".to_owned(), stream: false, ignore_eos: false, dress };
        let line = |text: &&str| Line { messages: vec![Message::new("user", *text)], max_tokens: 4, expect: None };
        Script::open(&Arc::new(format), &line(&texts[0]), texts[1..].iter().map(line).collect())
    }

    fn next(request: &Request, answer: &Answer) -> Option<Request> {
        request.turn.as_ref()?.next(answer)
    }

    fn field(request: &Request, name: &str) -> Value {
        serde_json::from_slice::<Value>(&request.body).unwrap()[name].clone()
    }

    #[test]
    fn each_turn_has_all_turns_and_answers_before_it() {
        let one = first(Protocol::Chat, &["a", "b", "c"]);
        let two = next(&one, &chat("A")).unwrap();
        let three = next(&two, &streamed("B")).unwrap();
        let said = |role: &str, content: &str| json!({ "role": role, "content": content });
        let all =
            [said("user", "a"), said("assistant", "A"), said("user", "b"), said("assistant", "B"), said("user", "c")];
        assert_eq!(field(&one, "messages"), json!(all[..1]));
        assert_eq!(field(&two, "messages"), json!(all[..3]));
        assert_eq!(field(&three, "messages"), json!(all));
        assert!(one.wants_body() && !three.wants_body() && next(&three, &chat("C")).is_none());
        assert_eq!(field(&next(&one, &chat("A")).unwrap(), "messages"), json!(all[..3]), "a turn can be taken again");
    }

    #[test]
    fn completions_go_on_as_one_text() {
        let one = first(Protocol::Completions, &["a", "b"]);
        let answered = answer(Protocol::Completions, 200, r#"{"choices":[{"text":"A"}]}"#);
        assert_eq!(field(&next(&one, &answered).unwrap(), "prompt"), "a\nA\nb");
    }

    #[test]
    fn what_is_no_whole_answer_ends_a_conversation() {
        let one = first(Protocol::Chat, &["a", "b"]);
        let with = |stream: Stream| Answer { stream: Some(stream), ..answer(Protocol::Chat, 200, "") };
        for ends in [
            answer(Protocol::Chat, 500, ""),
            answer(Protocol::Chat, 200, "{}"),
            with(Stream { text: "A".to_owned(), ..Stream::default() }),
            with(Stream { whole: true, error: Some("overloaded".to_owned()), ..Stream::default() }),
        ] {
            assert!(next(&one, &ends).is_none(), "{ends:?}");
        }
    }

    #[test]
    fn a_conversation_ends_before_it_is_too_long() {
        let one = first(Protocol::Chat, &["a", "b"]);
        assert!(next(&one, &chat(&"x".repeat(MOST_BYTES - 1000))).is_some());
        assert!(next(&one, &chat(&"x".repeat(MOST_BYTES))).is_none());
    }
}
