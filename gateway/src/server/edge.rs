//! The edge: reads from a request's head what every protocol shares, and stamps every answer with the request's id.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Request, Response, Version, header};
use hyper::body::Incoming;
use smallvec::SmallVec;
use tower::Service;
use weirgate_protocol::deadline::{parse_grpc_timeout, parse_timeout_seconds};
use weirgate_protocol::{Error, Head, Priority, Protocol, Result};

use super::body::BodyLimit;
use super::lazy_timer::ConnectionTimer;
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
    /// Its head has no header of ours, as most have none: none needs to be looked for.
    pub is_plain: bool,
    timer: Option<ConnectionTimer>,
    /// The other end of the connection; none where the request came by no connection.
    pub peer: Option<IpAddr>,
    /// Who calls, where callers must say.
    pub caller: Option<Arc<Caller>>,
}

/// What an adapter knows of a request before it reads the body.
pub struct Arrival {
    pub head: Head,
    /// Its id as servers and the answer's head have it.
    pub request_id: HeaderValue,
    /// What the client's headers ask for; the sooner of the two.
    pub timeout: Option<Duration>,
    /// The connection's own; none over h2, whose requests share a connection.
    pub timer: Option<ConnectionTimer>,
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
    timer: ConnectionTimer,
    untaken: Arc<Untaken>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let mut arrived = Arrived::new(request.headers(), Some(peer));
    let id = arrived.request_id.clone();
    let open = match request.version() {
        Version::HTTP_2 => Some(untaken.open()),
        _ => {
            untaken.note_http1();
            arrived.timer = Some(timer);
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

/// Whether a header means something to this gateway and to nobody else, or by a standard of its own.
fn is_ours(name: &HeaderName) -> bool {
    let text = name.as_str();
    text.starts_with("x-weirgate-") || matches!(text, "grpc-timeout" | "traceparent" | "x-request-timeout-seconds")
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
    fn new(headers: &HeaderMap, peer: Option<IpAddr>) -> Arrived {
        let is_plain = !headers.keys().any(is_ours);
        Arrived { at: Instant::now(), request_id: request_id(headers), is_plain, timer: None, peer, caller: None }
    }

    /// As it can be printed.
    pub fn request_id(&self) -> &str {
        self.request_id.to_str().unwrap_or_default()
    }

    /// What the edge left with a request that came through a router.
    pub fn of(extensions: &Extensions, headers: &HeaderMap) -> Arrived {
        let noted = extensions.get::<Arrived>().cloned();
        noted.unwrap_or_else(|| Arrived::new(headers, None))
    }
}

impl Arrival {
    /// Reads the head. A header of ours that can't be read is the caller's error, not ignored.
    pub fn new(parts: &http::request::Parts, arrived: Arrived, protocol: Protocol) -> Result<Arrival> {
        let Arrived { at, request_id, is_plain, timer, caller, peer } = arrived;
        let text = |value: &HeaderValue| value.to_str().ok().map(Arc::<str>::from);
        let none = HeaderMap::new();
        let ours = if is_plain { &none } else { &parts.headers };
        let head = Head {
            request_id: text(&request_id).unwrap_or_default(),
            traceparent: ours.get(TRACEPARENT).and_then(text),
            protocol,
            arrived: at,
            identity: caller.as_ref().map(|caller| caller.identity().clone()),
            priority: priority(ours, caller.as_deref())?,
        };
        let asked = [request_timeout(ours)?, grpc_timeout(ours)?];
        let asks_why = explain::asks(ours)?;
        let timeout = asked.into_iter().flatten().min();
        Ok(Arrival { head, request_id, timeout, timer, peer, caller, asks_why })
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
    let overhead = stages.overhead();
    headers.insert(OVERHEAD, HeaderValue::from(us(overhead)));
    let mut text: SmallVec<[u8; 128]> = SmallVec::new();
    let mut digits = itoa::Buffer::new();
    let times = [
        (&b"read;dur="[..], stages.read),
        (b", queue;dur=", stages.queue),
        (b", batch;dur=", stages.batch),
        (b", engine;dur=", stages.engine),
        (b", overhead;dur=", overhead),
    ];
    for (name, time) in times {
        text.extend_from_slice(name);
        // Milliseconds, with the microseconds behind the point.
        let us = us(time);
        let (ms, rest) = (us / 1_000, (us % 1_000) as u16);
        match ms {
            // What takes no whole milliseconds is the most of it.
            0..10 => text.push(b'0' + ms as u8),
            _ => text.extend_from_slice(digits.format(ms).as_bytes()),
        }
        text.extend_from_slice(&[
            b'.',
            b'0' + (rest / 100) as u8,
            b'0' + (rest / 10 % 10) as u8,
            b'0' + (rest % 10) as u8,
        ]);
    }
    if let Ok(value) = HeaderValue::from_bytes(&text) {
        headers.insert(SERVER_TIMING, value);
    }
}

#[cfg(test)]
mod tests {
    use weirgate_replicas::remote::via::VIA;

    use super::*;
    use crate::server::address::REVISION;

    #[test]
    fn no_header_that_is_looked_for_comes_with_a_plain_head() {
        for name in [PRIORITY, TRACEPARENT, REQUEST_TIMEOUT, GRPC_TIMEOUT, REVISION, VIA, explain::EXPLAIN] {
            let headers = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static("x"))]);
            assert!(!Arrived::new(&headers, None).is_plain, "{name}");
        }
        let headers = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static("x"))]);
        assert!(Arrived::new(&headers, None).is_plain);
    }

    #[test]
    fn times_are_told_in_milliseconds() {
        let mut headers = HeaderMap::new();
        let (read, engine) = (Duration::from_micros(7), Duration::from_micros(1_234_056));
        stamp(&mut headers, &Stages { read, engine, total: Duration::from_micros(1_234_563), ..Stages::default() });
        assert_eq!(headers[OVERHEAD], "500");
        let times = "read;dur=0.007, queue;dur=0.000, batch;dur=0.000, engine;dur=1234.056, overhead;dur=0.500";
        assert_eq!(headers[SERVER_TIMING], times);
    }
}
