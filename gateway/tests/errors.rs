//! The table of errors: every code, as every dialect writes it.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt;
use http::Response;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use weirgate::respond::Dialect;
use weirgate_protocol::{Error, ErrorCode, RetryClass};

/// What no header could carry as it is: gRPC writes it in percent signs.
const TEXT: &str = "size 7 of 'x' is over 5 %: send “less”";

fn error(code: ErrorCode) -> Error {
    let error = match code {
        ErrorCode::InvalidRequest => Error::invalid(TEXT),
        ErrorCode::UnsupportedParameter => Error::unsupported_parameter(TEXT),
        ErrorCode::ContextExceeded => Error::context_exceeded(TEXT),
        ErrorCode::Unauthenticated => Error::unauthenticated(TEXT),
        ErrorCode::Forbidden => Error::forbidden(TEXT),
        ErrorCode::NotFound => Error::not_found(TEXT),
        ErrorCode::MethodNotAllowed => Error::method_not_allowed(TEXT),
        ErrorCode::Conflict => Error::conflict(TEXT),
        ErrorCode::RequestTimeout => Error::request_timeout(TEXT),
        ErrorCode::TooLarge => Error::too_large(TEXT),
        ErrorCode::UnsupportedMedia => Error::unsupported_media(TEXT),
        ErrorCode::QueueFull => Error::queue_full(TEXT, Duration::from_millis(1_500)),
        ErrorCode::RateLimited => Error::rate_limited(TEXT, Duration::from_millis(1_500)),
        ErrorCode::Cancelled => Error::cancelled(TEXT),
        ErrorCode::EngineFailed => Error::engine(TEXT),
        ErrorCode::UpstreamFailed => Error::upstream(TEXT, RetryClass::MayHaveExecuted),
        ErrorCode::Internal => Error::internal(TEXT),
        ErrorCode::Unsupported => Error::unsupported(TEXT),
        ErrorCode::Unavailable => Error::unavailable(TEXT),
        ErrorCode::DeadlineExceeded => Error::deadline(TEXT, RetryClass::NotExecuted),
        ErrorCode::LoopDetected => Error::loop_detected(TEXT),
    };
    assert_eq!(error.code(), code);
    error
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// The body of an answer, which is there at once.
fn body(response: Response<Body>) -> Vec<u8> {
    response.into_body().collect().now_or_never().unwrap().unwrap().to_bytes().to_vec()
}

fn json_body(response: Response<Body>) -> Value {
    serde_json::from_slice(&body(response)).unwrap()
}

/// Each code is checked as it comes, and with a time after which to come again.
fn each(check: impl Fn(&Error)) {
    for code in ErrorCode::ALL {
        check(&error(code));
        check(&error(code).with_retry_after(Duration::from_millis(2_100)));
    }
}

fn retry_after(error: &Error) -> Option<String> {
    error.retry_after_seconds().map(|seconds| seconds.to_string())
}

#[test]
fn v1_and_v2_answer_every_code_with_its_text() {
    each(|error| {
        let response = Dialect::Rest.error(error);
        assert_eq!(response.status().as_u16(), error.row().http, "{error:?}");
        assert_eq!(header(&response, "content-type"), Some("application/json"), "{error:?}");
        assert_eq!(header(&response, "retry-after").map(str::to_owned), retry_after(error), "{error:?}");
        assert_eq!(json_body(response), json!({"error": TEXT}), "{error:?}");
    });
}

#[test]
fn openais_routes_answer_every_code_with_its_object() {
    each(|error| {
        let response = Dialect::OpenAi.error(error);
        assert_eq!(response.status().as_u16(), error.row().http, "{error:?}");
        assert_eq!(header(&response, "content-type"), Some("application/json"), "{error:?}");
        assert_eq!(header(&response, "retry-after").map(str::to_owned), retry_after(error), "{error:?}");
        let (kind, code) = (error.row().openai_type, error.row().label);
        let object = json!({"error": {"message": TEXT, "type": kind, "param": null, "code": code}});
        assert_eq!(json_body(response), object, "{error:?}");
    });
}

#[test]
fn grpc_answers_every_code_with_a_status_and_nothing_else() {
    each(|error| {
        let response = Dialect::Grpc.error(error);
        assert_eq!(response.status().as_u16(), 200, "{error:?}");
        assert_eq!(header(&response, "content-type"), Some("application/grpc"), "{error:?}");
        assert_eq!(header(&response, "grpc-status"), Some(&*error.row().grpc.to_string()), "{error:?}");
        assert_eq!(header(&response, "retry-after").map(str::to_owned), retry_after(error), "{error:?}");
        let message = header(&response, "grpc-message").unwrap();
        assert!(message.contains("%E2%80%9Cless%E2%80%9D") && message.contains("5%20%25"), "{message}");
        assert!(body(response).is_empty(), "{error:?}");
    });
}

#[test]
fn clients_are_told_when_to_come_again_where_a_queue_or_a_limit_is_full() {
    for error in [ErrorCode::QueueFull, ErrorCode::RateLimited].map(error) {
        for dialect in [Dialect::Rest, Dialect::OpenAi, Dialect::Grpc] {
            assert_eq!(header(&dialect.error(&error), "retry-after"), Some("2"), "{dialect:?}");
        }
    }
}

/// The statuses that clients and load balancers rely on: a change of the table is a change for them.
#[test]
fn the_statuses_are_those_that_clients_know() {
    let table: Vec<_> = ErrorCode::ALL.iter().map(|code| (code.row().http, code.row().grpc)).collect();
    let known = [
        (400, 3),
        (400, 3),
        (400, 3),
        (401, 16),
        (403, 7),
        (404, 5),
        (405, 12),
        (409, 10),
        (408, 4),
        (413, 8),
        (415, 12),
        (429, 8),
        (429, 8),
        (499, 1),
        (500, 13),
        (502, 13),
        (500, 13),
        (501, 12),
        (503, 14),
        (504, 4),
        (508, 9),
    ];
    assert_eq!(table, known);
}
