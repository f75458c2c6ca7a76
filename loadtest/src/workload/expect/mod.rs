//! What an answer must be, besides well-formed and without an error.
//!
//! ```text
//! seen   what an answer says, the same for every way to write it
//! equal  when two answers say the same
//! ```
//!
//! Expectations are written as
//!
//! - `same`: every answer to a request says what the first one to it said, whichever server gave it
//! - `file:PATH`: the answer says what the file says. Of V2 outputs are compared, of chats and completions texts, else
//!   the whole JSON but `id`, `created`, `system_fingerprint` and `usage`; numbers may differ by 1e-5
//! - `contains:TEXT`: the text of the answer, or its body where it is no text, has this in it
//! - `json:/POINTER=VALUE`: the answer has this at a JSON pointer; V2's answers are seen as V2 JSON with flat data,
//!   however they came

mod equal;
mod seen;

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use self::equal::{Place, equal, first_difference};
pub use self::seen::text_of;
use self::seen::{Seen, file};
use super::samples::cut;
use crate::request::{Answer, Protocol};

/// Characters of a given text that are shown again.
const SHOWN: usize = 60;

/// What answers to one request must be: all of its terms.
#[derive(Debug)]
pub struct Expect {
    terms: Arc<[Term]>,
    /// What the first answer said, where later ones must say the same.
    first: OnceLock<Seen>,
}

/// One expectation.
#[derive(Clone, Debug)]
pub enum Term {
    Same,
    File { name: String, holds: Arc<Seen> },
    Contains(Arc<str>),
    Json { pointer: String, value: Value },
}

/// How an answer differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The expectation that it misses; the same for all answers that miss it.
    pub kind: String,
    /// What came instead.
    pub detail: String,
}

impl Term {
    /// Reads what `--expect` was given, and the file that it may name.
    pub fn parse(text: &str, protocol: Protocol, streams: bool) -> Result<Term, String> {
        let wrong = |why: &str| format!("--expect '{}' {why}", cut(text, SHOWN));
        match text.split_once(':') {
            None if text == "same" => Ok(Term::Same),
            Some(("contains", part)) if !part.is_empty() => Ok(Term::Contains(part.into())),
            Some(("file", path)) => {
                let body = std::fs::read(path).map_err(|error| wrong(&format!("can't be read: {error}")))?;
                let name = path.rsplit('/').next().unwrap_or(path).to_owned();
                let holds = file(body.into(), protocol, streams).map_err(|why| wrong(&why))?;
                Ok(Term::File { name, holds: Arc::new(holds) })
            }
            Some(("json", _)) if streams => {
                Err(wrong("looks into JSON, and streamed answers are text: use contains, or leave out --stream"))
            }
            Some(("json", rest)) => match rest.split_once('=') {
                Some((pointer, value)) if pointer.is_empty() || pointer.starts_with('/') => {
                    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
                    Ok(Term::Json { pointer: pointer.to_owned(), value })
                }
                _ => Err(wrong("is not of the form json:/POINTER=VALUE, as json:/outputs/0/data/0=7")),
            },
            _ => Err(wrong("is not known: give same, file:PATH, contains:TEXT or json:/POINTER=VALUE")),
        }
    }

    /// What the expectation is called where answers miss it.
    fn kind(&self) -> String {
        match self {
            Term::Same => "not the same as the first answer".to_owned(),
            Term::File { name, .. } => format!("not what file {} has", cut(name, SHOWN)),
            Term::Contains(text) => format!("does not contain '{}'", cut(text, SHOWN)),
            Term::Json { pointer, value } => {
                format!("json:{} is not {}", cut(pointer, SHOWN), cut(&value.to_string(), SHOWN))
            }
        }
    }
}

impl Expect {
    /// None where nothing is expected. Requests do not share what their first answers said.
    pub fn all(terms: &Arc<[Term]>) -> Option<Arc<Expect>> {
        (!terms.is_empty()).then(|| Arc::new(Expect { terms: terms.clone(), first: OnceLock::new() }))
    }

