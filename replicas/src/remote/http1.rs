//! HTTP/1.1, without a task per connection: whoever waits for an answer drives the connection that it comes on.
//!
//! ```text
//! head       a request's head as bytes, and bytes as an answer's head
//! framing    where an answer's body ends
//! outgoing   a request on its way, as far as the server takes it
//! incoming   an answer's body on its way
//! ```

mod framing;
mod head;
mod incoming;
mod outgoing;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;
use http::{Method, Response};
use memchr::memchr;
use tokio::io::AsyncReadExt;

pub use incoming::Incoming;

use super::body::{InBody, OutBody};
use super::fault::{Fault, FaultKind};
use super::pool::Pool;
use super::request::RequestHead;
use super::tls;
use super::transport::socket::Socket;
use super::transport::{Origin, why};
use head::{Head, MOST_HEAD};
use outgoing::{Outgoing, Stopped};

/// How much is read at a time, from little to much: large answers come in large pieces.
const LEAST_READ: usize = 8 << 10;
const MOST_READ: usize = 64 << 10;

/// A connection between two exchanges, or in the middle of one.
pub struct Connection {
    socket: Socket,
    /// What came and was not taken yet.
    input: BytesMut,
    read_size: usize,
    outgoing: Outgoing,
    /// It has carried a call before.
    is_reused: bool,
}

impl Connection {
    pub(super) fn new(socket: Socket) -> Connection {
        let (input, outgoing) = (BytesMut::new(), Outgoing::default());
        Connection { socket, input, read_size: LEAST_READ, outgoing, is_reused: false }
    }

    /// Whether a request may be sent on it, as far as this side knows.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.socket.is_quiet()
    }

    /// Sends as much as the server takes.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stopped>> {
        self.outgoing.poll(cx, &mut self.socket)
    }

    /// Reads what there is; none at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.capacity() - self.input.len() < self.read_size / 2 {
            self.input.reserve(self.read_size);
        }
        let room = self.input.capacity() - self.input.len();
        let read = ready!(pin!(self.socket.read_buf(&mut self.input)).poll(cx))?;
        if read == room {
            self.read_size = (self.read_size * 2).min(MOST_READ);
        }
        Poll::Ready(Ok(read))
    }

    /// Whether the server's end of the connection, which has come, was sent before any of the request had arrived there. After
    /// a reset, which some write or read has told of, nothing is known: it may overtake what acknowledges the request.
    fn is_unheard(&self) -> bool {
        let sent = self.outgoing.sent();
        self.input.is_empty() && self.socket.unacknowledged().is_some_and(|bytes| bytes >= sent)
    }

    /// Keeps it for another exchange, if that is possible.
    fn end(mut self: Box<Self>, stays_open: bool, pool: &Pool) {
        if stays_open && self.outgoing.is_done() && self.input.is_empty() {
            if self.read_size > LEAST_READ {
                // It would hold on to much memory while it has nothing to do.
                (self.input, self.read_size) = (BytesMut::new(), LEAST_READ);
            }
            self.is_reused = true;
            pool.put(self);
        }
    }
}

/// Sends a request on a connection and waits for the head of the answer.
pub(super) async fn send(
    mut connection: Box<Connection>,
    pool: &Arc<Pool>,
    origin: &Origin,
    request: &RequestHead,
    body: OutBody,
) -> Result<Response<InBody>, Fault> {
    if request.method == Method::CONNECT {
        return Err(Fault::new(FaultKind::Caller, format!("{}: CONNECT is not passed on", origin.name)));
    }
    connection.outgoing.start(origin, request, body);
    let mut wait = Wait { connection: &mut connection, origin, passed: 0, seen: 0, stopped: None };
    let wants_no_body = request.method == Method::HEAD;
    let head = std::future::poll_fn(|cx| wait.poll(cx, wants_no_body)).await?;
    let stays_open = head.stays_open && wait.stopped.is_none();
    let Head { status, headers, mut framing, .. } = head;

    let body = match framing.take_whole(&mut connection.input) {
        Some(bytes) => {
            connection.end(stays_open, pool);
            InBody::Whole(bytes)
        }
        None => InBody::Http1(Box::new(Incoming::new(connection, framing, stays_open, pool.clone(), &origin.name))),
    };
    let mut response = Response::new(body);
    (*response.status_mut(), *response.headers_mut()) = (status, headers);
    Ok(response)
}

/// The wait for an answer's head, while the request is still on its way.
struct Wait<'a> {
    connection: &'a mut Connection,
    origin: &'a Origin,
    /// Bytes of heads that came before the answer's own.
    passed: usize,
    /// How much of the input was looked at in vain.
    seen: usize,
    /// The server takes no more of the request, and may have answered for that very reason.
    stopped: Option<io::Error>,
}

