//! The messages of a stream, one after the other.
//!
//! Each is lent to its call as a body of its own, so that it is routed, admitted and read as the one message of a unary call
//! is: nothing of it is held that no lane has a place for. While a message is being read the next one can't begin; once its
//! last byte has been taken, or its call is over, the stream is handed back.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::sync::oneshot;
use weirgate_protocol::{Error, Result};

use super::unary::PREFIX;
use crate::server::body::BodyLimit;

/// A stream's messages. Waiting for the next one can be given up at any time; nothing is lost.
pub(super) enum Messages {
    Here(Source),
    /// A message is being read.
    Lent(oneshot::Receiver<Source>),
    Over,
}

/// A stream's body.
pub(super) struct Source {
    body: Body,
    /// Read, and not yet part of a message.
    read: Bytes,
    /// What is left of a message that was refused.
    skip: usize,
}

impl Messages {
    pub(super) fn new(body: Body) -> Messages {
        Messages::Here(Source { body, read: Bytes::new(), skip: 0 })
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self, Messages::Over)
    }

    /// The next message once it begins, with its prefix; `None` at the end. An error ends the stream: there is no telling
    /// where the next message would begin, or it would be too much to skip.
    pub(super) async fn next(&mut self, limit: BodyLimit) -> Result<Option<Message>> {
        if let Messages::Lent(back) = self {
            *self = back.await.map_or(Messages::Over, Messages::Here);
        }
        let Messages::Here(source) = self else { return Ok(None) };
        let Some(length) = source.begin().await? else {
            *self = Messages::Over;
            return Ok(None);
        };
        limit.check(length)?;
        let (back, returned) = oneshot::channel();
        let before = std::mem::replace(self, Messages::Lent(returned));
        let Messages::Here(source) = before else { return Ok(None) };
        Ok(Some(Message { lent: Some((source, back)), left: PREFIX + length }))
    }
}

impl Source {
    /// The length of the next message.
    async fn begin(&mut self) -> Result<Option<usize>> {
        loop {
            let skipped = self.skip.min(self.read.len());
            self.read.advance(skipped);
            self.skip -= skipped;
            if let Some(&[flag, a, b, c, d]) = self.read.first_chunk() {
                if flag > 1 {
                    return Err(Error::invalid(format!("the flag before a message is {flag}: send 0 or 1")));
                }
                return Ok(Some(u32::from_be_bytes([a, b, c, d]) as usize));
            }
            match self.body.frame().await {
                None if self.read.is_empty() && self.skip == 0 => return Ok(None),
                None => return Err(Error::invalid("the stream ended within a message")),
                Some(Err(error)) => return Err(Error::invalid(format!("the stream was cut off: {error}"))),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.append(data);
                    }
                }
            }
        }
    }

    /// Joins what begins a prefix with what ends it.
    fn append(&mut self, data: Bytes) {
        self.read = if self.read.is_empty() { data } else { [&self.read[..], &data].concat().into() };
    }
}

/// One message with its prefix, as a body. It ends early where the stream does.
pub(super) struct Message {
    lent: Option<(Source, oneshot::Sender<Source>)>,
    left: usize,
}

impl Message {
    /// Takes some of what belongs to the message, and hands the stream back with the last of it.
    fn take(&mut self, data: &mut Bytes) -> Bytes {
        let taken = data.split_to(self.left.min(data.len()));
        self.left -= taken.len();
        taken
    }

    fn hand_back(&mut self) {
        if let Some((mut source, back)) = self.lent.take() {
            source.skip = self.left;
            // Where nobody waits for it the stream is over.
            let _ = back.send(source);
        }
    }
}

impl http_body::Body for Message {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some((source, _)) = &mut this.lent else { return Poll::Ready(None) };
        while source.read.is_empty() {
            match ready!(Pin::new(&mut source.body).poll_frame(cx)?) {
                None => return Poll::Ready(None),
                Some(frame) => source.read = frame.into_data().unwrap_or_default(),
            }
        }
        let mut read = std::mem::take(&mut source.read);
        let piece = this.take(&mut read);
        if let Some((source, _)) = &mut this.lent {
            source.read = read;
        }
        if this.left == 0 {
            this.hand_back();
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left as u64)
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.hand_back();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use proptest::prelude::*;

    use super::*;

    const LIMIT: BodyLimit = BodyLimit { bytes: 100, set_by: "test" };

    fn frame(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[0][..], &length.to_be_bytes(), message].concat()
    }

    fn messages(pieces: impl IntoIterator<Item = Vec<u8>>) -> Messages {
        let pieces: Vec<_> = pieces.into_iter().map(|piece| Ok::<_, Error>(Bytes::from(piece))).collect();
        Messages::new(Body::from_stream(stream::iter(pieces)))
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    proptest! {
        /// However the bytes are cut into frames, each message comes out whole; those that are refused are passed over.
        #[test]
        fn cuts_change_nothing(
            sent in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), any::<bool>()), 0..6),
            cut in 1usize..20,
        ) {
            let bytes = sent.iter().flat_map(|(message, _)| frame(message)).collect::<Vec<_>>();
            let mut messages = messages(bytes.chunks(cut).map(<[u8]>::to_vec));
            block_on(async {
                for (message, read) in &sent {
                    let body = messages.next(LIMIT).await.unwrap().expect("a message");
                    if *read {
                        assert_eq!(body.collect().await.unwrap().to_bytes(), frame(message));
                    }
                }
                assert!(messages.next(LIMIT).await.unwrap().is_none());
            });
        }
    }

    #[test]
    fn what_is_no_message_ends_the_stream_with_a_reason() {
        let refusal = |bytes: Vec<u8>| {
            let mut messages = messages([bytes]);
            block_on(async {
                loop {
                    match messages.next(LIMIT).await {
                        Ok(message) => drop(message.expect("an error comes first")),
                        Err(error) => return error.message().to_owned(),
                    }
                }
            })
        };
        assert_eq!(refusal(vec![0, 0]), "the stream ended within a message");
        assert_eq!(refusal(frame(b"cut off")[..9].to_vec()), "the stream ended within a message");
        assert_eq!(refusal(vec![7; 5]), "the flag before a message is 7: send 0 or 1");
        assert_eq!(refusal(frame(&[0; 101])), "the request has 101 bytes or more, the limit is 100 (test)");
    }
}
