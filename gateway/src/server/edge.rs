//! The edge: reads from a request's head what every protocol shares, and stamps every answer with the request's id.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use tower::Service;
use weirgate_protocol::deadline::{parse_grpc_timeout, parse_timeout_seconds};
use weirgate_protocol::{Error, Head, Priority, Protocol, Result};

use super::body::BodyLimit;
use super::untaken::{Answer, Untaken};
use crate::auth::Caller;
use crate::explain;
use crate::observe::{Stages, us};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The class of a call.
const PRIORITY: HeaderName = HeaderName::from_static("x-weirgate-priority");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
pub const REQUEST_TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-seconds");
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
pub const OVERHEAD: HeaderName = HeaderName::from_static("x-weirgate-overhead-us");
pub const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Ids longer than this are replaced by one of ours.
const LONGEST_ID: usize = 128;

/// A request's arrival, before an adapter knows the protocol.
#[derive(Clone)]
pub struct Arrived {
    at: Instant,
    request_id: HeaderValue,
    /// The other end of the connection; none where the request came by no connection.
    pub peer: Option<IpAddr>,
    /// Who calls, where callers must say.
    pub caller: Option<Arc<Caller>>,
}

/// What an adapter knows of a request before it reads the body.
pub struct Arrival {
    pub head: Head,
    /// What the client's headers ask for; the sooner of the two.
    pub timeout: Option<Duration>,
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
    pub caller: Option<Arc<Caller>>,
    /// It asks why it goes where it goes.
    pub asks_why: bool,
}

/// Whatever answers requests behind the edge.
pub trait Routes: Clone + Send + Sync + 'static {
    fn answer(self, arrived: Arrived, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send;
}

impl Routes for Router {
    async fn answer(mut self, arrived: Arrived, mut request: Request<Body>) -> Response<Body> {
        request.extensions_mut().insert(arrived);
        match self.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Serves one request: the outermost piece of code of ours.
pub async fn serve(
    routes: impl Routes,
    peer: IpAddr,
    untaken: Arc<Untaken>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let arrived =
        Arrived { at: Instant::now(), request_id: request_id(request.headers()), peer: Some(peer), caller: None };
    let id = arrived.request_id.clone();
    let open = match request.version() {
        Version::HTTP_2 => Some(untaken.open()),
        _ => {
            untaken.note_http1();
            None
        }
    };
    // In a box of its own: a connection that waits for its next request, or sends an answer, need not have room for it.
    let mut response = Box::pin(routes.answer(arrived, request.map(Body::new))).await;
    response.headers_mut().insert(REQUEST_ID, id);
    if open.is_none() && untaken.leaves() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Answer::new(body, open)))
}

fn request_id(headers: &HeaderMap) -> HeaderValue {
    let theirs = headers
        .get(REQUEST_ID)
        .filter(|id| (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(|byte| byte.is_ascii_graphic()));
    theirs.cloned().unwrap_or_else(|| {
        let random = rand::random::<u128>();
        let digit = |place: usize| b"0123456789abcdef"[(random >> (4 * place)) as usize & 15];
        let id: [u8; 32] = std::array::from_fn(digit);
        HeaderValue::from_bytes(&id).unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

impl Arrived {
    /// As it can be printed.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// What the edge left with a request that came through a router.
    pub fn of(extensions: &Extensions, headers: &HeaderMap) -> Arrived {
        let noted = extensions.get::<Arrived>().cloned();
        noted.unwrap_or_else(|| Arrived {
            at: Instant::now(),
            request_id: request_id(headers),
            peer: None,
            caller: None,
        })
    }
}

impl Arrival {
    /// Reads the head. A header of ours that can't be read is the caller's error, not ignored.
    pub fn new(parts: &http::request::Parts, arrived: Arrived, protocol: Protocol) -> Result<Arrival> {
        let Arrived { at, request_id, caller, peer, .. } = arrived;
        let text = |value: &HeaderValue| value.to_str().ok().map(Arc::<str>::from);
        let head = Head {
            request_id: text(&request_id).unwrap_or_default(),
            traceparent: parts.headers.get(TRACEPARENT).and_then(text),
            protocol,
            arrived: at,
            identity: caller.as_ref().map(|caller| caller.identity().clone()),
            priority: priority(&parts.headers, caller.as_deref())?,
        };
        let asked = [request_timeout(&parts.headers)?, grpc_timeout(&parts.headers)?];
        let asks_why = explain::asks(&parts.headers)?;
        Ok(Arrival { head, timeout: asked.into_iter().flatten().min(), peer, caller, asks_why })
    }

    /// The limit on this request's body: everybody's, or the caller's own where that is less.
    pub fn body_limit(&self, of_all: BodyLimit) -> BodyLimit {
        body_limit(self.caller.as_deref(), of_all)
    }
}

/// The limit on the body of a caller's request, of which `of_all` is everybody's.
pub fn body_limit(caller: Option<&Caller>, of_all: BodyLimit) -> BodyLimit {
    caller.and_then(Caller::body_limit).filter(|own| own.bytes < of_all.bytes).unwrap_or(of_all)
}

/// The class that a call asks for. A caller has a class of its own, and may ask for a lower one.
fn priority(headers: &HeaderMap, caller: Option<&Caller>) -> Result<Priority> {
    let own = caller.map(|caller| caller.identity().priority);
    let Some(value) = headers.get(PRIORITY) else { return Ok(own.unwrap_or_default()) };
    let text = String::from_utf8_lossy(value.as_bytes());
    let asked = Priority::parse(&text).ok_or_else(|| {
        let shown: String = text.chars().take(32).collect();
        Error::invalid(format!("header x-weirgate-priority is '{shown}': allowed are high, normal and low"))
    })?;
    Ok(own.map_or(asked, |own| own.min(asked)))
}

/// How long one request may take; of a stream, each.
pub fn request_timeout(headers: &HeaderMap) -> Result<Option<Duration>> {
    timeout(headers, &REQUEST_TIMEOUT, parse_timeout_seconds)
}

/// How long a gRPC call may take; of a stream, the whole.
pub fn grpc_timeout(headers: &HeaderMap) -> Result<Option<Duration>> {
    timeout(headers, &GRPC_TIMEOUT, parse_grpc_timeout)
}

fn timeout(headers: &HeaderMap, name: &HeaderName, parse: fn(&str) -> Result<Duration>) -> Result<Option<Duration>> {
    headers.get(name).map(|value| parse(&String::from_utf8_lossy(value.as_bytes()))).transpose()
}

/// Adds the gateway's own time and where the rest went.
pub fn stamp(headers: &mut HeaderMap, stages: &Stages) {
    let mut digits = itoa::Buffer::new();
    let overhead = stages.overhead();
    if let Ok(value) = HeaderValue::from_str(digits.format(us(overhead))) {
        headers.insert(OVERHEAD, value);
    }
    let mut text = Vec::with_capacity(128);
    let times = [
        ("read", stages.read),
        ("queue", stages.queue),
        ("batch", stages.batch),
        ("engine", stages.engine),
        ("overhead", overhead),
    ];
    for (name, time) in times {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b";dur=");
        // Milliseconds, with the microseconds behind the point.
        let us = us(time);
        text.extend_from_slice(digits.format(us / 1_000).as_bytes());
        let rest = (us % 1_000) as u16;
        text.extend([b'.', b'0' + (rest / 100) as u8, b'0' + (rest / 10 % 10) as u8, b'0' + (rest % 10) as u8]);
    }
    if let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(text)) {
        headers.insert(SERVER_TIMING, value);
    }
}
