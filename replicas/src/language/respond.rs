//! What the servers of language models have in common.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use weirgate_protocol::{Error, ErrorCode, Result, RetryClass, openai, v2};

use crate::remote::{Fault, FaultKind, InBody, OutBody};

/// The trailer of a stream that has failed: the status that its answer would have, had it not begun.
pub(crate) const FAILED: HeaderName = HeaderName::from_static("x-weirgate-failed");

/// The status that a stream which has failed would have been answered with, by what it says behind its last event.
pub fn failed(trailers: &HeaderMap) -> Option<StatusCode> {
    StatusCode::from_bytes(trailers.get(FAILED)?.as_bytes()).ok()
}

/// Bodies beyond this are read on a thread for work: a hundred thousand tokens take as many microseconds and more, and other
/// connections are not to wait for them.
const AT_ONCE: usize = 16 << 10;

/// How errors are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    OpenAi,
    V2,
}

impl Dialect {
    /// That of a path's routes.
    pub fn of(path: &str) -> Dialect {
        if path.starts_with("/v2/") { Dialect::V2 } else { Dialect::OpenAi }
    }
}

/// All of a request's body, which the gateway keeps within its limits.
pub(crate) async fn whole(body: OutBody) -> Result<Bytes, Fault> {
    let collected = body.collect().await.map_err(|error| Fault::caller(&*error))?;
    Ok(collected.to_bytes())
}

/// Runs `work` on a body of so many bytes where it holds nobody up.
pub(crate) async fn aside<T: Send + 'static>(
    bytes: usize,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    if bytes <= AT_ONCE {
        return work();
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(_) => Err(Error::internal("reading the request panicked")),
    }
}

/// What a call is answered with. What another replica may still execute is a fault, by which the lane gives it to one.
pub(crate) fn answer(answered: Result<Response<InBody>>, dialect: Dialect) -> Result<Response<InBody>, Fault> {
    match answered {
        Ok(response) => Ok(response),
        Err(error) if is_elsewheres(&error) => Err(Fault { kind: FaultKind::NotExecuted, error }),
        Err(error) => Ok(refuse(&error, dialect)),
    }
}

fn is_elsewheres(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::Unavailable | ErrorCode::QueueFull)
        && error.retry_class() == RetryClass::NotExecuted
}

pub(crate) fn json(body: Bytes) -> Response<InBody> {
    let mut response = Response::new(InBody::Whole(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refuse(error: &Error, dialect: Dialect) -> Response<InBody> {
    let mut response = json(match dialect {
        Dialect::OpenAi => openai::error_body(error, None),
        Dialect::V2 => v2::error_body(error),
    });
    *response.status_mut() = status(error);
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

pub(crate) fn status(error: &Error) -> StatusCode {
    // The table holds valid statuses only.
    StatusCode::from_u16(error.row().http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
