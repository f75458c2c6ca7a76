//! Where an answer's body ends.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{EMPTY_HEADER, Status};
use memchr::memchr;

/// Longest line of a chunk's size with its extensions.
const MOST_SIZE_LINE: usize = 1 << 10;
const MOST_TRAILERS: usize = 16 << 10;
const MOST_TRAILER_LINES: usize = 64;

/// What of a body has not come yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes.
    Length(u64),
    Chunked(Chunked),
    /// All until the server closes.
    UntilClose,
}

/// What comes next of a chunked body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    Size,
    /// This many bytes of a chunk.
    Data(u64),
    /// The end of the line after a chunk's bytes.
    DataEnd,
    Trailers,
    Done,
}

/// What was made of some input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The body has ended.
    End,
    /// More input is needed.
    More,
}

impl Framing {
    pub fn chunked() -> Framing {
        Framing::Chunked(Chunked::Size)
    }

    pub fn is_done(&self) -> bool {
        matches!(self, Framing::Length(0) | Framing::Chunked(Chunked::Done))
    }

    /// How many bytes are still to come, where that is known.
    pub fn left(&self) -> Option<u64> {
        match self {
            Framing::Length(left) => Some(*left),
            Framing::Chunked(Chunked::Done) => Some(0),
            _ => None,
        }
    }

    /// The body, if all of it is there and its length is known.
    pub fn take_whole(&mut self, input: &mut BytesMut) -> Option<Bytes> {
        let Framing::Length(left) = self else { return None };
        let length = usize::try_from(*left).ok().filter(|length| *length <= input.len())?;
        *left = 0;
        Some(input.split_to(length).freeze())
    }

    /// Takes the next piece from the beginning of `input`.
    pub fn take(&mut self, input: &mut BytesMut) -> Result<Piece, String> {
        match self {
            Framing::Length(0) => Ok(Piece::End),
            Framing::Length(left) => Ok(data(left, input)),
            Framing::UntilClose if input.is_empty() => Ok(Piece::More),
            Framing::UntilClose => Ok(Piece::Data(input.split().freeze())),
            Framing::Chunked(state) => state.take(input),
        }
    }

    /// Takes the end of a body that has no more than that. Whoever has its last byte need not wait for another look.
    pub fn take_end(&mut self, input: &mut BytesMut) {
        const END: &[u8] = b"\r\n0\r\n\r\n";
        if *self == Framing::Chunked(Chunked::DataEnd) && input.starts_with(END) {
            input.advance(END.len());
            *self = Framing::Chunked(Chunked::Done);
        }
    }
}

impl Chunked {
    fn take(&mut self, input: &mut BytesMut) -> Result<Piece, String> {
        loop {
            match self {
                Chunked::Data(left) => {
                    let piece = data(left, input);
                    if *left == 0 {
                        *self = Chunked::DataEnd;
                    }
                    return Ok(piece);
                }
                Chunked::DataEnd => {
                    match input.get(..2) {
                        Some(b"\r\n") => input.advance(2),
                        None if input.is_empty() || **input == *b"\r" => return Ok(Piece::More),
                        _ => return Err("a chunk is longer than its size".to_owned()),
                    }
                    *self = Chunked::Size;
                }
                Chunked::Size => {
                    let within = input.get(..MOST_SIZE_LINE).unwrap_or(input);
                    let Some(end) = memchr(b'\n', within) else {
                        return if within.len() < MOST_SIZE_LINE { Ok(Piece::More) } else { Err(long_line()) };
                    };
                    let size = size(&within[..end])?;
                    input.advance(end + 1);
                    *self = if size == 0 { Chunked::Trailers } else { Chunked::Data(size) };
                }
                Chunked::Trailers => {
                    let Some(trailers) = trailers(input)? else { return Ok(Piece::More) };
                    *self = Chunked::Done;
                    return Ok(if trailers.is_empty() { Piece::End } else { Piece::Trailers(trailers) });
                }
                Chunked::Done => return Ok(Piece::End),
            }
        }
    }
}

/// As much of `input` as belongs to the `left` bytes of data.
fn data(left: &mut u64, input: &mut BytesMut) -> Piece {
    if input.is_empty() {
        return Piece::More;
    }
    let length = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    *left -= length as u64;
    Piece::Data(input.split_to(length).freeze())
}

