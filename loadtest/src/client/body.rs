//! The body of an answer as it comes: counted, kept where it is wanted whole, read where it is a stream of events.

use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::Failure;
use super::openai::Reader;
use crate::request::{Request, Stream};

/// Longest body that is kept whole.
const MAX_KEPT: usize = 64 << 20;
/// How much is kept of the body of an error, to tell what the server says.
const KEPT_OF_ERRORS: usize = 4 << 10;

/// Whether a `Content-Type` is that of server-sent events.
pub(super) fn is_event_stream(content_type: &[u8]) -> bool {
    let media_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
    media_type.trim_ascii().eq_ignore_ascii_case(b"text/event-stream")
}

#[derive(Debug)]
pub(super) struct Body {
    length: u64,
    kept: Option<BytesMut>,
    /// Whether all of it is to be kept.
    whole: bool,
    events: Option<Box<Reader>>,
}

impl Body {
    pub(super) fn new(request: &Request, keep: bool, status: u16, is_event_stream: bool) -> Body {
        let events = request.streams && is_event_stream && status == 200;
        let kept = (keep || status != 200).then(BytesMut::new);
        Body { length: 0, kept, whole: keep, events: events.then(|| Box::new(Reader::new(keep))) }
    }

    /// Takes the next piece, read at `at`.
    pub(super) fn push(&mut self, piece: &[u8], at: Instant) -> Result<(), Failure> {
        self.length += piece.len() as u64;
        if let Some(kept) = &mut self.kept {
            if self.whole && kept.len() + piece.len() > MAX_KEPT {
                return Err(Failure::Malformed(format!("body: more than {MAX_KEPT} bytes, the most that is kept")));
            }
            let room = if self.whole { piece.len() } else { KEPT_OF_ERRORS.saturating_sub(kept.len()) };
            kept.extend_from_slice(&piece[..room.min(piece.len())]);
        }
        match &mut self.events {
            Some(events) => events.push(piece, at),
            None => Ok(()),
        }
    }

    /// Its length, itself where it was kept, and what its events told.
    pub(super) fn finish(self) -> Result<(u64, Bytes, Option<Stream>), Failure> {
        let stream = self.events.map(|events| events.finish()).transpose()?;
        Ok((self.length, self.kept.unwrap_or_default().freeze(), stream))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Protocol;

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
        let mut body = Body::new(&request, false, 500, false);
        for _ in 0..3 {
            body.push(&[b'e'; 3000], Instant::now()).unwrap();
        }
        let (length, kept, _) = body.finish().unwrap();
        assert_eq!((length, kept.len()), (9000, KEPT_OF_ERRORS));
    }

    #[test]
    fn a_kept_body_has_a_cap_and_a_counted_one_has_none() {
        let request = Request::new(Protocol::V2, "/", Bytes::new());
        let piece = vec![0; MAX_KEPT / 4 + 1];
        for (keep, well) in [(true, false), (false, true)] {
            let mut body = Body::new(&request, keep, 200, false);
            let pushed: Result<Vec<()>, Failure> = (0..4).map(|_| body.push(&piece, Instant::now())).collect();
            assert_eq!(pushed.is_ok(), well, "{keep}");
        }
    }
}
