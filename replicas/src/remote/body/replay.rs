//! A body that is kept as far as it may have to be sent again.
//!
//! Up to a limit all that was taken is kept, and of what goes beyond it the last piece: the next is only taken when that one is
//! on its way. So a call of which nothing was sent can go elsewhere, however large its first piece is.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;

use super::{BodyError, OutBody};

/// Most frames that are kept: each holds on to the memory that it came in.
const MOST_FRAMES: usize = 64;

/// A caller's hold on a body that may have to be sent more than once.
pub struct Replay(Kind);

enum Kind {
    Whole { bytes: Bytes, given: bool },
    Stream(Arc<Mutex<Source>>),
}

/// What the caller sends, and what of it is kept.
struct Source {
    body: OutBody,
    /// The frames that were taken, in their order; none any more once they are too many.
    kept: Vec<Kept>,
    most: usize,
    taken: u64,
    /// Which of the bodies that were given is the last. Others end with an error.
    turn: u64,
    /// It was taken up to its end, where it may not be asked again.
    has_ended: bool,
    /// It can't be sent again: a piece was taken after more than is kept, or it broke off.
    lost: bool,
}

enum Kept {
    Data(Bytes),
    Trailers(http::HeaderMap),
}

impl Replay {
    pub(super) fn new(body: OutBody, most: usize) -> Replay {
        Replay(match body {
            OutBody::Whole(bytes) => Kind::Whole { bytes, given: false },
            body => {
                let source = Source { body, kept: Vec::new(), most, taken: 0, turn: 0, has_ended: false, lost: false };
                Kind::Stream(Arc::new(Mutex::new(source)))
            }
        })
    }

    /// The body from its beginning, to be sent once; `None` when its beginning is not kept any more. One that was given before
    /// gives nothing more.
    pub fn body(&mut self) -> Option<OutBody> {
        match &mut self.0 {
            Kind::Whole { bytes, given } => {
                *given = true;
                Some(OutBody::Whole(bytes.clone()))
            }
            Kind::Stream(source) => {
                let mut at = source.lock();
                if at.lost {
                    return None;
                }
                at.turn += 1;
                let turn = at.turn;
                drop(at);
                Some(OutBody::Replayed(Replayed { source: source.clone(), turn, next: 0 }))
            }
        }
    }

    /// How many bytes of the caller's body were taken. A body that is all there counts as taken when it is given.
    pub fn taken(&self) -> u64 {
        match &self.0 {
            Kind::Whole { bytes, given } => {
                if *given {
                    bytes.len() as u64
                } else {
                    0
                }
            }
            Kind::Stream(source) => source.lock().taken,
        }
    }
}

/// One sending of a body that is kept.
pub struct Replayed {
    source: Arc<Mutex<Source>>,
    turn: u64,
    /// Which of the frames that are kept comes next.
    next: usize,
}

impl Source {
    /// Keeps a frame, or gives up keeping any.
    fn keep(&mut self, frame: &Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            self.lost |= self.taken > self.most as u64 || self.kept.len() == MOST_FRAMES;
            self.taken += data.len() as u64;
            if !self.lost && !data.is_empty() {
                self.kept.push(Kept::Data(data.clone()));
            }
        } else if let Some(trailers) = frame.trailers_ref()
            && !self.lost
        {
            self.kept.push(Kept::Trailers(trailers.clone()));
        }
        if self.lost {
            self.kept = Vec::new();
        }
    }

    fn kept_from(&self, next: usize) -> u64 {
        let data = self.kept.get(next..).unwrap_or_default().iter();
        data.map(|kept| if let Kept::Data(data) = kept { data.len() as u64 } else { 0 }).sum()
    }
}

