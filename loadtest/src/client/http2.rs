//! HTTP/2 by hyper, many calls at once on a connection.

use std::time::Instant;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::JoinSet;

use super::body::{self, Body};
use super::socket::Socket;
use super::{Call, Failure};
use crate::Result;
use crate::request::{Answer, Request};
use crate::target::Target;

/// Bytes that may come before we take any: of one answer, and of all together. Large, so that the server never waits
/// for leave to send.
const STREAM_WINDOW: u32 = 16 << 20;
const CONNECTION_WINDOW: u32 = 256 << 20;
/// Longest head or trailers.
const MAX_HEAD: u32 = 64 << 10;
/// A connection that gives up many calls at once is still a good one.
const RESETS: usize = 4096;

/// What is the same in all requests to one target.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    scheme: Scheme,
    authority: Authority,
    base: String,
}

impl Origin {
    pub(super) fn new(target: &Target) -> Result<Origin> {
        let scheme = if target.tls { Scheme::HTTPS } else { Scheme::HTTP };
        let authority = target.authority().parse().map_err(crate::error)?;
        Ok(Origin { scheme, authority, base: target.path.clone() })
    }

    fn uri(&self, path: &str) -> std::result::Result<Uri, Failure> {
        let path = PathAndQuery::from_maybe_shared(Bytes::from([&self.base, path].concat()));
        let path = path.map_err(|error| Failure::Unsendable(format!("path: {error}")))?;
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone()).path_and_query(path);
        uri.build().map_err(|error| Failure::Unsendable(error.to_string()))
    }
}

/// A share of a connection.
#[derive(Clone, Debug)]
pub(super) struct Http2 {
    sender: SendRequest<Full<Bytes>>,
}

impl Http2 {
    /// Begins to speak HTTP/2, which a task of `drivers` goes on with.
    pub(super) async fn start(socket: Socket, drivers: &mut JoinSet<()>) -> std::result::Result<Http2, Failure> {
        let (sender, connection) = Builder::new(TokioExecutor::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD)
            .max_concurrent_reset_streams(RESETS)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(|error| Failure::http2(&error, false))?;
        drivers.spawn(async move {
            // A connection that breaks fails the calls on it, which is where it is told.
            let _ = connection.await;
        });
        Ok(Http2 { sender })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    pub(super) async fn call(&mut self, origin: &Origin, request: &Request, keep: bool) -> Call {
        let mut call = Timed { sent: Instant::now(), answered: None, read: None };
        let result = self.exchange(origin, request, keep, &mut call).await;
        let done = call.read.filter(|_| result.is_ok()).unwrap_or_else(Instant::now);
        Call { sent: call.sent, answered: call.answered, done, result }
    }

    async fn exchange(
        &mut self,
        origin: &Origin,
        request: &Request,
        keep: bool,
        call: &mut Timed,
    ) -> std::result::Result<Answer, Failure> {
        let prepared = prepare(origin, request)?;
        self.sender.ready().await.map_err(|error| Failure::http2(&error, false))?;
        call.sent = Instant::now();
        let response = self.sender.send_request(prepared).await.map_err(|error| Failure::http2(&error, false))?;
        let answered = Instant::now();
        (call.answered, call.read) = (Some(answered), Some(answered));

        let (head, mut incoming) = response.into_parts();
        let status = head.status.as_u16();
        let is_event_stream =
            head.headers.get(header::CONTENT_TYPE).is_some_and(|value| body::is_event_stream(value.as_bytes()));
        let mut body = Body::new(request, keep, status, is_event_stream);
        let mut trailers = None;
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| Failure::http2(&error, true))?;
            let now = Instant::now();
            call.read = Some(now);
            match frame.into_data() {
                Ok(data) => body.push(&data, now)?,
                Err(frame) => trailers = frame.into_trailers().ok(),
            }
        }
        let (length, body, stream) = body.finish()?;
        let (revision, overhead_us) = told(&head.headers);
        let (protocol, headers) = (request.protocol, head.headers);
        Ok(Answer { protocol, status, headers, body, length, trailers, revision, overhead_us, stream })
    }
}

struct Timed {
    sent: Instant,
    answered: Option<Instant>,
    read: Option<Instant>,
}

fn prepare(origin: &Origin, request: &Request) -> std::result::Result<http::Request<Full<Bytes>>, Failure> {
    let mut prepared = http::Request::new(Full::new(request.body.clone()));
    *prepared.method_mut() = request.method.clone();
    *prepared.uri_mut() = origin.uri(&request.path)?;
    *prepared.headers_mut() = request.headers.clone();
    Ok(prepared)
}

/// The revision that answered, and the server's own time.
fn told(headers: &HeaderMap) -> (Option<Bytes>, Option<u32>) {
    let revision = headers.get("x-weirgate-revision").map(|value| Bytes::copy_from_slice(value.as_bytes()));
    let overhead = headers.get("x-weirgate-overhead-us");
    (revision, overhead.and_then(|value| value.to_str().ok()?.parse().ok()))
}
