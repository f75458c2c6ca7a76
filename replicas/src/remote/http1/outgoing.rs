//! A request on its way, as far as the server takes it.

use std::io::{self, IoSlice, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::HeaderMap;
use http_body::Body;
use tokio::io::AsyncWrite;

use super::head::{self, Announced};
use crate::remote::body::{BodyError, OutBody};
use crate::remote::request::RequestHead;
use crate::remote::transport::Origin;
use crate::remote::transport::socket::Socket;

/// Lives as long as its connection, for the sake of its buffer.
#[derive(Default)]
pub(super) struct Outgoing {
    /// The head, or what stands before a piece of the body; from `begun` on it is still to be sent.
    before: Vec<u8>,
    begun: usize,
    piece: Bytes,
    /// What stands after the piece.
    after: &'static [u8],
    /// What of the body has not been taken yet.
    body: Option<OutBody>,
    /// Bytes that the body still has, where its length was announced; else it is chunked.
    left: Option<u64>,
    /// Bytes that the kernel took.
    sent: u64,
    /// Whether a byte of it may have left this process.
    was_sent: bool,
    is_flushed: bool,
}

/// Why no more is sent.
pub(super) enum Stopped {
    /// The caller's body broke off.
    Caller(BodyError),
    Socket(io::Error),
}

impl Outgoing {
    pub fn start(&mut self, origin: &Origin, request: &RequestHead, body: OutBody) {
        let announced = match body.size_hint().exact() {
            Some(0) if !request.method.is_safe() => Announced::Length(0),
            Some(0) => Announced::Nothing,
            Some(length) => Announced::Length(length),
            None if body.is_end_stream() => Announced::Nothing,
            None => Announced::Chunked,
        };
        self.before.clear();
        head::write(&mut self.before, origin, request, announced);
        (self.begun, self.piece, self.after) = (0, Bytes::new(), b"");
        (self.sent, self.was_sent, self.is_flushed) = (0, false, false);
        (self.body, self.left) = match announced {
            Announced::Chunked => (Some(body), None),
            Announced::Length(length @ 1..) => (Some(body), Some(length)),
            _ => (None, Some(0)),
        };
    }

    /// Whether it is certain that the server has nothing of it.
    pub fn is_unsent(&self) -> bool {
        !self.was_sent
    }

    /// Bytes of it that the kernel took.
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// Whether all of it is on its way.
    pub fn is_done(&self) -> bool {
        self.body.is_none() && self.is_empty() && self.is_flushed
    }

    fn is_empty(&self) -> bool {
        self.begun == self.before.len() && self.piece.is_empty() && self.after.is_empty()
    }

    pub fn poll(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<Result<(), Stopped>> {
        while !self.is_done() {
            // The head goes with the first piece, if that is there.
            let waits = match self.poll_piece(cx) {
                Poll::Ready(taken) => taken.map(|()| false),
                Poll::Pending => Ok(true),
            };
            let waits = waits.map_err(Stopped::Caller)?;
            if !self.is_empty() {
                ready!(self.poll_write(cx, socket)).map_err(Stopped::Socket)?;
            } else {
                ready!(Pin::new(&mut *socket).poll_flush(cx)).map_err(Stopped::Socket)?;
                self.is_flushed = true;
                if waits {
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece of the body, if there is room for one.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        while self.piece.is_empty() && self.after.is_empty() {
            let Some(body) = &mut self.body else { break };
            let frame = ready!(Pin::new(body).poll_frame(cx)).transpose()?;
            match frame.map(http_body::Frame::into_data) {
                Some(Ok(data)) => self.set_piece(data)?,
                Some(Err(frame)) => self.finish(frame.into_trailers().ok())?,
                None => self.finish(None)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn set_piece(&mut self, data: Bytes) -> Result<(), BodyError> {
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.left {
            Some(left) => {
                let rest = left.checked_sub(data.len() as u64).ok_or("it is longer than it was said to be")?;
                *left = rest;
                if rest == 0 {
                    self.body = None;
                }
            }
            None => {
                self.make_room();
                write!(self.before, "{:x}\r\n", data.len())?;
                self.after = b"\r\n";
            }
        }
        self.piece = data;
        self.is_flushed = false;
        Ok(())
    }

    /// The body has ended.
    fn finish(&mut self, trailers: Option<HeaderMap>) -> Result<(), BodyError> {
        self.body = None;
        match self.left {
            Some(0) => return Ok(()),
            Some(_) => return Err("it is shorter than it was said to be".into()),
            None => self.make_room(),
        }
        self.before.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.iter().flatten() {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                self.before.extend_from_slice(part);
            }
        }
        self.before.extend_from_slice(b"\r\n");
        self.is_flushed = false;
        Ok(())
    }

    fn make_room(&mut self) {
        if self.begun == self.before.len() {
            self.before.clear();
            self.begun = 0;
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, socket: &mut Socket) -> Poll<io::Result<()>> {
        self.was_sent |= socket.sends_on_failure();
        let parts = [&self.before[self.begun..], &self.piece, self.after].map(IoSlice::new);
        let mut written = ready!(Pin::new(socket).poll_write_vectored(cx, &parts))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.was_sent = true;
        self.sent += written as u64;
        let before = written.min(self.before.len() - self.begun);
        self.begun += before;
        written -= before;
        let piece = written.min(self.piece.len());
        self.piece.advance(piece);
        self.after = &self.after[written - piece..];
        Poll::Ready(Ok(()))
    }
}
