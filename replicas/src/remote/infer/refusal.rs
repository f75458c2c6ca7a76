//! What a server's refusal means: for the calls it was sent, and for how the server is judged.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use weirgate_protocol::deadline::parse_retry_after;
use weirgate_protocol::{Error, RetryClass};

use super::Conduct;
use crate::remote::ask;
use crate::remote::grpc::{self, Status};

/// Why a server has not answered a batch, though it said something.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    pub error: Error,
    pub blame: Blame,
}

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blame {
    /// What it was sent: of a batch, one call may be at fault and the others not.
    Call,
    Server,
    Load {
        retry_after: Option<Duration>,
    },
}

impl Blame {
    pub fn conduct(self) -> Conduct {
        match self {
            Blame::Call => Conduct::Answered,
            Blame::Server => Conduct::Failed,
            Blame::Load { retry_after } => Conduct::Overloaded { retry_after },
        }
    }
}

/// Where a server is overloaded and does not say for how long.
const USUAL_WAIT: Duration = Duration::from_secs(1);

impl Refusal {
    /// The call can't be written in the server's protocol.
    pub fn unfit(error: Error) -> Refusal {
        Refusal { error, blame: Blame::Call }
    }

    /// What came back as a success is none.
    pub fn unusable(why: impl std::fmt::Display) -> Refusal {
        let text = format!("the server's answer can't be used: {why}");
        Refusal { error: Error::upstream(text, RetryClass::MayHaveExecuted), blame: Blame::Server }
    }

    /// An answer over HTTP that is no success.
    pub fn http(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Refusal {
        let told = ask::reason(body);
        let text = told.unwrap_or_else(|| format!("the server refused the call: {}", ask::refusal(status, b"")));
        let retry_after = headers.get(header::RETRY_AFTER).and_then(|value| parse_retry_after(value.to_str().ok()?));
        let load = Blame::Load { retry_after };
        match status.as_u16() {
            400 | 422 => Refusal { error: Error::invalid(text), blame: Blame::Call },
            404 => Refusal { error: Error::not_found(text), blame: Blame::Server },
            413 => Refusal { error: Error::too_large(text), blame: Blame::Call },
            415 => Refusal { error: Error::unsupported_media(text), blame: Blame::Call },
            429 => Refusal { error: queue_full(text, retry_after), blame: load },
            503 => Refusal { error: unavailable(text, retry_after), blame: load },
            508 => Refusal { error: Error::loop_detected(text), blame: Blame::Server },
            504 => Refusal { error: Error::deadline(text, RetryClass::MayHaveExecuted), blame: Blame::Server },
            _ => Refusal::failed(&ask::refusal(status, body)),
        }
    }

    /// A status of gRPC that is not OK.
    pub fn grpc(status: Status) -> Refusal {
        let retry_after = status.retry_after;
        let load = Blame::Load { retry_after };
        let shown = status.to_string();
        let text = if status.message.is_empty() { shown.clone() } else { status.message };
        match status.code {
            grpc::INVALID_ARGUMENT | grpc::OUT_OF_RANGE => Refusal { error: Error::invalid(text), blame: Blame::Call },
            grpc::NOT_FOUND => Refusal { error: Error::not_found(text), blame: Blame::Server },
            grpc::RESOURCE_EXHAUSTED => Refusal { error: queue_full(text, retry_after), blame: load },
            grpc::UNAVAILABLE => Refusal { error: unavailable(text, retry_after), blame: load },
            grpc::DEADLINE_EXCEEDED => {
                Refusal { error: Error::deadline(text, RetryClass::MayHaveExecuted), blame: Blame::Server }
            }
            _ => Refusal::failed(&shown),
        }
    }

    fn failed(what: &str) -> Refusal {
        let text = format!("the server failed to execute the call: {what}");
        Refusal { error: Error::upstream(text, RetryClass::MayHaveExecuted), blame: Blame::Server }
    }
}

fn queue_full(text: String, retry_after: Option<Duration>) -> Error {
    Error::queue_full(text, retry_after.unwrap_or(USUAL_WAIT))
}

/// Somebody else's server may say so of a call that it has begun.
fn unavailable(text: String, retry_after: Option<Duration>) -> Error {
    let error = Error::unavailable(text).with_retry_class(RetryClass::MayHaveExecuted);
    match retry_after {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn http(status: u16, body: &str) -> Refusal {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        Refusal::http(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    #[test]
    fn statuses_keep_their_meaning_and_the_servers_words() {
        for (status, ours) in
            [(400, 400), (422, 400), (404, 404), (413, 413), (415, 415), (429, 429), (503, 503), (504, 504), (508, 508)]
        {
            let refusal = http(status, r#"{"error":"in its own words"}"#);
            assert_eq!((refusal.error.row().http, refusal.error.message()), (ours, "in its own words"));
        }
        for status in [301, 401, 403, 500, 502] {
            let refusal = http(status, r#"{"error":"in its own words"}"#);
            assert_eq!((refusal.error.row().http, refusal.blame), (502, Blame::Server), "{status}");
            assert!(refusal.error.message().contains("in its own words"));
            assert_eq!(refusal.error.retry_class(), RetryClass::MayHaveExecuted);
        }
        assert_eq!(http(400, "").error.message(), "the server refused the call: 400 Bad Request");
    }

    #[test]
    fn overload_says_when_to_come_again() {
        for status in [429, 503] {
            let Refusal { error, blame } = http(status, "");
            assert_eq!(error.retry_after_seconds(), Some(7));
            assert_eq!(blame, Blame::Load { retry_after: Some(Duration::from_secs(7)) });
        }
        let wait = Duration::from_secs(9);
        let full = Status { code: grpc::RESOURCE_EXHAUSTED, message: "full".to_owned(), retry_after: Some(wait) };
        assert_eq!(Refusal::grpc(full).error.retry_after(), Some(wait));
    }

    #[test]
    fn only_what_was_sent_can_be_one_calls_fault() {
        let of = |code| Refusal::grpc(Status { code, message: String::new(), retry_after: None }).blame;
        assert_eq!([of(grpc::INVALID_ARGUMENT), of(grpc::OUT_OF_RANGE)], [Blame::Call; 2]);
        assert_eq!([of(2), of(13), of(grpc::NOT_FOUND), of(grpc::UNIMPLEMENTED)], [Blame::Server; 4]);
        assert_eq!([http(400, "").blame, http(413, "").blame, http(422, "").blame], [Blame::Call; 3]);
    }
}
