//! What the HTTP handlers share: what they take out of a request, and what answers are made of.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use weirgate_protocol::{Error, Result};

use crate::gateway::Gateway;
use crate::pipeline;
use crate::respond::Refusal;
use crate::server::address::TakenPrefix;
use crate::server::body::BodyReader;
use crate::server::codings::{Codings, READ_HERE};
use crate::server::edge::{Arrival, Arrived};

pub type Shared = State<Arc<Gateway>>;

/// A path's one name.
pub type Named = Result<Path<String>, PathRejection>;
/// A path's names of a model and of its version.
pub type NamedVersion = Result<Path<(String, String)>, PathRejection>;

/// The names that a path holds.
pub fn path_names<T>(path: Result<Path<T>, PathRejection>) -> Result<T> {
    path.map(|Path(names)| names).map_err(|_| Error::invalid("the path's names are not UTF-8"))
}

/// A model, and no version of it.
pub fn unversioned(model: Named) -> Result<(String, String)> {
    path_names(model).map(|model| (model, String::new()))
}

/// A model and the version of it that is asked for.
pub fn versioned(names: NamedVersion) -> Result<(String, String)> {
    let (model, version) = path_names(names)?;
    check_version(&version)?;
    Ok((model, version))
}

/// A path that asks for a version must name one.
pub fn check_version(version: &str) -> Result<()> {
    match version.is_empty() {
        true => Err(Error::not_found("the path names no version behind 'versions': name one, or leave both out")),
        false => Ok(()),
    }
}

/// What was left with a request on its way through the router.
pub fn taken(request: &Request) -> (Option<TakenPrefix>, Arrived) {
    (request.extensions().get().cloned(), Arrived::of(request.extensions(), request.headers()))
}

/// How the body is encoded, or which codings are read instead.
pub fn codings(arrival: &Arrival, model: &str, headers: &HeaderMap) -> Result<Codings, Refusal> {
    Codings::of(headers).map_err(|error| {
        pipeline::refuse_unrouted(arrival, model, &error);
        Refusal::with_header(error, header::ACCEPT_ENCODING, READ_HERE)
    })
}

/// Reads on what a client still sends of a request that this answers, and whose body nobody else reads.
pub async fn unread(request: Request, response: Response) -> Response {
    let (parts, body) = request.into_parts();
    discard(&mut BodyReader::new(body, 0, Duration::ZERO), &parts.headers).await;
    response
}

/// Reads on what a client still sends of a request that is refused.
pub async fn discard(body: &mut BodyReader<Body>, headers: &HeaderMap) {
    // Who waits for `100 Continue` has sent nothing yet, and reading would ask for it.
    if !headers.contains_key(header::EXPECT) {
        body.discard().await;
    }
}

/// A body of known pieces: the JSON head, and tensors where they lie.
pub struct Pieces(pub VecDeque<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

/// A body that is JSON already.
pub fn json(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
