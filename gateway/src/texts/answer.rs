//! The answers to calls for texts: whole, or piece by piece as the events of a stream tell them.

use std::collections::VecDeque;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::response::Parts;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use weirgate_protocol::sse::{Parser, TooLong};
use weirgate_protocol::v2::Generated;
use weirgate_protocol::{Error, Result, RetryClass};

use crate::pass::{EVENT_STREAM, is_content, retry_after};

/// The most bytes of an answer that comes in one piece.
const MOST_BYTES: usize = 64 << 20;

/// A piece of a text, or all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    pub text: String,
    /// Why the text has ended; none of a piece behind which others come.
    pub finish_reason: Option<String>,
    /// Nothing comes behind it.
    pub is_last: bool,
}

/// All of an answer's text. The error of an answer that is one was counted when that was made.
pub async fn whole(response: Response) -> Result<Piece> {
    let (head, body) = response.into_parts();
    read_whole(head, body).await
}

/// An answer's text as it comes. An error is the last item, and so is a piece that says why the text has ended.
pub fn pieces(response: Response) -> BoxStream<'static, Result<Piece>> {
    let (head, body) = response.into_parts();
    if !head.status.is_success() || !is_content(&head.headers, EVENT_STREAM) {
        return stream::once(read_whole(head, body)).boxed();
    }
    let events = Events { body, parser: Parser::default(), ready: VecDeque::new(), is_over: false, has_ended: false };
    stream::unfold(events, |mut events| async { events.next().await.map(|piece| (piece, events)) }).boxed()
}

async fn read_whole(head: Parts, body: Body) -> Result<Piece> {
    let bytes = Limited::new(body, MOST_BYTES).collect().await.map_err(broken)?.to_bytes();
    let generated = Generated::decode(&bytes);
    if !head.status.is_success() {
        let text = match generated {
            Ok(Generated::Error(text)) => text,
            _ => format!("the model's server answered with status {}", head.status.as_u16()),
        };
        return Err(refused(head.status, text, &head.headers));
    }
    piece(generated?).map(|piece| Piece { is_last: true, ..piece })
}

fn piece(generated: Generated) -> Result<Piece> {
    match generated {
        Generated::Text { text, finish_reason } => {
            let is_last = finish_reason.is_some();
            Ok(Piece { text, finish_reason, is_last })
        }
        Generated::Error(text) => Err(Error::engine(text)),
    }
}

/// The events of an answer. Dropping it before its end gives the call up.
struct Events {
    body: Body,
    parser: Parser,
    ready: VecDeque<Result<Piece>>,
    /// Nothing more is read.
    is_over: bool,
    /// Nothing more is told.
    has_ended: bool,
}

impl Events {
    async fn next(&mut self) -> Option<Result<Piece>> {
        while !self.has_ended {
            let Some(piece) = self.ready.pop_front() else {
                self.read().await;
                continue;
            };
            self.has_ended = piece.as_ref().map_or(true, |piece| piece.is_last);
            return Some(piece);
        }
        // The call is counted by how its answer ends, which is therefore read.
        while !self.is_over {
            self.is_over = !matches!(self.body.frame().await, Some(Ok(_)));
        }
        None
    }

    async fn read(&mut self) {
        match self.body.frame().await {
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    self.take(&data);
                }
            }
            Some(Err(error)) => {
                self.is_over = true;
                self.ready.push_back(Err(broken(error.into())));
            }
            None => {
                self.is_over = true;
                let text = "the answer ended before its text had";
                self.ready.push_back(Err(Error::upstream(text, RetryClass::MayHaveExecuted)));
            }
        }
    }

    fn take(&mut self, data: &Bytes) {
        let ready = &mut self.ready;
        let taken: Result<(), TooLong> = self.parser.push(data, |event| {
            ready.push_back(Generated::decode(event).and_then(piece));
            Ok(())
        });
        if let Err(error) = taken {
            ready.push_back(Err(Error::upstream(error.to_string(), RetryClass::MayHaveExecuted)));
        }
    }
}

/// Why an answer has broken off: those who passed it on have said so.
fn broken(error: axum::BoxError) -> Error {
    let inner = match error.downcast::<axum::Error>() {
        Ok(outer) => outer.into_inner(),
        Err(error) => error,
    };
    match inner.downcast::<Error>() {
        Ok(own) => *own,
        Err(other) if other.is::<LengthLimitError>() => {
            let text = format!("the answer has more than {MOST_BYTES} bytes, which is the limit");
            Error::upstream(text, RetryClass::MayHaveExecuted)
        }
        Err(_) => Error::upstream("the answer broke off", RetryClass::MayHaveExecuted),
    }
}

