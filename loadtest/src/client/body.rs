//! The body of an answer as it comes: counted, kept where it is wanted whole, read where it is a stream of events.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::Failure;
use super::gauges::{Gauges, Kept};
use super::openai::{Reader, Usage};
use super::shape::{self, Fault};
use crate::request::{Protocol, Request, Stream, is_success};

/// Longest body that is kept whole, and longest text of a stream.
const MAX_KEPT: usize = 64 << 20;
/// How much is kept of the body of an error, to tell what the server says.
const KEPT_OF_ERRORS: usize = 4 << 10;
/// Longest body whose shape is looked at as a whole; of longer ones the ends are.
const MOST_CHECKED: usize = 64 << 10;
/// Up to this much of each the room for all that are kept is not asked for: most answers are as short.
const UNCOUNTED: usize = 4 << 10;

/// Whether a `Content-Type` is that of server-sent events.
pub(super) fn is_event_stream(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

#[derive(Debug)]
pub(super) struct Body<'a> {
    length: u64,
    /// Whether the shape of the answer is looked at.
    is_checked: bool,
    /// The last byte that is no white space, of one that is kept to be checked.
    last: Option<u8>,
    keeps: Keeps,
    bytes: BytesMut,
    events: Option<Box<Reader>>,
    kept: Kept<'a>,
}

/// How much of a body is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    Nothing,
    Beginning,
    All,
    /// All, but only until the tokens in it are counted.
    ToCount,
    /// As much as is looked at, until it is.
    ToCheck,
}

/// What a whole body told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) length: u64,
    pub(super) body: Bytes,
    pub(super) stream: Option<Stream>,
    pub(super) usage: Option<Usage>,
    pub(super) fault: Option<Fault>,
}

impl<'a> Body<'a> {
    pub(super) fn new(
        request: &Request,
        keep: bool,
        status: u16,
        is_event_stream: bool,
        gauges: &'a Gauges,
    ) -> Body<'a> {
        let events = request.streams && is_event_stream && is_success(status);
        let keeps = match (events, keep, is_success(status)) {
            // What is kept of a stream is its text.
            (true, ..) => Keeps::Nothing,
            (_, true, _) => Keeps::All,
            (_, _, false) => Keeps::Beginning,
            _ if request.protocol.is_openai() => Keeps::ToCount,
            _ if request.is_checked => Keeps::ToCheck,
            _ => Keeps::Nothing,
        };
        let is_checked = request.is_checked && !events && is_success(status);
        let events = events.then(|| Box::new(Reader::new(keep)));
        Body { length: 0, is_checked, last: None, keeps, bytes: BytesMut::new(), events, kept: Kept::new(gauges) }
    }

    /// Takes the next piece, read at `at`.
    pub(super) fn push(&mut self, piece: &[u8], at: Instant) -> Result<(), Failure> {
        self.length += piece.len() as u64;
        if let Some(events) = &mut self.events {
            events.push(piece, at)?;
            return within_caps(&mut self.kept, events.text_length());
        }
        match self.keeps {
            Keeps::Nothing => {}
            Keeps::Beginning => self.keep_up_to(KEPT_OF_ERRORS, piece),
            Keeps::ToCheck => {
                self.last = piece.trim_ascii_end().last().copied().or(self.last);
                self.keep_up_to(MOST_CHECKED, piece);
                // Where others keep all that may be kept, this one is let pass.
                if self.bytes.len() > UNCOUNTED && self.kept.grow_to(self.bytes.len()).is_err() {
                    (self.keeps, self.is_checked, self.bytes) = (Keeps::Nothing, false, BytesMut::new());
                }
            }
            Keeps::All | Keeps::ToCount => {
                within_caps(&mut self.kept, self.bytes.len() + piece.len())?;
                self.bytes.extend_from_slice(piece);
            }
        }
        Ok(())
    }

    fn keep_up_to(&mut self, most: usize, piece: &[u8]) {
        let room = most.saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&piece[..room.min(piece.len())]);
    }

    /// `header_length` is what the answer's head says of the JSON before binary tensors.
    pub(super) fn finish(mut self, protocol: Protocol, header_length: Option<u64>) -> Result<Told, Failure> {
        let stream = self.events.take().map(|events| events.finish()).transpose()?;
        let counts = protocol.is_openai() && matches!(self.keeps, Keeps::All | Keeps::ToCount);
        let (usage, fault) = match (counts, self.is_checked) {
            (true, true) => shape::openai(protocol, &self.bytes),
            (true, false) => (Usage::of(&self.bytes), None),
            (false, true) => {
                let last =
                    if self.keeps == Keeps::All { self.bytes.trim_ascii_end().last().copied() } else { self.last };
                let seen = shape::Seen { bytes: &self.bytes, length: self.length, last, header_length };
                (None, shape::tensors(protocol, seen))
            }
            (false, false) => (None, None),
        };
        let body = match self.keeps {
            // What came instead is told, as of an error.
            Keeps::ToCount | Keeps::ToCheck if fault.is_some() => {
                self.bytes.truncate(KEPT_OF_ERRORS);
                self.bytes.freeze()
            }
            Keeps::ToCount | Keeps::ToCheck => Bytes::new(),
            Keeps::Nothing | Keeps::Beginning | Keeps::All => self.bytes.freeze(),
        };
        Ok(Told { length: self.length, body, stream, usage, fault })
    }
}

