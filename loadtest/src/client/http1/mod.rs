//! HTTP/1.1 by hand: a write and a read for a call in the usual case, and no memory asked for.
//!
//! ```text
//! head     the head of an answer
//! framing  where its body ends
//! input    what was read and not yet taken
//! unsent   what of a request is still to be written
//! ```

mod framing;
mod head;
mod input;
mod unsent;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;
use std::time::Instant;

use bytes::Bytes;
use http::{Method, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::framing::Framing;
use self::head::Head;
use self::input::Input;
use self::unsent::Unsent;
use super::body::Body;
use super::gauges::Gauges;
use super::{Call, Failure};
use crate::request::{Answer, Request};
use crate::target::Target;

/// Bodies up to this size are copied behind the head, which is cheaper than two pieces in one write.
const COPIED_BODY: usize = 8 << 10;
/// Most heads of an answer that only say that it is still to come.
const MOST_INTERIM: usize = 16;

/// What is the same in all requests to one target.
#[derive(Clone, Debug)]
pub(super) struct Preamble {
    /// The path of the target.
    base: String,
    /// The line of the header.
    host: String,
}

impl Preamble {
    pub(super) fn new(target: &Target) -> Preamble {
        let host = format!("host: {}\r\n", target.authority());
        Preamble { base: target.path.clone(), host }
    }
}

/// A connection with no request on it.
#[derive(Debug)]
pub(super) struct Http1<S> {
    stream: S,
    input: Input,
    /// The head of a request, and its body if that is small.
    output: Vec<u8>,
    /// The last one seen: it seldom changes.
    revision: Bytes,
    /// Whether a call was on it before.
    is_used: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    pub(super) fn new(stream: S) -> Http1<S> {
        Http1 { stream, input: Input::new(), output: Vec::with_capacity(512), revision: Bytes::new(), is_used: false }
    }

    /// Whether nothing came since the last answer: neither its end, nor bytes that nobody asked for.
    ///
    /// Costs no system call, so it can miss what the system has not told yet.
    pub(super) async fn is_quiet(&mut self) -> bool {
        let mut byte = [0];
        poll_fn(|cx| {
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut ReadBuf::new(&mut byte));
            Poll::Ready(read.is_pending())
        })
        .await
    }

    /// One call. The connection comes back where another may follow on it, and is closed otherwise.
    pub(super) async fn call(
        mut self: Box<Self>,
        preamble: &Preamble,
        request: &Request,
        keep: bool,
        gauges: &Gauges,
    ) -> (Option<Box<Self>>, Call) {
        let unsent = self.write_head(preamble, request);
        let sent = Instant::now();
        let mut read = sent;
        let result = match unsent {
            Ok(unsent) => self.exchange(unsent, request, keep, gauges, &mut read).await,
            Err(failure) => Err(failure),
        };
        match result {
            Ok((answer, stays_open)) => {
                self.is_used = true;
                (stays_open.then_some(self), Call { sent, connected: None, done: read, result: Ok(answer) })
            }
            Err(failure) => {
                let failure = if failure == Failure::Closed && self.is_used { Failure::ClosedReused } else { failure };
                (None, Call { sent, connected: None, done: Instant::now(), result: Err(failure) })
            }
        }
    }

    /// Puts a request's head into the output, and returns what of it is to be sent.
    fn write_head(&mut self, preamble: &Preamble, request: &Request) -> Result<Unsent, Failure> {
        // It is written anew for each call, which is about a hundredth of its CPU time: too little to keep heads for.
        let Request { method, path, headers, body, .. } = request;
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Unsendable(format!("path '{}' needs percent-encoding", path.escape_debug())));
        }
        let output = &mut self.output;
        output.clear();
        let host = if headers.contains_key(header::HOST) { "" } else { preamble.host.as_str() };
        for part in [method.as_str(), " ", &preamble.base, path, " HTTP/1.1\r\n", host] {
            output.extend_from_slice(part.as_bytes());
        }
        for (name, value) in headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                output.extend_from_slice(part);
            }
        }
        if !body.is_empty() || method != Method::GET {
            output.extend_from_slice(b"content-length: ");
            output.extend_from_slice(itoa::Buffer::new().format(body.len()).as_bytes());
            output.extend_from_slice(b"\r\n");
        }
        output.extend_from_slice(b"\r\n");
        if body.len() <= COPIED_BODY {
            output.extend_from_slice(body);
            return Ok(Unsent::new(Bytes::new()));
        }
        Ok(Unsent::new(body.clone()))
    }

    /// Sends a request and reads its answer, the last time at `read`; says also whether the connection stays open.
    async fn exchange(
        &mut self,
        mut unsent: Unsent,
        request: &Request,
        keep: bool,
        gauges: &Gauges,
        read: &mut Instant,
    ) -> Result<(Answer, bool), Failure> {
        let head = self.head(&mut unsent, keep, read).await?;
        let mut body = Body::new(request, keep, head.status, head.is_event_stream, gauges);
        let mut framing = head.framing;
        while !framing.is_done() {
            let input = self.input.bytes();
            let taken = framing.take(input)?;
            body.push(&input[taken.data], *read)?;
            self.input.consume(taken.consumed);
            if taken.consumed == 0 && !self.read(&mut unsent, true, read).await? {
                match framing {
                    Framing::UntilClose => break,
                    _ => return Err(Failure::Cut),
                }
            }
        }
        // Bytes that follow belong to no request, and an answer before the request was sent leaves half of one behind.
        let stays_open = head.stays_open && unsent.is_sent() && self.input.bytes().is_empty();
        let told = body.finish(request.protocol, head.header_length)?;
        let answer = Answer {
            protocol: request.protocol,
            status: head.status,
            headers: head.headers,
            body: told.body,
            length: told.length,
            trailers: None,
            revision: head.revision,
            overhead_us: head.overhead_us,
            stream: told.stream,
            usage: told.usage,
            fault: told.fault,
        };
        Ok((answer, stays_open))
    }

    /// Sends, and reads the head of the answer.
    async fn head(&mut self, unsent: &mut Unsent, keep: bool, read: &mut Instant) -> Result<Head, Failure> {
        let mut interim = 0;
        loop {
            if !self.input.bytes().is_empty()
                && let Some(head) = Head::parse(self.input.bytes(), keep, &mut self.revision)?
            {
                self.input.consume(head.length);
                if !head.is_interim() {
                    return Ok(head);
                }
                interim += 1;
                if interim > MOST_INTERIM {
                    return Err(Failure::Malformed(format!("more than {MOST_INTERIM} heads with a status below 200")));
                }
                continue;
            }
            let answering = !self.input.bytes().is_empty();
            if !self.read(unsent, answering, read).await? {
                return Err(if answering { Failure::Cut } else { Failure::Closed });
            }
        }
    }

    /// Reads more, and sends meanwhile. False at the end of the stream.
    ///
    /// An end that TLS did not announce is one: many servers leave the announcement out. Where it comes too early, the
    /// framing tells; only a body that ends with the connection could be cut unseen.
    async fn read(&mut self, unsent: &mut Unsent, answering: bool, at: &mut Instant) -> Result<bool, Failure> {
        let Http1 { stream, input, output, .. } = self;
        let read: io::Result<usize> = poll_fn(|cx| {
            unsent.poll_send(stream, output, cx);
            input.poll_fill(stream, cx)
        })
        .await;
        *at = Instant::now();
        match read {
            Ok(length) => Ok(length > 0),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(Failure::lost(&error, answering)),
        }
    }
}