impl Body for Replayed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let mut source = this.source.lock();
        if source.turn != this.turn {
            return Poll::Ready(Some(Err("the body is being sent again elsewhere".into())));
        }
        if let Some(kept) = source.kept.get(this.next) {
            this.next += 1;
            return Poll::Ready(Some(Ok(match kept {
                Kept::Data(data) => Frame::data(data.clone()),
                Kept::Trailers(trailers) => Frame::trailers(trailers.clone()),
            })));
        }
        if source.has_ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut source.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                source.keep(frame);
                this.next = source.kept.len();
            }
            Some(Err(_)) => source.lost = true,
            None => source.has_ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let source = self.source.lock();
        self.next >= source.kept.len() && (source.has_ended || source.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let source = self.source.lock();
        let (kept, rest) = (source.kept_from(self.next), source.body.size_hint());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(kept));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(kept));
        }
        hint
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use http_body_util::channel::Channel;

    use super::*;

    async fn stream(pieces: &[&'static str]) -> OutBody {
        let (mut sender, channel) = Channel::<Bytes, BodyError>::new(pieces.len().max(1) + 1);
        for piece in pieces {
            sender.send_data(Bytes::from_static(piece.as_bytes())).await.unwrap();
        }
        sender.send_trailers(http::HeaderMap::from_iter([(http::header::ETAG, "end".parse().unwrap())])).await.unwrap();
        OutBody::Stream(channel.boxed_unsync())
    }

    async fn all(body: OutBody) -> (Bytes, bool) {
        let collected = body.collect().await.unwrap();
        let has_trailers = collected.trailers().is_some();
        (collected.to_bytes(), has_trailers)
    }

    #[tokio::test]
    async fn what_was_taken_comes_again_and_the_rest_after_it() {
        let mut replay = stream(&["abc", "de", "f"]).await.replay(100);
        let mut first = replay.body().unwrap();
        first.frame().await.unwrap().unwrap();
        first.frame().await.unwrap().unwrap();
        assert_eq!(replay.taken(), 5);
        let mut second = replay.body().unwrap();
        assert!(first.frame().await.unwrap().is_err(), "it is sent elsewhere now");
        assert_eq!(second.frame().await.unwrap().unwrap().into_data().unwrap(), "abc");
        assert_eq!(all(second).await, ("def".into(), true));
        assert_eq!(all(replay.body().unwrap()).await, ("abcdef".into(), true), "even from its end");
    }

    #[tokio::test]
    async fn no_more_is_kept_than_asked_for() {
        let mut replay = stream(&["abc", "de", "f"]).await.replay(4);
        let mut first = replay.body().unwrap();
        first.frame().await.unwrap().unwrap();
        assert!(replay.body().is_some(), "it is kept so far");
        let mut again = replay.body().unwrap();
        again.frame().await.unwrap().unwrap();
        again.frame().await.unwrap().unwrap();
        let mut again = replay.body().expect("the last piece is kept until it is on its way");
        for _ in 0..3 {
            again.frame().await.unwrap().unwrap();
        }
        assert!(replay.body().is_none());
        assert_eq!((all(again).await, replay.taken()), (("".into(), true), 6));
    }

    #[tokio::test]
    async fn a_first_piece_that_is_too_large_can_be_sent_again_until_the_next_is_taken() {
        let mut replay = stream(&["abcdef", "g"]).await.replay(4);
        assert_eq!(replay.body().unwrap().frame().await.unwrap().unwrap().into_data().unwrap(), "abcdef");
        let mut again = replay.body().expect("nothing of it was sent, or the next would have been taken");
        assert_eq!(again.frame().await.unwrap().unwrap().into_data().unwrap(), "abcdef");
        assert_eq!(again.frame().await.unwrap().unwrap().into_data().unwrap(), "g");
        assert!(replay.body().is_none());
    }

    #[tokio::test]
    async fn a_body_that_is_all_there_costs_nothing() {
        let mut replay = OutBody::Whole(Bytes::from_static(b"abc")).replay(0);
        assert_eq!(replay.taken(), 0);
        for _ in 0..2 {
            assert_eq!(all(replay.body().unwrap()).await, ("abc".into(), false));
        }
        assert_eq!(replay.taken(), 3);
    }

    #[tokio::test]
    async fn a_body_that_broke_off_is_not_sent_again() {
        let (sender, channel) = Channel::<Bytes, BodyError>::new(1);
        let mut replay = OutBody::Stream(channel.boxed_unsync()).replay(100);
        sender.abort("gone".into());
        assert!(replay.body().unwrap().frame().await.unwrap().is_err());
        assert!(replay.body().is_none());
    }
}
