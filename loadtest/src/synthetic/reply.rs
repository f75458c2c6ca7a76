//! An answer's body: parts, each at its time.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

/// From the first half of an answer to its end. At the same time, neither head nor half would leave hyper's buffer.
const BEFORE_CUT: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The connection breaks, or the stream is reset.
    Cut,
}

/// Parts by their times.
#[derive(Debug)]
pub(super) struct Reply {
    parts: VecDeque<(Instant, Part)>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Reply {
    pub(super) fn timed(parts: impl IntoIterator<Item = (Instant, Part)>) -> Reply {
        Reply { parts: parts.into_iter().collect(), sleep: None }
    }

    /// The first half of some bytes, and then the end.
    pub(super) fn cut(bytes: Bytes) -> Reply {
        let now = Instant::now();
        Reply::timed([(now, Part::Data(bytes.slice(..bytes.len() / 2))), (now + BEFORE_CUT, Part::Cut)])
    }

    /// All of it at once.
    pub(super) fn now(parts: impl IntoIterator<Item = Part>) -> Reply {
        let now = Instant::now();
        Reply::timed(parts.into_iter().map(|part| (now, part)))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some((at, _)) = self.parts.front() else { return Poll::Ready(None) };
        let at = *at;
        if at > Instant::now() {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at.into())));
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.sleep = None;
        Poll::Ready(self.parts.pop_front().map(|(_, part)| match part {
            Part::Data(data) => Ok(Frame::data(data)),
            Part::Trailers(trailers) => Ok(Frame::trailers(trailers)),
            Part::Cut => Err(io::ErrorKind::ConnectionAborted.into()),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.parts.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        match self.parts.front() {
            None => SizeHint::with_exact(0),
            Some((_, Part::Data(data))) if self.parts.len() == 1 => SizeHint::with_exact(data.len() as u64),
            // Chunked. What is cut inside must not look whole to one who counts bytes.
            Some(_) => SizeHint::default(),
        }
    }
}
