//! What one of our own servers says of a call that it has not executed.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::remote::body::InBody;
use crate::remote::fault::{Fault, FaultKind};

/// Says `1` of a refusal that came before the call was executed.
const NOT_EXECUTED: &str = "x-weirgate-not-executed";

/// How much of a refusal is read for its text, and for how long.
const MOST_BYTES: usize = 8 << 10;
const PATIENCE: Duration = Duration::from_secs(1);

/// Makes a fault of an answer that says so.
pub(super) async fn check(answer: Response<InBody>) -> Result<Response<InBody>, Fault> {
    if !is_refusal(answer.status(), answer.headers()) {
        return Ok(answer);
    }
    let (head, body) = answer.into_parts();
    let text = match grpc_message(&head.headers) {
        Some(text) => Some(text),
        None => json_error(body).await,
    };
    let text = text.unwrap_or_else(|| format!("the replica refused the call with status {}", head.status.as_u16()));
    let mut fault = Fault::new(FaultKind::NotExecuted, text);
    let seconds = head.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    if let Some(seconds) = seconds {
        fault.error = fault.error.with_retry_after(Duration::from_secs(seconds));
    }
    Err(fault)
}

/// gRPC has its status beside the one of HTTP, which is 200.
fn is_refusal(status: StatusCode, headers: &HeaderMap) -> bool {
    let may_refuse = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS)
        || headers.contains_key("grpc-status");
    may_refuse && headers.get(NOT_EXECUTED).is_some_and(|value| value == "1")
}

fn grpc_message(headers: &HeaderMap) -> Option<String> {
    let message = headers.get("grpc-message")?.to_str().ok()?;
    Some(percent_decode_str(message).decode_utf8_lossy().into_owned())
}

/// What `error` says in a small body of JSON: a text, or an object with a `message`.
async fn json_error(body: InBody) -> Option<String> {
    let body = tokio::time::timeout(PATIENCE, Limited::new(body, MOST_BYTES).collect()).await.ok()?.ok()?;
    let json: Value = serde_json::from_slice(&body.to_bytes()).ok()?;
    let error = json.get("error")?;
    error.as_str().or_else(|| error.get("message")?.as_str()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn checked(status: u16, headers: &[(&str, &str)], body: &'static str) -> Result<u16, String> {
        let mut answer = Response::builder().status(status);
        for (name, value) in headers {
            answer = answer.header(*name, *value);
        }
        let answer = answer.body(InBody::Whole(body.into())).unwrap();
        check(answer).await.map(|answer| answer.status().as_u16()).map_err(|fault| fault.error.message().to_owned())
    }

    const MARK: (&str, &str) = (NOT_EXECUTED, "1");

    #[tokio::test]
    async fn refusals_tell_why() {
        for (status, headers, body, text) in [
            (503, &[MARK][..], r#"{"error":"it drains"}"#, "it drains"),
            (429, &[MARK], r#"{"error":{"message":"it is full","code":"x"}}"#, "it is full"),
            (200, &[MARK, ("grpc-status", "14"), ("grpc-message", "it%20drains")], "", "it drains"),
            (503, &[MARK], "no JSON", "the replica refused the call with status 503"),
        ] {
            assert_eq!(checked(status, headers, body).await, Err(text.to_owned()));
        }
    }

    #[tokio::test]
    async fn other_answers_are_answers() {
        assert_eq!(checked(503, &[], "{}").await, Ok(503));
        assert_eq!(checked(503, &[(NOT_EXECUTED, "0")], "{}").await, Ok(503));
        assert_eq!(checked(200, &[MARK], "{}").await, Ok(200), "it was executed, whatever it says");
        assert_eq!(checked(200, &[("grpc-status", "14")], "").await, Ok(200));
    }
}
