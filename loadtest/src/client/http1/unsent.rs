//! What of a request is still to be written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::AsyncWrite;

/// A body, behind a head that is kept elsewhere.
#[derive(Debug)]
pub(super) struct Unsent {
    body: Bytes,
    /// Bytes of head and body that were taken.
    written: usize,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Writing,
    /// TLS keeps bytes that its socket did not take.
    Flushing,
    Sent,
    /// The server takes no more. It may still have answered, so that is no failure yet.
    Refused,
}

impl Unsent {
    pub(super) fn new(body: Bytes) -> Unsent {
        Unsent { body, written: 0, state: State::Writing }
    }

    pub(super) fn is_sent(&self) -> bool {
        self.state == State::Sent
    }

    /// Writes as much as goes now.
    pub(super) fn poll_send(&mut self, stream: &mut (impl AsyncWrite + Unpin), head: &[u8], cx: &mut Context<'_>) {
        if matches!(self.state, State::Writing | State::Flushing)
            && let Poll::Ready(result) = self.poll_all(stream, head, cx)
        {
            self.state = if result.is_ok() { State::Sent } else { State::Refused };
        }
    }

    fn poll_all(
        &mut self,
        stream: &mut (impl AsyncWrite + Unpin),
        head: &[u8],
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(stream);
        let all = head.len() + self.body.len();
        while self.written < all {
            let head = head.get(self.written..).unwrap_or_default();
            let body = &self.body[self.written.saturating_sub(all - self.body.len())..];
            let written = match (head, body) {
                (head, []) => ready!(stream.as_mut().poll_write(cx, head))?,
                ([], body) => ready!(stream.as_mut().poll_write(cx, body))?,
                (head, body) => {
                    ready!(stream.as_mut().poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(body)]))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written;
        }
        self.state = State::Flushing;
        stream.poll_flush(cx)
    }
}
