//! HTTP/2 by h2, many calls at once on a connection.

use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Uri, Version, header};
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

    fn head(&self, request: &Request) -> std::result::Result<http::Request<()>, Failure> {
        let mut head = http::Request::new(());
        *head.version_mut() = Version::HTTP_2;
        *head.method_mut() = request.method.clone();
        *head.headers_mut() = request.headers.clone();
        // What HTTP/1.1 calls the host is the authority here.
        let authority = match head.headers_mut().remove(header::HOST) {
            Some(host) => Authority::from_maybe_shared(host),
            None => Ok(self.authority.clone()),
        };
        let authority = authority.map_err(|error| Failure::Unsendable(format!("host: {error}")))?;
        let path = PathAndQuery::from_maybe_shared(Bytes::from([&self.base, request.path.as_str()].concat()));
        let path = path.map_err(|error| Failure::Unsendable(format!("path: {error}")))?;
        let uri = Uri::builder().scheme(self.scheme.clone()).authority(authority).path_and_query(path).build();
        *head.uri_mut() = uri.map_err(|error| Failure::Unsendable(error.to_string()))?;
        Ok(head)
    }
}

/// A share of a connection.
#[derive(Clone)]
pub(super) struct Http2 {
    sender: SendRequest<Bytes>,
}

/// When what happened to a call.
struct Progress {
    sent: Instant,
    answered: Option<Instant>,
    /// The last read.
    read: Option<Instant>,
}

impl Http2 {
    /// Begins to speak HTTP/2, which a task of `drivers` goes on with.
    pub(super) async fn start(socket: Socket, drivers: &mut JoinSet<()>) -> std::result::Result<Http2, Failure> {
        let (sender, connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD)
            .max_concurrent_reset_streams(RESETS)
            .enable_push(false)
            .handshake(socket)
            .await
            .map_err(|error| Failure::http2(&error, false))?;
        drivers.spawn(async move {
            // A connection that breaks fails the calls on it, which is where it is told.
            let _ = connection.await;
        });
        Ok(Http2 { sender })
    }

    pub(super) fn is_open(&self) -> bool {
        // A fresh share has no call that could wait for its turn, so this says at once whether one could be made.
        let mut context = Context::from_waker(Waker::noop());
        !matches!(self.sender.clone().poll_ready(&mut context), Poll::Ready(Err(_)))
    }

    pub(super) async fn call(&mut self, origin: &Origin, request: &Request, keep: bool) -> Call {
        let mut progress = Progress { sent: Instant::now(), answered: None, read: None };
        let result = self.exchange(origin, request, keep, &mut progress).await;
        let Progress { sent, answered, read } = progress;
        let done = read.filter(|_| result.is_ok()).unwrap_or_else(Instant::now);
        Call { sent, answered, done, result }
    }

    async fn exchange(
        &mut self,
        origin: &Origin,
        request: &Request,
        keep: bool,
        progress: &mut Progress,
    ) -> std::result::Result<Answer, Failure> {
        let head = origin.head(request)?;
        let unanswered = |error: h2::Error| Failure::http2(&error, false);
        poll_fn(|cx| self.sender.poll_ready(cx)).await.map_err(unanswered)?;
        progress.sent = Instant::now();
        let (response, mut outgoing) = self.sender.send_request(head, request.body.is_empty()).map_err(unanswered)?;
        if !request.body.is_empty() {
            // Held until the server's windows let it go, without a copy. Where it can't be sent, the answer says why.
            let _ = outgoing.send_data(request.body.clone(), true);
        }
        let (head, mut incoming) = response.await.map_err(unanswered)?.into_parts();
        progress.answered = Some(Instant::now());
        progress.read = progress.answered;

        let status = head.status.as_u16();
        let content_type = head.headers.get(header::CONTENT_TYPE);
        let is_event_stream = content_type.is_some_and(|value| body::is_event_stream(value.as_bytes()));
        let cut = |error: h2::Error| Failure::http2(&error, true);
        let mut body = Body::new(request, keep, status, is_event_stream);
        while let Some(piece) = incoming.data().await.transpose().map_err(cut)? {
            let now = Instant::now();
            progress.read = Some(now);
            // Fails only where the stream is over, and then nothing more is let in.
            let _ = incoming.flow_control().release_capacity(piece.len());
            body.push(&piece, now)?;
        }
        let trailers = incoming.trailers().await.map_err(cut)?;
        if trailers.is_some() {
            progress.read = Some(Instant::now());
        }
        let (length, body, stream) = body.finish()?;
        let (revision, overhead_us) = told(&head.headers);
        let (protocol, headers) = (request.protocol, head.headers);
        Ok(Answer { protocol, status, headers, body, length, trailers, revision, overhead_us, stream })
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The sender's own text would have all of the connection's state in it.
        f.debug_struct("Http2").finish_non_exhaustive()
    }
}

/// The revision that answered, and the server's own time.
fn told(headers: &HeaderMap) -> (Option<Bytes>, Option<u32>) {
    let revision = headers.get("x-weirgate-revision").map(|value| Bytes::copy_from_slice(value.as_bytes()));
    let overhead = headers.get("x-weirgate-overhead-us");
    (revision, overhead.and_then(|value| value.to_str().ok()?.parse().ok()))
}