/// A chunk's size; extensions after it are of no interest.
fn size(line: &[u8]) -> Result<u64, String> {
    let wrong = || format!("'{}' is no size of a chunk", String::from_utf8_lossy(line.get(..32).unwrap_or(line)));
    let line = line.strip_suffix(b"\r").ok_or_else(wrong)?;
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii_end();
    let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    text.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(wrong)
}

fn long_line() -> String {
    format!("the line of a chunk's size has more than {MOST_SIZE_LINE} bytes")
}

/// Takes the trailers, if all of them have come.
fn trailers(input: &mut BytesMut) -> Result<Option<HeaderMap>, String> {
    let mut room = [EMPTY_HEADER; MOST_TRAILER_LINES];
    let within = input.get(..MOST_TRAILERS).unwrap_or(input);
    let (length, lines) = match httparse::parse_headers(within, &mut room) {
        Ok(Status::Complete(parsed)) => parsed,
        Ok(Status::Partial) if within.len() < MOST_TRAILERS => return Ok(None),
        Ok(Status::Partial) => return Err(format!("its trailers have more than {MOST_TRAILERS} bytes")),
        Err(error) => return Err(format!("its trailers: {error}")),
    };
    let mut trailers = HeaderMap::with_capacity(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(line.value)) else {
            return Err(format!("its trailer '{}' is none", line.name));
        };
        trailers.append(name, value);
    }
    input.advance(length);
    Ok(Some(trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body in `input`, given `step` bytes at a time, its trailers, and what is left of the input.
    fn body(mut framing: Framing, whole: &[u8], step: usize) -> Result<(Vec<u8>, usize, Vec<u8>), String> {
        let (mut input, mut body, mut trailers) = (BytesMut::new(), Vec::new(), 0);
        let mut rest = whole.chunks(step);
        loop {
            match framing.take(&mut input)? {
                Piece::Data(data) => body.extend_from_slice(&data),
                Piece::Trailers(map) => trailers = map.len(),
                Piece::End => break,
                Piece::More => input.extend_from_slice(rest.next().ok_or("it wants more")?),
            }
        }
        assert!(framing.is_done());
        Ok((body, trailers, rest.fold(input.to_vec(), |all, more| [&all, more].concat())))
    }

    #[test]
    fn chunks_with_extensions_and_trailers_however_they_come() {
        let input = b"4;a=b\r\nWiki\r\n0006 \r\npedia \r\nC\r\nin \r\nchunks.\r\n0;last\r\nx: y\r\nz: \r\n\r\nnext";
        for step in 1..=input.len() {
            let expected = (b"Wikipedia in \r\nchunks.".to_vec(), 2, b"next".to_vec());
            assert_eq!(body(Framing::chunked(), input, step), Ok(expected), "{step} at a time");
        }
    }

    #[test]
    fn what_is_no_chunk_is_told() {
        for (input, part) in [
            (&b"x\r\n"[..], "'x\r' is no size"),
            (b"\r\n", "is no size"),
            (b"-1\r\n", "is no size"),
            (b"+1\r\n", "is no size"),
            (b"0x1\r\n", "is no size"),
            (b" 1\r\n", "is no size"),
            (b"1\n", "is no size"),
            (b"10000000000000000\r\n", "is no size"),
            (b"1\r\nab\r\n", "longer than its size"),
            (b"1\r\na\rb", "longer than its size"),
            (b"1\r\na\n1\r\n", "longer than its size"),
            (&[b'1'; 5000], "more than 1024"),
            (b"0\r\nx y\r\n\r\n", "trailers"),
            (&[b"0\r\nx: ", &[b'y'; 20_000][..]].concat(), "trailers have more"),
            (&[b"0\r\n", &b"x: y\r\n".repeat(65)[..], b"\r\n"].concat(), "trailers"),
        ] {
            let error = body(Framing::chunked(), input, 7).unwrap_err();
            assert!(error.contains(part), "{input:?}: {error}");
        }
    }

    #[test]
    fn the_usual_end_is_taken_with_the_last_byte() {
        let mut input = BytesMut::from(&b"2\r\nab\r\n0\r\n\r\n"[..]);
        let mut framing = Framing::chunked();
        assert_eq!(framing.take(&mut input), Ok(Piece::Data("ab".into())));
        framing.take_end(&mut input);
        assert!(framing.is_done() && input.is_empty());
    }
}