    /// How an answer differs from what is expected, if it does.
    pub fn check(&self, answer: &Answer) -> Option<Difference> {
        let seen = match Seen::of(answer) {
            Ok(seen) => seen,
            Err(why) => return Some(Difference { kind: "answer can't be read".to_owned(), detail: why }),
        };
        self.terms.iter().find_map(|term| {
            let detail = match term {
                Term::Same => differs(self.first.get_or_init(|| seen.clone()), &seen),
                Term::File { holds, .. } => differs(holds, &seen),
                Term::Contains(text) => (!seen.contains(text)).then(|| seen.shown()),
                Term::Json { pointer, value } => match seen.json().pointer(pointer) {
                    Some(found) if equal(value, found) => None,
                    Some(found) => Some(found.to_string()),
                    None => Some("nothing there".to_owned()),
                },
            }?;
            Some(Difference { kind: term.kind(), detail: format!("got {}", cut(&detail, SHOWN)) })
        })
    }
}

/// Where two answers differ, and what the second has there.
fn differs(wanted: &Seen, got: &Seen) -> Option<String> {
    match (wanted, got) {
        (Seen::Tensors(wanted), Seen::Tensors(got)) if wanted.outputs == got.outputs => return None,
        _ if wanted.text().is_some() && wanted.text() == got.text() => return None,
        _ if wanted.text().is_some() || got.text().is_some() => return Some(got.shown()),
        _ => {}
    }
    let Place { place, wanted, got } = first_difference(&wanted.content(), &got.content())?;
    Some(format!("{} at {place}, not {}", cut(&got, 20), cut(&wanted, 20)))
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::{Datatype, InferRequest, InferResponse, Shape, Tensor, oip, v2};

    use super::*;
    use crate::request::framed;
    use crate::workload::fixtures::{answer, chat, streamed};

    fn expect(text: &str, protocol: Protocol) -> Arc<Expect> {
        let term = Term::parse(text, protocol, false).unwrap();
        Expect::all(&vec![term].into()).unwrap()
    }

    fn response(id: &str, values: &[f32]) -> InferResponse {
        let data: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let output = Tensor::new("y", Datatype::Fp32, Shape::from_slice(&[1, values.len()]), data.into()).unwrap();
        InferResponse { model_name: "m".into(), model_version: None, id: Some(id.to_owned()), outputs: vec![output] }
    }

    /// The same answer in each form of V2.
    fn answers(id: &str, values: &[f32]) -> Vec<Answer> {
        let response = response(id, values);
        let rest = |protocol, binary_outputs| {
            let request = InferRequest { binary_outputs, ..InferRequest::default() };
            let encoded = v2::encode_response(&response, &request).unwrap();
            let length = encoded.header_length;
            let mut answer = answer(protocol, 200, encoded.into_bytes());
            if let Some(length) = length {
                answer.headers.insert("inference-header-content-length", length.into());
            }
            answer
        };
        let message = framed(&oip::encode_response(response.clone(), true).unwrap()).unwrap();
        let mut grpc = answer(Protocol::Grpc, 200, message);
        grpc.headers.insert("grpc-status", "0".parse().unwrap());
        vec![rest(Protocol::V2, false), rest(Protocol::V2Binary, true), grpc]
    }

    #[test]
    fn pointers_reach_into_every_form_of_v2() {
        for answer in answers("a", &[7.0, 0.1]) {
            for text in ["json:/outputs/0/data/0=7", "json:/outputs/0/data/1=0.1", "json:/outputs/0/name=y"] {
                assert_eq!(expect(text, answer.protocol).check(&answer), None, "{text}, {}", answer.protocol);
            }
            let missed = expect("json:/outputs/0/data/0=8", answer.protocol).check(&answer).unwrap();
            assert_eq!((missed.kind.as_str(), missed.detail.as_str()), ("json:/outputs/0/data/0 is not 8", "got 7.0"));
            let missed = expect("json:/outputs/3=8", answer.protocol).check(&answer).unwrap();
            assert_eq!(missed.detail, "got nothing there");
        }
    }

    #[test]
    fn same_ignores_ids_and_rounding_and_nothing_else() {
        for index in 0..3 {
            let take = |id, values: &[f32]| answers(id, values).remove(index);
            let same = expect("same", Protocol::V2);
            assert_eq!(same.check(&take("a", &[1.0, 2.0])), None);
            assert_eq!(same.check(&take("b", &[1.0, 2.000_01])), None);
            let missed = same.check(&take("c", &[1.0, 2.1])).unwrap();
            assert_eq!(missed.kind, "not the same as the first answer");
            assert!(missed.detail.contains("/outputs/0/data/1"), "{}", missed.detail);
            assert!(same.check(&take("d", &[1.0])).is_some(), "another shape");
        }
    }

    #[test]
    fn texts_are_compared_whether_streamed_or_not() {
        let same = expect("same", Protocol::Chat);
        assert_eq!(same.check(&chat("hello there")), None);
        assert_eq!(same.check(&streamed("hello there")), None);
        assert_eq!(same.check(&streamed("hello")).unwrap().detail, "got hello");
        let contains = expect("contains:there", Protocol::Chat);
        assert_eq!(contains.check(&streamed("hello there")), None);
        assert_eq!(contains.check(&chat("hello")).unwrap().kind, "does not contain 'there'");
    }

    #[test]
    fn embeddings_are_the_same_but_for_what_names_the_answer() {
        let body = |id: &str, value: f64| {
            format!(r#"{{"id":"{id}","created":{},"usage":{{"n":1}},"data":[{{"embedding":[{value}]}}]}}"#, id.len())
        };
        let same = expect("same", Protocol::Embeddings);
        assert_eq!(same.check(&answer(Protocol::Embeddings, 200, body("a", 0.5))), None);
        assert_eq!(same.check(&answer(Protocol::Embeddings, 200, body("bb", 0.500_001))), None);
        assert!(same.check(&answer(Protocol::Embeddings, 200, body("a", 0.6))).is_some());
    }

    #[test]
    fn files_are_compared_in_the_form_that_the_protocol_has() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            format!("file:{}", path.display())
        };
        let tensors = write(
            "tensors.json",
            r#"{"model_name":"m","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[[1.0,2.0]]}]}"#,
        );
        for answer in answers("a", &[1.0, 2.0]) {
            assert_eq!(expect(&tensors, answer.protocol).check(&answer), None, "{}", answer.protocol);
        }
        let missed = expect(&tensors, Protocol::Grpc).check(&answers("a", &[1.0, 3.0])[2]).unwrap();
        assert_eq!(missed.kind, "not what file tensors.json has");
        let rows = write("rows.json", r#"{"predictions":[1, 2.5]}"#);
        assert_eq!(
            expect(&rows, Protocol::V1).check(&answer(Protocol::V1, 200, r#"{"predictions": [1.0,2.5]}"#)),
            None
        );
        let text = write("text", "hello there\n");
        assert_eq!(expect(&text, Protocol::Chat).check(&streamed("hello there")), None);
        assert!(Term::parse(&text, Protocol::V2, false).unwrap_err().contains("is not an answer of v2"));
        assert!(Term::parse("file:nowhere", Protocol::V2, false).unwrap_err().contains("can't be read"));
    }

    #[test]
    fn what_can_not_be_expected_is_told() {
        for (text, streams, part) in [
            ("json:outputs=1", false, "json:/POINTER=VALUE"),
            ("json:/a", false, "json:/POINTER=VALUE"),
            ("json:/a=1", true, "streamed answers are text"),
            ("contains:", false, "is not known"),
            ("equal", false, "is not known"),
        ] {
            let error = Term::parse(text, Protocol::Chat, streams).unwrap_err();
            assert!(error.starts_with(&format!("--expect '{text}'")) && error.contains(part), "{error}");
        }
    }

    #[test]
    fn an_answer_that_is_no_answer_is_wrong() {
        let missed = expect("same", Protocol::V2).check(&answer(Protocol::V2, 200, "<html>")).unwrap();
        assert_eq!(missed.kind, "answer can't be read");
    }
}
