//! Server-sent events, however the bytes are cut on their way.
//!
//! By the WHATWG's rules for `text/event-stream`: lines end in LF, CR or CRLF; the `data` lines of an event are joined by
//! LF; an empty line ends it; what begins with a colon is a comment. Names, ids and retry times are passed over.

use std::fmt;

use memchr::memchr2;

/// Longest line, and longest event.
const MAX_EVENT: usize = 1 << 20;
const BOM: &[u8] = "\u{feff}".as_bytes();

/// A line or an event has more bytes than are kept of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event: more than {MAX_EVENT} bytes")
    }
}

impl std::error::Error for TooLong {}

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub struct Parser {
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    /// Of the event whose end has not come; each line of data has an LF behind it.
    data: Vec<u8>,
    /// Whether the last byte was a CR, so that an LF belongs to it.
    after_cr: bool,
    /// Whether a line has come.
    begun: bool,
}

impl Parser {
    /// Takes the next bytes, and calls `event` with the data of each event that they end. Its error, and that of a line or an
    /// event that is too long, end the stream.
    pub fn push<E: From<TooLong>>(
        &mut self,
        mut bytes: &[u8],
        mut event: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        while let [first, rest @ ..] = bytes {
            if std::mem::take(&mut self.after_cr) && *first == b'\n' {
                bytes = rest;
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', bytes) else {
                self.line.extend_from_slice(bytes);
                return Ok(within_cap(self.line.len())?);
            };
            let line = &bytes[..end];
            self.after_cr = bytes[end] == b'\r';
            bytes = &bytes[end + 1..];
            if self.line.is_empty() {
                self.take(line, &mut event)?;
            } else {
                let mut whole = std::mem::take(&mut self.line);
                whole.extend_from_slice(line);
                self.take(&whole, &mut event)?;
                whole.clear();
                self.line = whole;
            }
        }
        Ok(())
    }

    /// The stream is over. An event that lacks only the empty line behind it counts: some servers leave it out.
    pub fn finish<E: From<TooLong>>(&mut self, mut event: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let line = std::mem::take(&mut self.line);
        if !line.is_empty() {
            self.take(&line, &mut event)?;
        }
        self.take(b"", &mut event)
    }

    fn take<E: From<TooLong>>(&mut self, line: &[u8], event: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let line = if std::mem::replace(&mut self.begun, true) { line } else { line.strip_prefix(BOM).unwrap_or(line) };
        if line.is_empty() {
            let Some((_, data)) = self.data.split_last() else { return Ok(()) };
            let taken = event(data);
            self.data.clear();
            return taken;
        }
        let value = match line.strip_prefix(b"data") {
            Some([b':', value @ ..]) => value.strip_prefix(b" ").unwrap_or(value),
            Some([]) => &[],
            _ => return Ok(()),
        };
        self.data.extend_from_slice(value);
        self.data.push(b'\n');
        Ok(within_cap(self.data.len())?)
    }
}

fn within_cap(length: usize) -> Result<(), TooLong> {
    if length > MAX_EVENT { Err(TooLong) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(pieces: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        let mut parser = Parser::default();
        let mut event = |data: &[u8]| -> Result<(), TooLong> {
            seen.push(String::from_utf8(data.to_vec()).unwrap());
            Ok(())
        };
        for piece in pieces {
            parser.push(piece, &mut event).unwrap();
        }
        parser.finish(&mut event).unwrap();
        seen
    }

    const TEXT: &str = "\u{feff}data: one\n\n: comment\r\nevent: x\rid: 7\rdata:two\rdata\r\ndata:  three\r\n\r\n\
                        datax: no\n\n\ndata: \u{e9}\n\r\ndata:\n\ndata: [DONE]";

    #[test]
    fn every_kind_of_line() {
        assert_eq!(events(&[TEXT.as_bytes()]), ["one", "two\n\n three", "\u{e9}", "", "[DONE]"]);
    }

    #[test]
    fn cuts_do_not_matter() {
        let whole = events(&[TEXT.as_bytes()]);
        for first in 0..TEXT.len() {
            for second in first..TEXT.len() {
                let bytes = TEXT.as_bytes();
                assert_eq!(events(&[&bytes[..first], &bytes[first..second], &bytes[second..]]), whole);
            }
        }
        let each: Vec<&[u8]> = TEXT.as_bytes().chunks(1).collect();
        assert_eq!(events(&each), whole);
    }

    #[test]
    fn lines_and_events_have_a_cap() {
        let keep = |_: &[u8]| Ok::<_, TooLong>(());
        let piece = vec![b'x'; MAX_EVENT / 2 + 1];
        let mut parser = Parser::default();
        assert!(parser.push(&piece, keep).is_ok());
        assert!(parser.push(&piece, keep).is_err());

        let line = [b"data: ", &piece[..], b"\n"].concat();
        let mut parser = Parser::default();
        assert!(parser.push(&line, keep).is_ok());
        assert!(parser.push(&line, keep).is_err());
    }
}
