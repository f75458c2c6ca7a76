//! A caller's body on its way to a server: within the limit, and without long pauses.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use weirgate_protocol::Error;
use weirgate_replicas::remote::body::BodyError;
use weirgate_replicas::remote::trailers;

use super::idle::Idle;
use crate::server::body::{BodyLimit, unreadable};

/// Why an upload ended early, for the answer. The server's side only knows that it did.
pub type Spoilt = Arc<OnceLock<Error>>;

/// A body that is passed on as its caller sends it.
pub struct Upload {
    /// What had been read before the server was known.
    first: Bytes,
    rest: axum::body::Body,
    trailers: Option<HeaderMap>,
    sent: usize,
    /// None for streams of messages, which have no end.
    bounds: Option<(BodyLimit, Idle)>,
    spoilt: Spoilt,
}

impl Upload {
    pub fn new(
        (first, rest, trailers): (Bytes, axum::body::Body, Option<HeaderMap>),
        bounds: Option<(BodyLimit, Idle)>,
    ) -> (Upload, Spoilt) {
        let spoilt = Spoilt::default();
        (Upload { first, rest, trailers, sent: 0, bounds, spoilt: spoilt.clone() }, spoilt)
    }

    fn spoil(&self, error: Error) -> BodyError {
        let told = error.clone();
        // The first reason is the one that counts.
        let _ = self.spoilt.set(error);
        Box::new(told)
    }

    fn take_trailers(&mut self) -> Option<Result<Frame<Bytes>, BodyError>> {
        let mut kept = self.trailers.take()?;
        trailers(&mut kept);
        Some(Ok(Frame::trailers(kept)))
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.first)))));
        }
        if self.rest.is_end_stream() {
            return Poll::Ready(self.take_trailers());
        }
        let polled = Pin::new(&mut self.rest).poll_frame(cx);
        if let Some((_, idle)) = &mut self.bounds {
            if polled.is_ready() {
                idle.came();
            } else {
                ready!(idle.poll_waited(cx));
                let seconds = idle.longest().as_secs_f64();
                let text =
                    format!("the request's body paused for {seconds} s, which is the limit (flag --client-timeout)");
                return Poll::Ready(Some(Err(self.spoil(Error::request_timeout(text)))));
            }
        }
        Poll::Ready(match ready!(polled) {
            None => self.take_trailers(),
            Some(Ok(frame)) => match frame.into_trailers() {
                Ok(trailers) => {
                    self.trailers = Some(trailers);
                    self.take_trailers()
                }
                Err(frame) => Some(Ok(frame)),
            },
            Some(Err(error)) => Some(Err(self.spoil(unreadable(&error)))),
        })
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match ready!(this.poll_data(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        this.sent = this.sent.saturating_add(frame.data_ref().map_or(0, Bytes::len));
        let checked = this.bounds.as_ref().map_or(Ok(()), |(limit, _)| limit.check(this.sent));
        Poll::Ready(Some(checked.map(|()| frame).map_err(|error| this.spoil(error))))
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.trailers.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, first) = (self.rest.size_hint(), self.first.len() as u64);
        let mut whole = SizeHint::new();
        whole.set_lower(rest.lower() + first);
        if let Some(upper) = rest.upper() {
            whole.set_upper(upper + first);
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::body::Body;
    use futures_util::stream;
    use http_body_util::BodyExt;
    use weirgate_protocol::ErrorCode;

    use super::{BodyLimit, Bytes, Error, Idle, Spoilt, Upload};

    const LIMIT: BodyLimit = BodyLimit { bytes: 6, set_by: "test" };

    fn upload(first: &'static str, rest: axum::body::Body, pause: Duration) -> (Upload, Spoilt) {
        Upload::new((Bytes::from_static(first.as_bytes()), rest, None), Some((LIMIT, Idle::new(pause))))
    }

    #[tokio::test]
    async fn what_was_read_comes_first_and_the_length_is_told() {
        let (body, spoilt) = upload("abc", Body::from("def"), Duration::from_secs(60));
        assert_eq!(http_body::Body::size_hint(&body).exact(), Some(6));
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdef");
        assert!(spoilt.get().is_none());
    }

    #[tokio::test]
    async fn too_much_and_too_slow_are_told() {
        let (body, spoilt) = upload("abcd", Body::from("efg"), Duration::from_secs(60));
        assert!(body.collect().await.is_err());
        assert_eq!(spoilt.get().unwrap().code(), ErrorCode::TooLarge);
        let never = Body::from_stream(stream::pending::<Result<Bytes, Error>>());
        let (body, spoilt) = upload("abc", never, Duration::from_millis(20));
        assert!(body.collect().await.is_err());
        assert_eq!(spoilt.get().unwrap().code(), ErrorCode::RequestTimeout);
    }
}
