//! HTTP/2 by h2, many calls at once on a connection.
//!
//! ```text
//! streams     how many calls at once, and who waits for a turn
//! keep_alive  whether the server is still there
//! ```

pub(super) mod keep_alive;
mod streams;

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, Uri, Version, header};

use self::streams::Streams;
use super::body::{self, Body};
use super::gauges::Gauges;
use super::socket::Socket;
use super::{Call, Driver, Failure};
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
    streams: Arc<Streams>,
}

/// When what happened to a call.
struct Progress {
    sent: Instant,
    /// The last read.
    read: Option<Instant>,
}

impl Http2 {
    /// Begins to speak HTTP/2, and waits for how many streams the server allows. The driver goes on with it until all
    /// shares are dropped and their calls have ended.
    ///
    /// A server has `patience` to answer when it is asked whether it is still there.
    pub(super) async fn start(socket: Socket, patience: Duration) -> std::result::Result<(Http2, Driver), Failure> {
        let (sender, mut connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(MAX_HEAD)
            .max_concurrent_reset_streams(RESETS)
            // Until the server has said otherwise.
            .initial_max_send_streams(0)
            .enable_push(false)
            .handshake(socket)
            .await
            .map_err(|error| Failure::http2(&error, false))?;
        poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err(Failure::Closed)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::greeting(&error))),
            Poll::Pending if sender.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        let streams = Arc::new(Streams::new(sender.current_max_send_streams()));
        let pings = connection.ping_pong().ok_or_else(|| Failure::Malformed("PINGs are taken".to_owned()))?;
        let watched = streams.clone();
        let driver = Box::pin(async move {
            tokio::select! {
                // One that breaks fails the calls on it, which is where it is told.
                _ = connection => {}
                () = keep_alive::watch(pings, &watched, patience) => {}
            }
        });
        Ok((Http2 { sender, streams }, driver))
    }

    pub(super) fn is_open(&self) -> bool {
        // A fresh share has no call that could wait for its turn, so this says at once whether one could be made.
        let mut context = Context::from_waker(Waker::noop());
        !self.streams.is_given_up() && !matches!(self.sender.clone().poll_ready(&mut context), Poll::Ready(Err(_)))
    }

    pub(super) async fn call(&mut self, origin: &Origin, request: &Request, keep: bool, gauges: &Gauges) -> Call {
        let mut progress = Progress { sent: Instant::now(), read: None };
        let result = self.exchange(origin, request, keep, gauges, &mut progress).await;
        let Progress { sent, read } = progress;
        let done = read.filter(|_| result.is_ok()).unwrap_or_else(Instant::now);
        Call { sent, connected: None, done, result }
    }

    async fn exchange(
        &mut self,
        origin: &Origin,
        request: &Request,
        keep: bool,
        gauges: &Gauges,
        progress: &mut Progress,
    ) -> std::result::Result<Answer, Failure> {
        let head = origin.head(request)?;
        // h2 would hold back what is too much for the server itself, but unseen, and after the time of sending.
        let streams = self.streams.clone();
        let turn = streams.turn(self.sender.current_max_send_streams(), gauges).await;
        let result = self.on_stream(head, request, keep, gauges, progress).await;
        turn.end();
        result
    }

    async fn on_stream(
        &mut self,
        head: http::Request<()>,
        request: &Request,
        keep: bool,
        gauges: &Gauges,
        progress: &mut Progress,
    ) -> std::result::Result<Answer, Failure> {
        let unanswered = |error: h2::Error| Failure::http2(&error, false);
        poll_fn(|cx| self.sender.poll_ready(cx)).await.map_err(unanswered)?;
        progress.sent = Instant::now();
        let (response, mut outgoing) = self.sender.send_request(head, request.body.is_empty()).map_err(unanswered)?;
        if !request.body.is_empty() {
            // Held until the server's windows let it go, without a copy. Where it can't be sent, the answer says why.
            let _ = outgoing.send_data(request.body.clone(), true);
        }
        let (head, mut incoming) = response.await.map_err(unanswered)?.into_parts();
        progress.read = Some(Instant::now());

        let status = head.status.as_u16();
        let content_type = head.headers.get(header::CONTENT_TYPE);
        let is_event_stream = content_type.is_some_and(|value| body::is_event_stream(value.as_bytes()));
        let cut = |error: h2::Error| Failure::http2(&error, true);
        let mut body = Body::new(request, keep, status, is_event_stream, gauges);
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
        let (revision, overhead_us) = headers_told(&head.headers);
        let told = body.finish(request.protocol, None)?;
        Ok(Answer {
            protocol: request.protocol,
            status,
            headers: head.headers,
            body: told.body,
            length: told.length,
            trailers,
            revision,
            overhead_us,
            stream: told.stream,
            usage: told.usage,
            fault: told.fault,
        })
    }
}

impl fmt::Debug for Http2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The sender's own text would have all of the connection's state in it.
        f.debug_struct("Http2").finish_non_exhaustive()
    }
}

/// The revision that answered, and the server's own time.
fn headers_told(headers: &HeaderMap) -> (Option<Bytes>, Option<u32>) {
    let revision = headers.get("x-weirgate-revision").map(|value| Bytes::copy_from_slice(value.as_bytes()));
    let overhead = headers.get("x-weirgate-overhead-us");
    (revision, overhead.and_then(|value| value.to_str().ok()?.parse().ok()))
}
