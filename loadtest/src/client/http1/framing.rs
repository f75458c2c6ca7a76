//! Where a body ends, and which of the bytes that come are of it.

use std::ops::Range;

use memchr::memchr;

use crate::client::Failure;

/// Longest line of a chunk's size with its extensions.
const MAX_SIZE_LINE: usize = 4 << 10;
/// All trailers of an answer together.
const MAX_TRAILERS: usize = 64 << 10;
const _: () = assert!(MAX_TRAILERS < super::input::MOST);

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
    /// Lines up to an empty one. Holds the bytes of those that came.
    Trailers(usize),
    Done,
}

/// What was made of some input. Where nothing was consumed, more is needed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Which bytes of the input are of the body.
    pub(super) data: Range<usize>,
    pub(super) consumed: usize,
}

impl Framing {
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Framing::Length(0) | Framing::Chunked(Chunked::Done))
    }

    /// Takes what it can from the beginning of `input`, a piece of body at most.
    pub(super) fn take(&mut self, input: &[u8]) -> Result<Taken, Failure> {
        match self {
            Framing::Length(left) => Ok(data(left, input)),
            Framing::UntilClose => Ok(Taken { data: 0..input.len(), consumed: input.len() }),
            Framing::Chunked(state) => state.take(input),
        }
    }
}

impl Chunked {
    fn take(&mut self, input: &[u8]) -> Result<Taken, Failure> {
        match self {
            Chunked::Data(left) => {
                let taken = data(left, input);
                if *left == 0 {
                    *self = Chunked::DataEnd;
                }
                Ok(taken)
            }
            Chunked::Size => {
                let Some(line) = line(input, 0, MAX_SIZE_LINE, "line of a chunk's size")? else { return Ok(NOTHING) };
                *self = match size(line.text)? {
                    0 => Chunked::Trailers(0),
                    size => Chunked::Data(size),
                };
                Ok(line.taken())
            }
            Chunked::DataEnd => {
                let consumed = match input {
                    [] | [b'\r'] => return Ok(NOTHING),
                    [b'\n', ..] => 1,
                    [b'\r', b'\n', ..] => 2,
                    _ => return Err(Failure::Malformed("a chunk is longer than its size".to_owned())),
                };
                *self = Chunked::Size;
                Ok(Taken { data: 0..0, consumed })
            }
            Chunked::Trailers(before) => {
                let Some(line) = line(input, *before, MAX_TRAILERS, "trailers")? else { return Ok(NOTHING) };
                *self = if line.text.is_empty() { Chunked::Done } else { Chunked::Trailers(*before + line.length) };
                Ok(line.taken())
            }
            Chunked::Done => Ok(NOTHING),
        }
    }
}

const NOTHING: Taken = Taken { data: 0..0, consumed: 0 };

/// As much of `input` as belongs to the `left` bytes of data.
fn data(left: &mut u64, input: &[u8]) -> Taken {
    let length = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
    *left -= length as u64;
    Taken { data: 0..length, consumed: length }
}

struct Line<'a> {
    /// Without its end.
    text: &'a [u8],
    /// With its end.
    length: usize,
}

impl Line<'_> {
    fn taken(&self) -> Taken {
        Taken { data: 0..0, consumed: self.length }
    }
}

/// The first line of `input`, which must end within `limit` bytes, less those that came `before`.
fn line<'a>(input: &'a [u8], before: usize, limit: usize, what: &str) -> Result<Option<Line<'a>>, Failure> {
    let left = limit - before;
    let within = input.get(..left).unwrap_or(input);
    match memchr(b'\n', within) {
        Some(end) => {
            let text = within[..end].strip_suffix(b"\r").unwrap_or(&within[..end]);
            Ok(Some(Line { text, length: end + 1 }))
        }
        None if input.len() < left => Ok(None),
        None => Err(Failure::Malformed(format!("{what}: more than {limit} bytes"))),
    }
}

/// A chunk's size; extensions after it are of no interest.
fn size(line: &[u8]) -> Result<u64, Failure> {
    let digits = line.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    let size = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
    size.and_then(|digits| u64::from_str_radix(digits, 16).ok()).ok_or_else(|| {
        Failure::Malformed(format!("'{}' is no size of a chunk", String::from_utf8_lossy(&line[..line.len().min(32)])))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body in `input`, and what is left of the input.
    fn body(mut framing: Framing, mut input: &[u8]) -> Result<(Vec<u8>, &[u8]), Failure> {
        let mut body = Vec::new();
        while !framing.is_done() {
            let taken = framing.take(input)?;
            assert!(taken.consumed > 0, "{framing:?} wants more than {input:?}");
            body.extend_from_slice(&input[taken.data]);
            input = &input[taken.consumed..];
        }
        Ok((body, input))
    }

    #[test]
    fn chunks_with_extensions_and_trailers() {
        let input = b"4;a=b\r\nWiki\r\n0006 \r\npedia \r\nC\r\nin \r\nchunks.\r\n0;last\r\nx: y\r\nz: \r\n\r\nnext";
        assert_eq!(
            body(Framing::Chunked(Chunked::Size), input),
            Ok((b"Wikipedia in \r\nchunks.".to_vec(), &b"next"[..]))
        );
    }

    #[test]
    fn what_is_no_chunk_is_told() {
        for (input, part) in [
            (&b"x\r\n"[..], "'x' is no size"),
            (b"\r\n", "'' is no size"),
            (b"-1\r\n", "'-1' is no size"),
            (b"+1\r\n", "'+1' is no size"),
            (b"10000000000000000\r\n", "is no size"),
            (b"1\r\nab\r\n", "longer than its size"),
            (b"1\r\na\rb", "longer than its size"),
            (&[b'1'; 5000], "more than 4096"),
        ] {
            let Err(Failure::Malformed(error)) = body(Framing::Chunked(Chunked::Size), input) else {
                panic!("{input:?} was taken")
            };
            assert!(error.contains(part), "{input:?}: {error}");
        }
    }

    #[test]
    fn trailers_have_an_end() {
        let mut framing = Framing::Chunked(Chunked::Trailers(0));
        let line = b"name: value\r\n";
        let most = MAX_TRAILERS / line.len();
        for _ in 0..most {
            assert_eq!(framing.take(line), Ok(Taken { data: 0..0, consumed: line.len() }));
        }
        assert!(framing.take(line).is_err());
    }
}
