//! Large answers over h2 that their client does not take.
//!
//! An h2 client holds an answer back by its flow-control window, while the socket itself stays writable and pings are
//! answered. So large bodies are handed on in small pieces, of which each stream holds one, and a connection knows when
//! each of its bodies was last asked for more. A body of up to [`PIECE`] bytes is handed on at once and not watched: what
//! those hold is bounded by the number of streams.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The most of one body that is in h2's hands without being asked for.
pub const PIECE: usize = 32 << 10;

/// The large bodies of one connection whose last piece has not been taken yet.
#[derive(Default)]
pub struct Untaken {
    bodies: Mutex<Bodies>,
    first: Notify,
}

#[derive(Default)]
struct Bodies {
    next: u64,
    /// By the body's number, since when its piece has lain there.
    since: BTreeMap<u64, Instant>,
}

impl Untaken {
    /// Ends when a piece has lain there for so long.
    pub async fn outlasts(&self, patience: Duration) {
        loop {
            let oldest = self.bodies.lock().since.values().min().copied();
            match oldest {
                None => self.first.notified().await,
                Some(since) if since.elapsed() >= patience => return,
                Some(since) => tokio::time::sleep_until((since + patience).into()).await,
            }
        }
    }

    fn lies(self: &Arc<Self>, place: &mut Option<Place>) {
        let mut bodies = self.bodies.lock();
        let number = match place {
            Some(place) => place.number,
            None => {
                bodies.next += 1;
                *place = Some(Place { number: bodies.next, all: self.clone() });
                bodies.next
            }
        };
        bodies.since.insert(number, Instant::now());
        if bodies.since.len() == 1 {
            self.first.notify_one();
        }
    }
}

/// A body's number, for as long as the body lives.
struct Place {
    number: u64,
    all: Arc<Untaken>,
}

impl Place {
    /// Its client has taken all there was, and more has yet to be made.
    fn taken(&self) {
        self.all.bodies.lock().since.remove(&self.number);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken();
    }
}

/// An answer's body, watched if it is large and `untaken` is there.
pub struct Answer {
    body: Body,
    /// What is left of a frame.
    rest: Bytes,
    handed: usize,
    untaken: Option<Arc<Untaken>>,
    place: Option<Place>,
}

impl Answer {
    pub fn new(body: Body, untaken: Option<Arc<Untaken>>) -> Answer {
        Answer { body, rest: Bytes::new(), handed: 0, untaken, place: None }
    }

    fn hand(&mut self, mut data: Bytes) -> Frame<Bytes> {
        let Some(untaken) = &self.untaken else { return Frame::data(data) };
        if data.len() > PIECE {
            self.rest = data.split_off(PIECE);
        }
        if self.handed.saturating_add(data.len() + self.rest.len()) > PIECE {
            untaken.lies(&mut self.place);
        }
        self.handed = self.handed.saturating_add(data.len());
        Frame::data(data)
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            return Poll::Ready(Some(Ok(self.hand(rest))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Poll::Pending, Some(place)) = (&polled, &self.place) {
            place.taken();
        }
        Poll::Ready(ready!(polled).map(|frame| match frame?.into_data() {
            Ok(data) => Ok(self.hand(data)),
            Err(other) => Ok(other),
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(hint.lower() + rest);
        if let Some(upper) = hint.upper() {
            whole.set_upper(upper + rest);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn take(answer: &mut Answer) -> usize {
        answer.frame().await.unwrap().unwrap().into_data().unwrap().len()
    }

    #[tokio::test]
    async fn a_large_body_comes_in_pieces_and_is_whole() {
        let bytes: Bytes = (0..3 * PIECE + 5).map(|number| number as u8).collect();
        let answer = Answer::new(Body::from(bytes.clone()), Some(Arc::default()));
        assert_eq!(http_body::Body::size_hint(&answer).exact(), Some(bytes.len() as u64));
        assert_eq!(answer.collect().await.unwrap().to_bytes(), bytes);
        let mut unwatched = Answer::new(Body::from(bytes.clone()), None);
        assert_eq!(take(&mut unwatched).await, bytes.len());
    }

    #[tokio::test]
    async fn only_what_lies_there_too_long_is_found() {
        let untaken = Arc::new(Untaken::default());
        let waits =
            async |patience| tokio::time::timeout(Duration::from_millis(20), untaken.outlasts(patience)).await.is_err();
        let mut small = Answer::new(Body::from(vec![0; PIECE]), Some(untaken.clone()));
        take(&mut small).await;
        assert!(waits(Duration::ZERO).await, "a small body is not watched");
        let mut large = Answer::new(Body::from(vec![0; 2 * PIECE]), Some(untaken.clone()));
        assert_eq!(take(&mut large).await, PIECE);
        assert!(!waits(Duration::ZERO).await);
        assert!(waits(Duration::from_secs(60)).await);
        drop(large);
        assert!(waits(Duration::ZERO).await);
    }
}
