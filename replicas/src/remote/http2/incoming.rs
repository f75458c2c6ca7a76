//! An answer's body on its way.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};

use super::connections::Place;
use super::outgoing::Outgoing;
use crate::remote::fault::{Fault, FaultKind};

/// An answer's body on its way. It also drives what is left of the request. Dropped before its end it resets the stream.
pub struct Incoming {
    body: RecvStream,
    outgoing: Option<Outgoing>,
    /// Counts as a call on its connection; none once the body has ended.
    place: Option<Place>,
    /// Bytes of the frame that was handed on last. The server may send as many more when the next one is asked for.
    held: usize,
    /// What is still to come, where that was announced.
    left: Option<u64>,
    name: Box<str>,
}

impl Incoming {
    pub(super) fn new(
        body: RecvStream,
        outgoing: Option<Outgoing>,
        length: Option<u64>,
        place: Place,
        name: &str,
    ) -> Incoming {
        Incoming { body, outgoing, place: Some(place), held: 0, left: length, name: name.into() }
    }

    pub(in crate::remote) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.place.is_none() {
            return Poll::Ready(None);
        }
        let frame = ready!(self.poll_next(cx));
        let is_over = !matches!(frame, Some(Ok(_))) || self.body.is_end_stream();
        if is_over || frame.as_ref().is_some_and(|frame| matches!(frame, Ok(frame) if frame.is_trailers())) {
            (self.place, self.outgoing) = (None, None);
        }
        Poll::Ready(frame)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if let Some(outgoing) = &mut self.outgoing
            && let Poll::Ready(sent) = outgoing.poll(cx)
        {
            self.outgoing = None;
            if let Err(error) = sent {
                return Poll::Ready(Some(Err(Fault::caller(&*error))));
            }
        }
        if self.held > 0 {
            // Fails only where more is released than came.
            let _ = self.body.flow_control().release_capacity(std::mem::take(&mut self.held));
        }
        match ready!(self.body.poll_data(cx)) {
            Some(Ok(data)) => {
                self.held = data.len();
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Some(Err(error)) => Poll::Ready(Some(Err(self.broken(&error)))),
            None => match ready!(self.body.poll_trailers(cx)) {
                Ok(trailers) => Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers)))),
                Err(error) => Poll::Ready(Some(Err(self.broken(&error)))),
            },
        }
    }

    fn broken(&self, error: &h2::Error) -> Fault {
        Fault::new(FaultKind::Broken, format!("the answer of {} broke off: {error}", self.name))
    }

    pub(in crate::remote) fn is_end_stream(&self) -> bool {
        self.place.is_none() || (self.body.is_end_stream() && self.outgoing.is_none())
    }

    pub(in crate::remote) fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}
