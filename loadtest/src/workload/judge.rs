//! What became of a request that was answered.

use serde_json::Value;

use super::samples::{Samples, error_text};
use crate::client::shape::Fault;
use crate::outcome::Outcome;
use crate::request::{Answer, Protocol, Request, Stream};

/// gRPC's RESOURCE_EXHAUSTED and UNAVAILABLE.
const SHED_GRPC: [u8; 2] = [8, 14];
const SHED_HTTP: [u16; 2] = [429, 503];

/// Kinds are few, so that they can be counted; what the server said goes into the samples.
pub fn judge(request: &Request, answer: &Answer, samples: &mut Samples) -> Outcome {
    if !answer.is_ok() {
        let kind = answer.outcome();
        samples.note(&kind, || error_text(answer));
        return if is_shed(answer) { Outcome::Shed(kind) } else { Outcome::Error(kind) };
    }
    if request.streams
        && let Some((kind, said)) = broken(answer.stream.as_ref(), request.is_checked)
    {
        samples.note(&kind, || said);
        return Outcome::Error(kind);
    }
    if let Some(fault) = answer.fault {
        let kind = fault.to_string();
        samples.note(&kind, || error_text(answer));
        return Outcome::Error(kind);
    }
    match request.expect.as_ref().and_then(|expect| expect.check(answer)) {
        None => Outcome::Ok,
        Some(difference) => {
            let outcome = Outcome::Wrong(difference.kind);
            samples.note(&outcome.kind(), || Some(difference.detail));
            outcome
        }
    }
}

fn is_shed(answer: &Answer) -> bool {
    match answer.protocol {
        Protocol::Grpc if answer.status == 200 => {
            answer.grpc_status().is_some_and(|status| SHED_GRPC.contains(&status))
        }
        _ => SHED_HTTP.contains(&answer.status),
    }
}

/// Why a stream that began well is no answer, and what the server said of it.
fn broken(stream: Option<&Stream>, is_checked: bool) -> Option<(String, Option<String>)> {
    let Some(stream) = stream else { return Some(("answer is not a stream".to_owned(), None)) };
    if let Some(said) = &stream.error {
        return Some((stream_error(said), Some(said.clone())));
    }
    match stream {
        Stream { whole: false, .. } => Some(("stream cut".to_owned(), None)),
        Stream { parts: 0, .. } if is_checked => Some((Fault::Empty.to_string(), None)),
        _ => None,
    }
}

/// The type or code of OpenAI's error object, where the event holds one.
fn stream_error(said: &str) -> String {
    let kind = serde_json::from_str::<Value>(said).ok().and_then(|event| {
        let error = event.get("error").unwrap_or(&event);
        ["type", "code"].iter().find_map(|field| match error.get(field)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        })
    });
    match kind {
        Some(kind) => format!("stream error: {}", super::samples::cut(&kind, 40)),
        None => "stream error".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::workload::fixtures::{answer, streamed};

    fn outcome(request: &Request, answer: &Answer) -> (Outcome, Vec<(String, String)>) {
        let mut samples = Samples::default();
        (judge(request, answer, &mut samples), samples.into_all().into_iter().collect())
    }

    #[test]
    fn http_statuses_are_told_apart() {
        let request = Request::new(Protocol::V2, "/", "{}");
        let of = |status| outcome(&request, &answer(Protocol::V2, status, r#"{"error":"why"}"#));
        for status in [200, 201, 204] {
            assert_eq!(of(status), (Outcome::Ok, vec![]));
        }
        for status in [429, 503] {
            assert_eq!(of(status).0, Outcome::Shed(status.to_string()));
        }
        for status in [400, 404, 500, 504, 304] {
            let said = vec![(status.to_string(), "why".to_owned())];
            assert_eq!(of(status), (Outcome::Error(status.to_string()), said));
        }
    }

    #[test]
    fn what_is_no_answer_of_its_protocol_is_an_error_with_what_came() {
        let request = Request::new(Protocol::V2, "/", "{}");
        for (fault, body, kind, said) in [
            (Fault::NotJson, "<html>hi", "malformed answer: not a JSON object", "<html>hi"),
            (Fault::SaysError, r#"{"error":"busy"}"#, "200 with an error", "busy"),
        ] {
            let answer = Answer { fault: Some(fault), ..answer(Protocol::V2, 200, body) };
            let noted = vec![(kind.to_owned(), said.to_owned())];
            assert_eq!(outcome(&request, &answer), (Outcome::Error(kind.to_owned()), noted));
        }
    }

    #[test]
    fn grpc_is_judged_by_its_trailers() {
        let request = Request::new(Protocol::Grpc, "/", "");
        let of = |status: u16, code: Option<&str>| {
            let mut trailers = HeaderMap::new();
            if let Some(code) = code {
                trailers.insert("grpc-status", code.parse().unwrap());
            }
            outcome(&request, &Answer { trailers: Some(trailers), ..answer(Protocol::Grpc, status, "") }).0
        };
        assert_eq!(of(200, Some("0")), Outcome::Ok);
        assert_eq!(of(200, Some("8")), Outcome::Shed("grpc 8".to_owned()));
        assert_eq!(of(200, Some("14")), Outcome::Shed("grpc 14".to_owned()));
        assert_eq!(of(200, Some("13")), Outcome::Error("grpc 13".to_owned()));
        let unspoken = |status| format!("grpc without a status (HTTP {status})");
        assert_eq!(of(200, None), Outcome::Error(unspoken(200)));
        assert_eq!(of(502, None), Outcome::Error(unspoken(502)));
        assert_eq!(of(503, None), Outcome::Shed(unspoken(503)));
    }

    #[test]
    fn streams_must_be_streams_and_end_as_they_should() {
        let request = Request { streams: true, ..Request::new(Protocol::Chat, "/", "{}") };
        let of =
            |stream: Stream| outcome(&request, &Answer { stream: Some(stream), ..answer(Protocol::Chat, 200, "") }).0;
        assert_eq!(outcome(&request, &streamed("")).0, Outcome::Ok, "a part may have no text, as a call of a tool");
        let empty = || Stream { whole: true, ..Stream::default() };
        assert_eq!(of(empty()), Outcome::Ok, "at a path of the user's own");
        let checked = Request { is_checked: true, ..request.clone() };
        let nothing = Answer { stream: Some(empty()), ..answer(Protocol::Chat, 200, "") };
        assert_eq!(outcome(&checked, &nothing).0, Outcome::Error("empty completion".to_owned()));
        assert_eq!(of(Stream::default()), Outcome::Error("stream cut".to_owned()));
        for (said, kind) in [
            (r#"{"error":{"message":"x","type":"overloaded","code":503}}"#, "stream error: overloaded"),
            (r#"{"message":"x","type":null,"code":503}"#, "stream error: 503"),
            ("out of memory", "stream error"),
        ] {
            let stream = Stream { error: Some(said.to_owned()), whole: true, ..Stream::default() };
            assert_eq!(of(stream), Outcome::Error(kind.to_owned()));
        }
        let whole = outcome(&request, &answer(Protocol::Chat, 200, "{}")).0;
        assert_eq!(whole, Outcome::Error("answer is not a stream".to_owned()));
    }
}