/// The error that an answer is, by its status.
fn refused(status: StatusCode, text: String, headers: &HeaderMap) -> Error {
    let retry_after = retry_after(headers);
    match status.as_u16() {
        404 => Error::not_found(text),
        413 => Error::too_large(text),
        429 => Error::queue_full(text, retry_after.unwrap_or(Duration::from_secs(1))),
        400..=499 => Error::invalid(text),
        501 => Error::unsupported(text),
        502 => Error::upstream(text, RetryClass::MayHaveExecuted),
        503 => match retry_after {
            Some(after) => Error::unavailable(text).with_retry_after(after),
            None => Error::unavailable(text),
        },
        504 => Error::deadline(text, RetryClass::MayHaveExecuted),
        _ => Error::engine(text),
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::header;
    use weirgate_protocol::ErrorCode;
    use weirgate_protocol::openai::{FinishReason, Usage};
    use weirgate_protocol::v2::{GenerateEvents, GenerateHead, error_body, generate_error_event, generate_response};

    use super::*;

    const HEAD: GenerateHead<'_> = GenerateHead { id: None, model_name: "m", model_version: None };

    fn answered(status: u16, kind: &str, pieces: Vec<Bytes>) -> Response {
        let body = Body::from_stream(stream::iter(pieces.into_iter().map(Ok::<_, Infallible>)));
        Response::builder().status(status).header(header::CONTENT_TYPE, kind).body(body).unwrap()
    }

    fn of(text: &str, reason: Option<&str>) -> Piece {
        Piece { text: text.to_owned(), finish_reason: reason.map(str::to_owned), is_last: reason.is_some() }
    }

    async fn all(response: Response) -> Vec<Result<Piece>> {
        pieces(response).collect().await
    }

    #[tokio::test]
    async fn events_become_pieces_however_they_are_cut() {
        let events = GenerateEvents::new(&HEAD);
        let last = events.last("", FinishReason::Stop, &Usage::default());
        let written = [events.text("a"), events.text("b\n"), last].concat();
        for cut in [1, 7, 100, written.len()] {
            let cuts = written.chunks(cut).map(Bytes::copy_from_slice).collect();
            let seen = all(answered(200, "text/event-stream; charset=utf-8", cuts)).await;
            assert_eq!(seen, [Ok(of("a", None)), Ok(of("b\n", None)), Ok(of("", Some("stop")))], "cut at {cut}");
        }
    }

    #[tokio::test]
    async fn an_error_and_a_cut_end_a_stream() {
        let events = GenerateEvents::new(&HEAD);
        let broke = generate_error_event(&Error::engine("the engine broke"));
        let seen = all(answered(200, "text/event-stream", vec![events.text("a"), broke])).await;
        assert_eq!(seen, [Ok(of("a", None)), Err(Error::engine("the engine broke"))]);
        let seen = all(answered(200, "text/event-stream", vec![events.text("a")])).await;
        assert_eq!((seen.len(), seen[1].as_ref().unwrap_err().code()), (2, ErrorCode::UpstreamFailed));
    }

    #[tokio::test]
    async fn a_whole_answer_is_one_piece_which_is_the_last() {
        let written = generate_response(&HEAD, "all", FinishReason::Length, &Usage::default());
        let seen = all(answered(200, "application/json", vec![written])).await;
        assert_eq!(seen, [Ok(of("all", Some("length")))]);
        let bare = Bytes::from_static(br#"{"text_output":"all"}"#);
        assert!(whole(answered(200, "application/json", vec![bare])).await.unwrap().is_last);
    }

    #[tokio::test]
    async fn an_answer_that_is_an_error_has_its_code() {
        for error in [
            Error::invalid("wrong"),
            Error::not_found("not there"),
            Error::too_large("too large"),
            Error::queue_full("full", Duration::from_secs(1)),
            Error::unsupported("not built"),
            Error::engine("broke"),
            Error::upstream("broke", RetryClass::MayHaveExecuted),
            Error::unavailable("away"),
            Error::deadline("late", RetryClass::MayHaveExecuted),
        ] {
            let response = answered(error.row().http, "application/json", vec![error_body(&error)]);
            let seen = whole(response).await.unwrap_err();
            assert_eq!((seen.code(), seen.message()), (error.code(), error.message()));
        }
    }
}
