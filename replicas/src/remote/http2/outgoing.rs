//! A request's body on its way, as far as the server's windows let it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::Body;

use crate::remote::body::{BodyError, OutBody};

/// Most bytes that are asked room for at once: what h2 holds of a body that the server does not take.
const MOST_AT_ONCE: usize = 64 << 10;

pub(super) struct Outgoing {
    stream: SendStream<Bytes>,
    body: OutBody,
    /// Taken of the body and not sent yet.
    piece: Bytes,
}

impl Outgoing {
    pub fn new(stream: SendStream<Bytes>, body: OutBody) -> Outgoing {
        Outgoing { stream, body, piece: Bytes::new() }
    }

    /// Ready once all is sent, or the server wants no more: its answer says why. An error is the caller's.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if let OutBody::Whole(bytes) = &mut self.body {
            // Held until the windows let it go, without a copy.
            let _ = self.stream.send_data(std::mem::take(bytes), true);
            return Poll::Ready(Ok(()));
        }
        loop {
            if !self.piece.is_empty() {
                if !ready!(self.poll_piece(cx)) {
                    return Poll::Ready(Ok(()));
                }
                continue;
            }
            // A server that wants no more is heard while the caller has nothing to send.
            if self.stream.poll_reset(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.piece = data,
                    Err(frame) => {
                        // Fails only where the stream is over, of which the answer tells.
                        let _ = self.stream.send_trailers(frame.into_trailers().unwrap_or_default());
                        return Poll::Ready(Ok(()));
                    }
                },
                None => {
                    let _ = self.stream.send_data(Bytes::new(), true);
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(error));
                }
            }
        }
    }

    /// Sends some of the piece; false where the stream or the body is over.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        self.stream.reserve_capacity(self.piece.len().min(MOST_AT_ONCE));
        let room = match self.stream.capacity() {
            0 => match ready!(self.stream.poll_capacity(cx)) {
                Some(Ok(room)) => room,
                Some(Err(_)) | None => return Poll::Ready(false),
            },
            room => room,
        };
        let part = self.piece.split_to(room.min(self.piece.len()));
        let is_last = self.piece.is_empty() && self.body.is_end_stream();
        let was_sent = self.stream.send_data(part, is_last).is_ok();
        Poll::Ready(was_sent && !is_last)
    }
}
