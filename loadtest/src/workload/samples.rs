//! What the server itself said, once for each kind of failure: enough to see what is wrong, and never much.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::request::{Answer, Protocol};

/// Kinds of which a sample is kept.
const MOST_KINDS: usize = 20;
/// Characters of a sample.
const MOST_CHARACTERS: usize = 160;
/// Characters of an address in it.
const SHOWN: usize = 120;

/// One text for each kind of failure, as [`Outcome::kind`](crate::outcome::Outcome::kind) calls it. Each thread has its own.
#[derive(Debug, Default)]
pub struct Samples {
    by_kind: BTreeMap<String, String>,
}

impl Samples {
    /// Keeps a text if it is the first of its kind.
    pub fn note(&mut self, kind: &str, text: impl FnOnce() -> Option<String>) {
        if self.by_kind.len() >= MOST_KINDS || self.by_kind.contains_key(kind) {
            return;
        }
        if let Some(text) = text() {
            self.by_kind.insert(kind.to_owned(), cut(&text, MOST_CHARACTERS).into_owned());
        }
    }

    /// All texts, by kind.
    pub fn into_all(self) -> BTreeMap<String, String> {
        self.by_kind
    }
}

/// The text, shortened to so many characters, on one line.
pub fn cut(text: &str, most: usize) -> Cow<'_, str> {
    let text = if text.contains(['\n', '\r']) { Cow::from(text.replace(['\n', '\r'], " ")) } else { text.into() };
    match text.char_indices().nth(most) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]).into(),
    }
}

/// What an answer that went wrong says of it: the message of its error object or trailer, else the body as it is.
pub fn error_text(answer: &Answer) -> Option<String> {
    if answer.protocol == Protocol::Grpc {
        let trailers = answer.trailers.as_ref().unwrap_or(&answer.headers);
        let message = trailers.get("grpc-message")?.as_bytes();
        let message = percent_decode_str(std::str::from_utf8(message).ok()?).decode_utf8_lossy();
        return Some(cut(&message, MOST_CHARACTERS).into_owned());
    }
    if let (300..=399, Some(location)) = (answer.status, answer.headers.get(http::header::LOCATION)) {
        return Some(format!(
            "it is at {}: give that address",
            cut(&String::from_utf8_lossy(location.as_bytes()), SHOWN)
        ));
    }
    let message = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(body) => ["/error/message", "/error", "/detail", "/message"]
            .iter()
            .filter_map(|place| body.pointer(place))
            .find(|message| !message.is_null())
            .map(|message| message.as_str().map_or_else(|| message.to_string(), str::to_owned)),
        Err(_) => None,
    };
    let message = message.unwrap_or_else(|| String::from_utf8_lossy(&answer.body).into_owned());
    (!message.trim().is_empty()).then(|| cut(message.trim(), MOST_CHARACTERS).into_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::workload::fixtures::answer;

    #[test]
    fn the_first_text_of_each_kind_stays_and_kinds_are_few() {
        let mut samples = Samples::default();
        for index in 0..30 {
            samples.note(&format!("kind {index:02}"), || Some("first".to_owned()));
            samples.note(&format!("kind {index:02}"), || Some("second".to_owned()));
        }
        let all = samples.into_all();
        assert_eq!(all.len(), MOST_KINDS);
        assert!(all.values().all(|text| text == "first"));
    }

    #[test]
    fn texts_are_cut_between_characters_and_kept_on_a_line() {
        assert_eq!(cut("été\nété", 5), "été é…");
        assert_eq!(cut("été", 3), "été");
    }

    #[test]
    fn the_servers_words_are_found_in_every_shape_of_error() {
        for (body, said) in [
            (r#"{"error":"no such model"}"#, Some("no such model")),
            (r#"{"error":{"message":"too long","type":"x"}}"#, Some("too long")),
            (r#"{"detail":[{"msg":"field required"}]}"#, Some(r#"[{"msg":"field required"}]"#)),
            ("<html>bad gateway</html>", Some("<html>bad gateway</html>")),
            ("", None),
        ] {
            assert_eq!(error_text(&answer(Protocol::V2, 500, body)).as_deref(), said, "{body}");
        }
        let mut moved = answer(Protocol::V2, 308, "<html>");
        moved.headers.insert("location", "https://x/v2".parse().unwrap());
        assert_eq!(error_text(&moved).as_deref(), Some("it is at https://x/v2: give that address"));
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-message", "queue%20is full".parse().unwrap());
        let refused = Answer { trailers: Some(trailers), ..answer(Protocol::Grpc, 200, "") };
        assert_eq!(error_text(&refused).as_deref(), Some("queue is full"));
    }
}
