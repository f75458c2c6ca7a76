//! An answer's body on its way.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::framing::{Framing, Piece};
use super::outgoing::Stopped;
use super::{Connection, why};
use crate::remote::fault::{Fault, FaultKind};
use crate::remote::pool::Pool;

/// An answer's body on its way. It also drives what is left of the request. Dropped before its end it closes the connection.
pub struct Incoming {
    /// None once the body has ended.
    connection: Option<Box<Connection>>,
    framing: Framing,
    stays_open: bool,
    pool: Arc<Pool>,
    /// The server's, for errors.
    name: Box<str>,
}

impl Incoming {
    pub(super) fn new(
        connection: Box<Connection>,
        framing: Framing,
        stays_open: bool,
        pool: Arc<Pool>,
        name: &str,
    ) -> Incoming {
        Incoming { connection: Some(connection), framing, stays_open, pool, name: name.into() }
    }

    pub(in crate::remote) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        let frame = ready!(self.poll_next(cx));
        // After an error there is nothing more to say.
        if !matches!(frame, Some(Ok(_))) {
            self.connection = None;
        }
        Poll::Ready(frame)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        loop {
            let Some(connection) = &mut self.connection else { return Poll::Ready(None) };
            match self.framing.take(&mut connection.input) {
                Ok(Piece::Data(data)) => {
                    self.framing.take_end(&mut connection.input);
                    self.settle();
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Ok(Piece::Trailers(trailers)) => {
                    self.settle();
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ok(Piece::End) => {
                    self.settle();
                    return Poll::Ready(None);
                }
                Ok(Piece::More) => {}
                Err(why) => return Poll::Ready(Some(Err(self.broken(&why)))),
            }
            match connection.poll_send(cx) {
                Poll::Ready(Err(Stopped::Caller(error))) => return Poll::Ready(Some(Err(Fault::caller(&*error)))),
                // It may answer all the same, but that is the last thing it does here.
                Poll::Ready(Err(Stopped::Socket(_))) => self.stays_open = false,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            match ready!(connection.poll_read(cx)) {
                Ok(0) if self.framing == Framing::UntilClose => return Poll::Ready(None),
                Ok(0) => return Poll::Ready(Some(Err(self.broken("closed by the server")))),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Some(Err(self.broken(&why(error))))),
            }
        }
    }

    /// Lets the connection go, if the body has ended.
    fn settle(&mut self) {
        if self.framing.is_done()
            && let Some(connection) = self.connection.take()
        {
            connection.end(self.stays_open, &self.pool);
        }
    }

    fn broken(&self, why: &str) -> Fault {
        let Self { name, .. } = self;
        Fault::new(FaultKind::Broken, format!("the answer of {name} broke off: {why}"))
    }

    pub(in crate::remote) fn is_end_stream(&self) -> bool {
        self.connection.is_none()
    }

    pub(in crate::remote) fn size_hint(&self) -> SizeHint {
        self.framing.left().map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