fn within_caps(kept: &mut Kept<'_>, length: usize) -> Result<(), Failure> {
    if length > MAX_KEPT {
        return Err(Failure::TooBig(format!("{MAX_KEPT} bytes")));
    }
    kept.grow_to(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_event_streams() {
        for (value, expected) in [
            ("text/event-stream", true),
            ("Text/Event-Stream ; charset=utf-8", true),
            ("text/event-streams", false),
            ("application/json", false),
        ] {
            assert_eq!(is_event_stream(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn of_an_error_the_first_words_are_kept() {
        let request = Request::new(Protocol::V2, "/", Bytes::new());
        let gauges = Gauges::default();
        let mut body = Body::new(&request, false, 500, false, &gauges);
        for _ in 0..3 {
            body.push(&[b'e'; 3000], Instant::now()).unwrap();
        }
        let told = body.finish(request.protocol, None).unwrap();
        assert_eq!((told.length, told.body.len()), (9000, KEPT_OF_ERRORS));
    }

    #[test]
    fn a_kept_body_has_a_cap_and_a_counted_one_has_none() {
        let request = Request::new(Protocol::V2, "/", Bytes::new());
        let gauges = Gauges::default();
        let piece = vec![0; MAX_KEPT / 4 + 1];
        for (keep, well) in [(true, false), (false, true)] {
            let mut body = Body::new(&request, keep, 200, false, &gauges);
            let pushed: Result<Vec<()>, Failure> = (0..4).map(|_| body.push(&piece, Instant::now())).collect();
            assert_eq!(pushed.is_ok(), well, "{keep}");
        }
    }

    #[test]
    fn of_a_stream_the_text_is_kept_and_nothing_else() {
        let request = Request { streams: true, ..Request::new(Protocol::Chat, "/", Bytes::new()) };
        let gauges = Gauges::default();
        let mut body = Body::new(&request, true, 200, true, &gauges);
        body.push(b"data: {\"choices\":[{\"text\":\"hi\"}]}\n\n", Instant::now()).unwrap();
        let told = body.finish(request.protocol, None).unwrap();
        assert_eq!((told.stream.unwrap().text.as_str(), told.body.len()), ("hi", 0));
    }

    #[test]
    fn tokens_of_a_whole_answer_are_counted_whether_it_is_kept_or_not() {
        let gauges = Gauges::default();
        let answer = b"{\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}";
        for (protocol, keep, counted, kept) in [
            (Protocol::Chat, false, true, 0),
            (Protocol::Embeddings, true, true, answer.len()),
            (Protocol::V2, true, false, answer.len()),
        ] {
            let request = Request::new(protocol, "/", Bytes::new());
            let mut body = Body::new(&request, keep, 200, false, &gauges);
            for piece in answer.chunks(7) {
                body.push(piece, Instant::now()).unwrap();
            }
            let told = body.finish(protocol, None).unwrap();
            assert_eq!(told.usage.and_then(|usage| usage.completion_tokens), counted.then_some(2), "{protocol}");
            assert_eq!((told.length, told.body.len()), (answer.len() as u64, kept), "{protocol}");
        }
    }

    #[test]
    fn what_is_checked_is_not_kept_but_for_the_beginning_of_what_is_wrong() {
        let gauges = Gauges::default();
        let long = format!("{{\"outputs\":[\"{}\"]}}", "x".repeat(2 * MOST_CHECKED));
        for (answer, fault, kept) in [
            ("{\"outputs\":[1]}", None, 0),
            ("<html>", Some(Fault::NotJson), 6),
            (&long, None, 0),
            (&long[..long.len() - 1], Some(Fault::NotJson), KEPT_OF_ERRORS),
        ] {
            let request = Request { is_checked: true, ..Request::new(Protocol::V2, "/", Bytes::new()) };
            let mut body = Body::new(&request, false, 200, false, &gauges);
            for piece in answer.as_bytes().chunks(10_000) {
                body.push(piece, Instant::now()).unwrap();
            }
            let told = body.finish(Protocol::V2, None).unwrap();
            assert_eq!((told.fault, told.body.len(), told.length), (fault, kept, answer.len() as u64));
        }
        let unchecked = Request::new(Protocol::V2, "/", Bytes::new());
        let mut body = Body::new(&unchecked, false, 200, false, &gauges);
        body.push(b"<html>", Instant::now()).unwrap();
        assert_eq!(body.finish(Protocol::V2, None).unwrap().fault, None);
    }
}
