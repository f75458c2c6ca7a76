//! Answers over h2 that their client does not take.
//!
//! An h2 client holds an answer back by its flow-control window, while the socket itself stays writable and pings are
//! answered. So bodies are handed on in small pieces, of which each stream holds one, and a connection knows when each of
//! its bodies was last asked for more. The last piece is seen only while the window holds all of it back; what h2 itself
//! buffers after that is bounded by the number of streams, and bounded in time once the connection is to end.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// The most of one body that is in h2's hands without being asked for.
pub const PIECE: usize = 32 << 10;

/// The bodies of one connection whose last piece has not been taken yet.
#[derive(Default)]
pub struct Untaken {
    bodies: Mutex<Bodies>,
    /// Requests over h2 whose answers are not handed over yet.
    open: AtomicUsize,
    none_open: Notify,
    /// The connection speaks HTTP/1: what its client does not take is seen at the socket.
    http1: AtomicBool,
    http2: AtomicBool,
    /// The client is to open another connection for its next request.
    leaves: AtomicBool,
}

#[derive(Default)]
struct Bodies {
    next: u64,
    /// By the body's number, since when its piece has lain there.
    since: BTreeMap<u64, Instant>,
}

impl Untaken {
    /// Ends when a piece has lain there for so long, or half as long again: looking now and then is cheaper than being told
    /// of every answer.
    pub async fn outlasts(&self, patience: Duration) {
        loop {
            let oldest = self.bodies.lock().since.values().min().copied();
            let look = match oldest {
                Some(since) if since.elapsed() >= patience => return,
                Some(since) => since + patience,
                None => Instant::now() + patience / 2,
            };
            tokio::time::sleep_until(look.into()).await;
        }
    }

    /// For a connection that takes no more requests: ends when every answer has been handed over for so long, and the
    /// client has still not taken the last of them.
    pub async fn remains(&self, patience: Duration) {
        if self.http1.load(Ordering::Relaxed) {
            return std::future::pending().await;
        }
        loop {
            while self.open.load(Ordering::Acquire) > 0 {
                self.none_open.notified().await;
            }
            tokio::time::sleep(patience).await;
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
        }
    }

    /// Notes a request over h2.
    pub fn open(self: &Arc<Self>) -> Open {
        self.http2.store(true, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::AcqRel);
        Open(self.clone())
    }

    pub fn note_http1(&self) {
        self.http1.store(true, Ordering::Relaxed);
    }

    pub fn is_http2(&self) -> bool {
        self.http2.load(Ordering::Relaxed)
    }

    /// Has the client told by its next answer to open another connection. HTTP/2 has frames of its own for that.
    pub fn leave(&self) {
        self.leaves.store(true, Ordering::Relaxed);
    }

    pub fn leaves(&self) -> bool {
        self.leaves.load(Ordering::Relaxed)
    }

    fn lies(&self, place: &mut Option<u64>) {
        let mut bodies = self.bodies.lock();
        let number = *place.get_or_insert_with(|| {
            bodies.next += 1;
            bodies.next
        });
        bodies.since.insert(number, Instant::now());
    }

    /// A client has taken all there was of a body, or the body is gone.
    fn taken(&self, place: Option<u64>) {
        if let Some(number) = place {
            self.bodies.lock().since.remove(&number);
        }
    }
}

/// A request over h2, until all of its answer is handed over.
pub struct Open(Arc<Untaken>);

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_open.notify_one();
        }
    }
}

/// An answer's body, watched if it goes over h2.
pub struct Answer {
    body: Body,
    /// What is left of a frame.
    rest: Bytes,
    open: Option<Open>,
    /// The body's number on its connection, once something of it was handed over.
    place: Option<u64>,
}

impl Answer {
    pub fn new(body: Body, open: Option<Open>) -> Answer {
        Answer { body, rest: Bytes::new(), open, place: None }
    }

    fn hand(&mut self, mut data: Bytes) -> Frame<Bytes> {
        let Some(Open(untaken)) = &self.open else { return Frame::data(data) };
        if data.len() > PIECE {
            self.rest = data.split_off(PIECE);
        }
        untaken.lies(&mut self.place);
        Frame::data(data)
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(Open(untaken)) = &self.open {
            untaken.taken(self.place);
        }
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
        if let (Poll::Pending, Some(Open(untaken))) = (&polled, &self.open) {
            untaken.taken(self.place);
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
        let untaken = Arc::new(Untaken::default());
        let bytes: Bytes = (0..3 * PIECE + 5).map(|number| number as u8).collect();
        let answer = Answer::new(Body::from(bytes.clone()), Some(untaken.open()));
        assert_eq!(http_body::Body::size_hint(&answer).exact(), Some(bytes.len() as u64));
        assert_eq!(answer.collect().await.unwrap().to_bytes(), bytes);
        let mut unwatched = Answer::new(Body::from(bytes.clone()), None);
        assert_eq!(take(&mut unwatched).await, bytes.len());
    }

    /// Whether it is still waited for.
    async fn waits(waiting: impl Future<Output = ()>) -> bool {
        tokio::time::timeout(Duration::from_millis(20), waiting).await.is_err()
    }

    #[tokio::test]
    async fn only_what_lies_there_too_long_is_found() {
        let untaken = Arc::new(Untaken::default());
        for size in [1, PIECE, 2 * PIECE] {
            let mut answer = Answer::new(Body::from(vec![0; size]), Some(untaken.open()));
            assert!(waits(untaken.outlasts(Duration::ZERO)).await, "nothing was handed over");
            assert_eq!(take(&mut answer).await, size.min(PIECE));
            assert!(!waits(untaken.outlasts(Duration::ZERO)).await, "{size} bytes");
            assert!(waits(untaken.outlasts(Duration::from_secs(60))).await);
            drop(answer);
            assert!(waits(untaken.outlasts(Duration::ZERO)).await);
        }
    }

    #[tokio::test]
    async fn a_connection_remains_while_a_request_is_open_or_it_is_http1() {
        let untaken = Arc::new(Untaken::default());
        let open = untaken.open();
        assert!(waits(untaken.remains(Duration::ZERO)).await);
        drop(open);
        assert!(!waits(untaken.remains(Duration::ZERO)).await);
        assert!(waits(untaken.remains(Duration::from_secs(60))).await);
        untaken.note_http1();
        assert!(waits(untaken.remains(Duration::ZERO)).await);
    }
}
