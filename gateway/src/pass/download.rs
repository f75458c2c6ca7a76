//! A server's answer on its way to the caller. It has its slot until it has ended, pauses are bounded, and the call is counted
//! by how it ends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use weirgate_protocol::{Error, ErrorCode, Protocol, RetryClass};
use weirgate_replicas::language::failed;
use weirgate_replicas::remote::body::BodyError;
use weirgate_replicas::remote::{Fault, FaultKind, InBody, trailers};
use weirgate_router::pool::Outcome;

use super::idle::{Idle, Waited};
use super::verdict::{counted, grpc_outcome, of_grpc};
use crate::dispatch::Lease;
use crate::observe::Stages;

/// An answer's body. An error of it cuts the caller off: what has broken must not look as if it had ended.
pub struct Download {
    body: InBody,
    idle: Idle,
    /// None once it has ended.
    open: Option<Open>,
}

/// What lasts as long as the answer: its server's slot, and what is counted at the end.
pub(super) struct Open {
    pub lease: Lease,
    pub protocol: Protocol,
    pub arrived: Instant,
    pub stages: Stages,
    /// What a failure is counted as; none for a success, as far as is known.
    pub code: Option<ErrorCode>,
    /// What it says of the server where the answer is not all there by the deadline.
    pub late: Outcome,
}

impl Open {
    fn ends(self) {
        let metrics = &self.lease.lane().metrics;
        match self.code {
            None => metrics.answered(self.protocol, &self.stages),
            Some(code) => metrics.failed(self.protocol, code, self.arrived.elapsed()),
        }
    }

    fn breaks(mut self, outcome: Outcome, code: ErrorCode) {
        self.lease.ends(outcome, Instant::now());
        self.code = Some(code);
        self.ends();
    }

    /// An answer of gRPC says behind its messages how it went, and so does an engine of ours that has failed.
    fn reads(&mut self, trailers: &HeaderMap) {
        if let Some(status) = failed(trailers).filter(|_| self.lease.remote().ours) {
            let outcome = if status.is_server_error() { Outcome::Failed } else { Outcome::Answered };
            self.lease.ends(outcome, Instant::now());
            self.code = counted(status, None);
        }
        if let Some(code) = of_grpc(trailers, self.protocol) {
            self.lease.ends(grpc_outcome(code, trailers), Instant::now());
            self.code = counted(StatusCode::OK, Some(code));
        }
    }
}

impl Download {
    pub(super) fn new(body: InBody, idle: Idle, open: Open) -> Download {
        let mut download = Download { body, idle, open: Some(open) };
        download.settle(false);
        download
    }

    /// Lets go of the slot with the last piece.
    fn settle(&mut self, is_over: bool) {
        if (is_over || self.body.is_end_stream())
            && let Some(open) = self.open.take()
        {
            open.ends();
        }
    }

    fn breaks(&mut self, error: BodyError) -> BodyError {
        let Some(open) = self.open.take() else { return error };
        let remote = open.lease.remote().clone();
        let server = &*remote.name;
        if error.downcast_ref::<Fault>().is_some_and(|fault| fault.kind == FaultKind::Caller) {
            // The rest of the request was still on its way.
            tracing::debug!(server, %error, "a caller's body broke off during the answer");
            open.breaks(Outcome::Cancelled, ErrorCode::Cancelled);
        } else {
            tracing::warn!(server, %error, "an answer broke off");
            open.breaks(Outcome::Failed, ErrorCode::UpstreamFailed);
        }
        error
    }

    fn waited(&mut self, waited: Waited) -> BodyError {
        let error = match waited {
            Waited::TooLong => {
                let seconds = self.idle.longest().as_secs_f64();
                let text =
                    format!("the answer paused for {seconds} s, which is the limit (weirgate.dev/stream-idle-timeout)");
                return self.breaks(Box::new(Error::upstream(text, RetryClass::MayHaveExecuted)));
            }
            Waited::ToTheEnd => {
                Error::deadline("the deadline passed before all of the answer had come", RetryClass::MayHaveExecuted)
            }
        };
        if let Some(open) = self.open.take() {
            tracing::warn!(server = &*open.lease.remote().name, %error, "an answer broke off");
            let late = open.late;
            open.breaks(late, ErrorCode::DeadlineExceeded);
        }
        Box::new(error)
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
            let waited = ready!(this.idle.poll_waited(cx));
            return Poll::Ready(Some(Err(this.waited(waited))));
        }
        let frame = match ready!(polled) {
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(mut last) => {
                    if let Some(open) = &mut this.open {
                        open.reads(&last);
                    }
                    trailers(&mut last);
                    if last.is_empty() { None } else { Some(Ok(Frame::trailers(last))) }
                }
                Err(frame) => Some(Ok(frame)),
            },
            Some(Err(error)) => Some(Err(this.breaks(error))),
            None => None,
        };
        this.settle(frame.is_none());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        // Nobody asks for more than was announced; else the caller has gone.
        if self.body.size_hint().exact() != Some(0) {
            open.code = Some(ErrorCode::Cancelled);
            open.lease.lane().metrics.abandoned(false);
        }
        open.ends();
    }
}
