//! A server's answer on its way to the caller. It has its slot until it has ended, and pauses are bounded.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use weirgate_protocol::{Error, RetryClass};
use weirgate_replicas::remote::InBody;
use weirgate_replicas::remote::body::BodyError;
use weirgate_router::pool::Outcome;

use super::idle::Idle;
use crate::dispatch::Lease;

/// An answer's body. An error of it cuts the caller off: what has broken must not look as if it had ended.
pub struct Download {
    body: InBody,
    idle: Idle,
    /// Given back with the last piece.
    lease: Option<Lease>,
}

impl Download {
    pub fn new(body: InBody, idle: Idle, lease: Lease) -> Download {
        let lease = Some(lease).filter(|_| !body.is_end_stream());
        Download { body, idle, lease }
    }

    fn breaks(&mut self, error: BodyError) -> BodyError {
        if let Some(mut lease) = self.lease.take() {
            tracing::warn!(server = &*lease.remote().name, %error, "an answer broke off");
            lease.ends(Outcome::Failed, Instant::now());
        }
        error
    }
}

impl Body for Download {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if polled.is_ready() {
            this.idle.came();
        } else {
            ready!(this.idle.poll_waited(cx));
            let seconds = this.idle.longest().as_secs_f64();
            let text =
                format!("the answer paused for {seconds} s, which is the limit (weirgate.dev/stream-idle-timeout)");
            let error = Error::upstream(text, RetryClass::MayHaveExecuted);
            return Poll::Ready(Some(Err(this.breaks(Box::new(error)))));
        }
        let frame = match ready!(polled) {
            Some(Ok(frame)) => Some(Ok(frame)),
            Some(Err(error)) => Some(Err(this.breaks(error))),
            None => None,
        };
        if frame.is_none() || this.body.is_end_stream() {
            this.lease = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
