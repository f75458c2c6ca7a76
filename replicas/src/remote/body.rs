//! Bodies on their way to a server and back.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

/// Whatever a body may fail with.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body, on its way to a server.
pub enum OutBody {
    /// All of it is here: it can be sent again.
    Whole(Bytes),
    /// As its caller sends it.
    Stream(UnsyncBoxBody<Bytes, BodyError>),
}

/// An answer's body, on its way back: frames as they come, trailers too. Dropping it ends the exchange.
pub enum InBody {
    H2(hyper::body::Incoming),
}

impl Body for InBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            InBody::H2(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            InBody::H2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            InBody::H2(body) => body.size_hint(),
        }
    }
}
