//! The one place where an error becomes an answer, in the dialect of the route that was asked.

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use tonic::metadata::MetadataValue;
use weirgate_protocol::{Error, ErrorCode, RetryClass, openai, v2};

use crate::gateway::Routed;
use crate::server::address::REVISION;

/// Marks an answer that refuses a call which nobody has begun to execute, though this server could at another time.
#[derive(Clone, Copy, Debug)]
pub struct NotExecuted;

/// Marks an answer that refuses a call for whom it comes from, and says why.
#[derive(Clone, Debug)]
pub struct Forbade(pub Error);

/// Marks the answer to an error, where that is such a refusal.
fn mark(response: &mut Response<Body>, error: &Error) {
    if matches!(error.code(), ErrorCode::Unauthenticated | ErrorCode::Forbidden) {
        response.extensions_mut().insert(Forbade(error.clone()));
    }
    let busy = matches!(error.code(), ErrorCode::QueueFull | ErrorCode::Unavailable);
    if busy && error.retry_class() == RetryClass::NotExecuted {
        response.extensions_mut().insert(NotExecuted);
    }
}

/// How a family of routes writes its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// V1, V2 and the admin port: `{"error": text}`.
    Rest,
    /// `{"error": {"message", "type", "param", "code"}}`.
    OpenAi,
    Grpc,
}

impl Dialect {
    pub fn error(self, error: &Error) -> Response<Body> {
        match self {
            Dialect::Rest => rest_error(error),
            Dialect::OpenAi => openai_error(error, None),
            Dialect::Grpc => {
                let mut response = grpc_error(error).into_http();
                mark(&mut response, error);
                response
            }
        }
    }
}

/// Why a call is not answered, and what the answer says besides: the revision it was for, if it came that far.
#[derive(Clone, Debug)]
pub struct Refusal {
    error: Error,
    /// Boxed, for refusals are returned by value.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

impl Refusal {
    pub fn of(error: Error, routed: &Routed) -> Refusal {
        Refusal::with_header(error, REVISION, routed.lane().revision().clone())
    }

    pub fn with_header(error: Error, name: HeaderName, value: HeaderValue) -> Refusal {
        Refusal { error, header: Some(Box::new((name, value))) }
    }

    pub fn into_error(self) -> Error {
        self.error
    }

    pub fn answer(self, dialect: Dialect) -> Response<Body> {
        let mut response = dialect.error(&self.error);
        response.headers_mut().extend(self.header.map(|header| *header));
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Refusal { error, header: None }
    }
}

/// An error as V1, V2 and the admin port answer it.
pub fn rest_error(error: &Error) -> Response<Body> {
    with_status(error, v2::error_body(error))
}

/// An error as OpenAI's routes answer it. `param` names the field of the request that is at fault.
pub fn openai_error(error: &Error, param: Option<&str>) -> Response<Body> {
    with_status(error, openai::error_body(error, param))
}

/// The status of an error over HTTP.
pub fn status_of(error: &Error) -> StatusCode {
    // The table holds valid statuses only; a test walks all of it.
    StatusCode::from_u16(error.row().http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

fn with_status(error: &Error, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status_of(error);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    if error.code() == ErrorCode::Unauthenticated {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    mark(&mut response, error);
    response
}

/// An answer in JSON.
pub fn to_json(value: &impl Serialize) -> Response<Body> {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => rest_error(&Error::internal(format!("the answer can't be written as JSON: {error}"))),
    }
}

/// An error as gRPC answers it. `retry-after` travels as metadata, in seconds.
pub fn grpc_error(error: &Error) -> tonic::Status {
    let mut status = tonic::Status::new(error.row().grpc.into(), error.message());
    if let Some(seconds) = error.retry_after_seconds() {
        status.metadata_mut().insert("retry-after", MetadataValue::from(seconds));
    }
    status
}

/// The error of a request whose handler panicked; the log says more.
pub fn panic_error(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(panic = text.unwrap_or("no text"), "a handler panicked");
    Error::internal("a fault of the gateway ended this request: its log says more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_maps_to_a_real_status() {
        for code in ErrorCode::ALL {
            assert!(StatusCode::from_u16(code.row().http).is_ok(), "{code:?}");
            assert_eq!(tonic::Code::from(code.row().grpc) as i32, code.row().grpc, "{code:?}");
        }
    }
}
