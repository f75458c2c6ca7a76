//! Bodies on their way to a server and back.

mod replay;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

pub use replay::{Replay, Replayed};

use super::http1;
use super::http2;

/// Whatever a body may fail with. An answer's body fails with a [`Fault`](super::Fault).
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body, on its way to a server.
pub enum OutBody {
    /// All of it is here: it can be sent again.
    Whole(Bytes),
    /// As its caller sends it.
    Stream(UnsyncBoxBody<Bytes, BodyError>),
    /// As its caller sends it, and kept as far as it may have to be sent again.
    Replayed(Replayed),
}

impl OutBody {
    /// How many bytes of a body are kept, unless it says otherwise.
    pub const REPLAY: usize = 64 << 10;

    /// Keeps what is taken of this body, up to `most` bytes, so that it can be sent again.
    pub fn replay(self, most: usize) -> Replay {
        Replay::new(self, most)
    }
}

impl Body for OutBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            OutBody::Whole(bytes) => Poll::Ready(take(bytes)),
            OutBody::Stream(body) => Pin::new(body).poll_frame(cx),
            OutBody::Replayed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            OutBody::Whole(bytes) => bytes.is_empty(),
            OutBody::Stream(body) => body.is_end_stream(),
            OutBody::Replayed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            OutBody::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            OutBody::Stream(body) => body.size_hint(),
            OutBody::Replayed(body) => body.size_hint(),
        }
    }
}

/// An answer's body, on its way back: frames as they come, trailers too. Dropping it ends the exchange.
pub enum InBody {
    /// All of it came with the head.
    Whole(Bytes),
    Http1(Box<http1::Incoming>),
    H2(Box<http2::Incoming>),
    /// From a server in this process, as it makes it.
    Here(UnsyncBoxBody<Bytes, BodyError>),
}

impl Body for InBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            InBody::Whole(bytes) => Poll::Ready(take(bytes)),
            InBody::Http1(body) => body.poll_frame(cx).map_err(Into::into),
            InBody::H2(body) => body.poll_frame(cx).map_err(Into::into),
            InBody::Here(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            InBody::Whole(bytes) => bytes.is_empty(),
            InBody::Http1(body) => body.is_end_stream(),
            InBody::H2(body) => body.is_end_stream(),
            InBody::Here(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            InBody::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            InBody::Http1(body) => body.size_hint(),
            InBody::H2(body) => body.size_hint(),
            InBody::Here(body) => body.size_hint(),
        }
    }
}

/// The one frame that is left of a body which is all there.
fn take<E>(bytes: &mut Bytes) -> Option<Result<Frame<Bytes>, E>> {
    (!bytes.is_empty()).then(|| Ok(Frame::data(std::mem::take(bytes))))
}