impl Wait<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, wants_no_body: bool) -> Poll<Result<Head, Fault>> {
        if self.stopped.is_none() {
            match self.connection.poll_send(cx) {
                Poll::Ready(Err(Stopped::Caller(error))) => return Poll::Ready(Err(Fault::caller(&*error))),
                Poll::Ready(Err(Stopped::Socket(error))) if self.connection.outgoing.is_unsent() => {
                    return Poll::Ready(Err(self.unsent(&error)));
                }
                Poll::Ready(Err(Stopped::Socket(error))) => self.stopped = Some(error),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        loop {
            match ready!(self.connection.poll_read(cx)) {
                Ok(0) => return Poll::Ready(Err(self.closed(None))),
                Err(error) => return Poll::Ready(Err(self.closed(Some(error)))),
                Ok(_) => {}
            }
            if self.connection.outgoing.is_unsent() {
                // Whatever it is, it is no answer to this request.
                return Poll::Ready(Err(self.unsent(&"it spoke before it was asked")));
            }
            match self.take_head(wants_no_body) {
                Ok(None) => {}
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Err(why) => {
                    let text = format!("{} gave an answer that is no HTTP/1.1: {why}", self.origin.name);
                    return Poll::Ready(Err(Fault::new(FaultKind::Broken, text)));
                }
            }
        }
    }

    /// The answer's head, if all of it has come. Those that come before it are passed over.
    fn take_head(&mut self, wants_no_body: bool) -> Result<Option<Head>, String> {
        let input = &mut self.connection.input;
        loop {
            // A head that comes in crumbs is not read again for each of them.
            if memchr(b'\n', &input[self.seen..]).is_none() {
                self.seen = input.len();
                return if input.len() > MOST_HEAD { Err(head::too_long()) } else { Ok(None) };
            }
            self.seen = input.len();
            let Some(head) = Head::take(input, wants_no_body, self.passed)? else { return Ok(None) };
            if !head.is_interim() {
                return Ok(Some(head));
            }
            self.passed += head.length;
            self.seen = 0;
        }
    }

    fn unsent(&self, why: &dyn std::fmt::Display) -> Fault {
        Fault::new(
            FaultKind::Unsent,
            format!("{} ended the connection before the call was sent: {why}", self.origin.name),
        )
    }

    /// The connection has ended without an answer.
    fn closed(&self, error: Option<io::Error>) -> Fault {
        let name = &self.origin.name;
        if self.connection.outgoing.is_unsent() {
            return self.unsent(&"it was closed");
        }
        // The server ended it before it had any of the request. What comes later to a connection that was closed is thrown away.
        if error.is_none() && self.stopped.is_none() && self.connection.is_unheard() {
            return self.unsent(&"it was closed at the same time");
        }
        if let Some(error) = error.as_ref().or(self.stopped.as_ref())
            && !self.connection.is_reused
            && tls::is_refusal(error)
        {
            return Fault::new(FaultKind::Connect, format!("can't connect to {name}: TLS: {error}"));
        }
        let what = if self.connection.input.is_empty() { "an answer" } else { "a whole head of an answer" };
        let why = error.map_or_else(|| "closed by the server".to_owned(), why);
        Fault::new(FaultKind::Broken, format!("the connection to {name} ended before {what}: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use rustix::net::sockopt::set_socket_linger;
    use weirgate_protocol::UpstreamUrl;

    use super::*;
    use crate::remote::transport::{Address, Counters, socket};

    /// What becomes of a call on a connection that was looked at before its server did something to it.
    async fn send_after(event: impl FnOnce(TcpStream)) -> Fault {
        let (socket, peer) = socket::pair().await;
        let mut connection = Box::new(Connection::new(socket));
        assert!(connection.is_quiet());
        connection.is_reused = true;
        event(peer);
        let pool = Arc::new(Pool::new(1, Duration::from_secs(60), Arc::<Counters>::default()));
        let origin = Origin::new(&Address::Url(UpstreamUrl::parse("http://localhost").unwrap()));
        let target = http::uri::PathAndQuery::from_static("/");
        let head = RequestHead { method: Method::POST, target, headers: Vec::new() };
        let answer = send(connection, &pool, &origin, &head, OutBody::Whole("body".into())).await;
        answer.err().expect("it was answered")
    }

    #[tokio::test]
    async fn a_connection_that_is_reset_before_the_call_has_not_taken_it() {
        let reset = |peer: TcpStream| set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
        let fault = send_after(reset).await;
        assert_eq!((fault.kind, fault.not_executed()), (FaultKind::Unsent, true), "{fault}");
    }

    /// The kernel takes the request, but the server's end of the connection was on its way already.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_that_is_closed_at_the_same_time_has_not_taken_the_call() {
        let fault = send_after(drop).await;
        assert_eq!((fault.kind, fault.not_executed()), (FaultKind::Unsent, true), "{fault}");
    }
}
