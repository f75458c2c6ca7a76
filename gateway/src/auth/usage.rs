//! An answer on its way to its caller: it holds the call's place, and its tokens are counted as they pass.
//!
//! OpenAI's answers say what was used in `usage.total_tokens`, at the end of the JSON or in the last events of a stream. The
//! bytes are only looked through for the last such number, whole or in pieces. Within a string it would be written with
//! backslashes, so that no text of a model can pass for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use memchr::memmem;

use super::caller::Place;

const FIELD: &[u8] = b"\"total_tokens\"";
const EVENT: &[u8] = b"data:";
/// What is kept of a piece lest the field or its number be cut: the field, blanks, and twenty digits.
const KEPT: usize = 64;

/// Counts the tokens of one answer.
#[derive(Debug, Default)]
struct Usage {
    kept: Vec<u8>,
    total: Option<f64>,
    events: usize,
}

impl Usage {
    fn see(&mut self, piece: &[u8]) {
        self.events += memmem::find_iter(piece, EVENT).count();
        // Where pieces meet there is a copy; a long piece is looked through where it lies.
        self.kept.extend_from_slice(&piece[..piece.len().min(KEPT)]);
        self.total = total(&self.kept).or(self.total);
        if piece.len() > KEPT {
            self.total = total(piece).or(self.total);
            self.kept.clear();
            self.kept.extend_from_slice(&piece[piece.len() - KEPT..]);
        } else {
            let excess = self.kept.len().saturating_sub(KEPT);
            self.kept.drain(..excess);
        }
    }

    /// What the answer says was used, or else the estimate and one token for each event of a stream.
    fn used(&self, estimated: f64) -> f64 {
        self.total.unwrap_or(estimated + self.events as f64)
    }
}

/// The last number of tokens in these bytes. Where it is cut, the next look sees all of it.
fn total(bytes: &[u8]) -> Option<f64> {
    memmem::rfind(bytes, FIELD).and_then(|at| number(&bytes[at + FIELD.len()..]))
}

/// The number behind a colon.
fn number(bytes: &[u8]) -> Option<f64> {
    let bytes = bytes.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // Nine digits are more than any model takes.
    std::str::from_utf8(&bytes[..digits.min(9)]).ok()?.parse().ok()
}

/// A body that holds its call's place until its last byte, or until its caller leaves.
struct Held {
    body: Body,
    place: Option<Place>,
    usage: Option<Usage>,
}

/// Has an answer hold the place of its call. With `counts` it is looked through for its tokens.
pub fn hold(response: Response<Body>, mut place: Place, counts: bool) -> Response<Body> {
    if counts && !response.status().is_success() {
        // What was refused, or has failed, used nothing.
        place.settle(0.0);
        return hold(response, place, false);
    }
    let usage = counts.then(Usage::default);
    response.map(|body| Body::new(Held { body, place: Some(place), usage }))
}

impl Held {
    fn end(&mut self) {
        let Some(mut place) = self.place.take() else { return };
        if let Some(usage) = &self.usage {
            place.settle(usage.used(place.estimated()));
        }
    }
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match (&frame, &mut self.usage) {
            (Some(Ok(frame)), Some(usage)) => {
                if let Some(piece) = frame.data_ref() {
                    usage.see(piece);
                }
            }
            (None | Some(Err(_)), _) => self.end(),
            _ => {}
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

impl Drop for Held {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use futures_util::stream;
    use http::StatusCode;
    use http_body_util::BodyExt;
    use proptest::prelude::*;

    use super::*;
    use crate::auth::caller::Caller;

    fn used(text: &[u8], cut: usize) -> f64 {
        let mut usage = Usage::default();
        text.chunks(cut).for_each(|piece| usage.see(piece));
        usage.used(7.0)
    }

    proptest! {
        /// However the bytes are cut, the last number counts.
        #[test]
        fn cuts_change_nothing(tokens in 0u32..1_000_000, before in 0usize..300, after in 0usize..300, cut in 1usize..200) {
            let (before, after) = ("x".repeat(before), "y".repeat(after));
            let text = format!("{before}{{\"total_tokens\": 3}} {{\"usage\":{{\"total_tokens\" : {tokens}, \"z\":1}}}}{after}");
            prop_assert_eq!(used(text.as_bytes(), cut), f64::from(tokens));
        }
    }

    #[test]
    fn text_of_a_model_is_no_usage() {
        let text = br#"{"content":"\"total_tokens\": 0","usage":null}"#;
        assert_eq!(used(text, 1_000), 7.0);
        assert_eq!(used(b"data: {}\n\ndata: {}\n\ndata: [DONE]\n\n", 1_000), 10.0);
    }

    #[tokio::test]
    async fn the_place_is_held_until_the_last_byte_and_the_tokens_are_owed() {
        let policy = "{maxConcurrent: 1, tokensPerMinute: 60}".parse().unwrap();
        let caller = Arc::new(Caller::new("a", "a".into(), policy, None, Instant::now()));
        let place = caller.enter(10.0).unwrap_or_else(|error| panic!("{error}"));
        let pieces = ["{\"usage\":{\"total_", "tokens\":90}}"].map(Ok::<_, std::io::Error>);
        let mut answer = hold(Response::new(Body::from_stream(stream::iter(pieces))), place, true).into_body();
        answer.frame().await.unwrap().unwrap();
        assert!(caller.enter(1.0).is_err_and(|error| error.message().contains("running")));
        answer.collect().await.unwrap();
        assert!(caller.enter(1.0).is_err_and(|error| error.retry_after_seconds().is_some_and(|wait| wait >= 30)));
    }

    #[test]
    fn what_was_refused_used_nothing_and_who_leaves_frees_the_place() {
        let policy = "{maxConcurrent: 1, tokensPerMinute: 60}".parse().unwrap();
        let caller = Arc::new(Caller::new("a", "a".into(), policy, None, Instant::now()));
        for _ in 0..3 {
            let place = caller.enter(60.0).unwrap_or_else(|error| panic!("{error}"));
            let mut refused = Response::new(Body::from("no"));
            *refused.status_mut() = StatusCode::BAD_GATEWAY;
            drop(hold(refused, place, true));
        }
    }
}
