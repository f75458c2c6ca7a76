//! The head of an answer, and the few of its headers that matter.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use httparse::{Header, ParserConfig, Response, Status};

use super::framing::{Chunked, Framing};
use crate::client::{Failure, body};
use crate::request::is_success;

/// Longest head that is taken.
const MAX_HEAD: usize = 64 << 10;
const _: () = assert!(MAX_HEAD < super::input::MOST);
const MAX_HEADERS: usize = 128;

/// What a head says.
#[derive(Debug)]
pub(super) struct Head {
    /// Bytes of it, up to the body.
    pub(super) length: usize,
    pub(super) status: u16,
    pub(super) framing: Framing,
    /// Whether another request may follow on the connection.
    pub(super) stays_open: bool,
    pub(super) is_event_stream: bool,
    /// All of them where they were asked for or the status is no success, else none.
    pub(super) headers: HeaderMap,
    pub(super) revision: Option<Bytes>,
    pub(super) overhead_us: Option<u32>,
    /// Of the JSON before binary tensors; what is no number is too much.
    pub(super) header_length: Option<u64>,
}

impl Head {
    /// Whether the answer itself is still to come.
    pub(super) fn is_interim(&self) -> bool {
        self.status < 200
    }

    /// Reads the head that `input` begins with; None if it is not whole. `last_revision` is the one that the connection
    /// saw before, mostly the same.
    pub(super) fn parse(input: &[u8], wants_headers: bool, last_revision: &mut Bytes) -> Result<Option<Head>, Failure> {
        let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; MAX_HEADERS];
        let mut response = Response::new(&mut []);
        let within = input.get(..MAX_HEAD).unwrap_or(input);
        let parsed = ParserConfig::default().parse_response_with_uninit_headers(&mut response, within, &mut headers);
        let length = match parsed.map_err(|error| if is_tls_alert(input) { in_tls() } else { malformed(error) })? {
            Status::Complete(length) => length,
            Status::Partial if within.len() == MAX_HEAD => {
                return Err(Failure::Malformed(format!("head: more than {MAX_HEAD} bytes")));
            }
            Status::Partial => return Ok(None),
        };
        let status = response.code.unwrap_or_default();
        if status < 100 || status == 101 {
            return Err(Failure::Malformed(format!("status {status} was not asked for")));
        }
        let mut head = Head {
            length,
            status,
            framing: Framing::UntilClose,
            stays_open: response.version == Some(1),
            is_event_stream: false,
            headers: HeaderMap::new(),
            revision: None,
            overhead_us: None,
            header_length: None,
        };
        head.read(response.headers, last_revision)?;
        if wants_headers || !is_success(status) {
            head.headers = header_map(response.headers)?;
        }
        Ok(Some(head))
    }

    /// Takes what matters out of the headers.
    fn read(&mut self, headers: &[Header<'_>], last_revision: &mut Bytes) -> Result<(), Failure> {
        let mut content_length = None;
        let mut chunked = None;
        for Header { name, value } in headers {
            // Few names have the same length, so this is one comparison of bytes at most.
            let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
            match name.len() {
                10 if is("connection") => self.connection(value),
                12 if is("content-type") => self.is_event_stream = body::is_event_stream(value),
                14 if is("content-length") => {
                    let length = number(value).ok_or_else(|| not_a_length(value))?;
                    if content_length.is_some_and(|before| before != length) {
                        return Err(Failure::Malformed("two content-lengths that differ".to_owned()));
                    }
                    content_length = Some(length);
                }
                17 if is("transfer-encoding") => chunked = Some(ends_chunked(value)),
                19 if is("x-weirgate-revision") => {
                    if last_revision != value {
                        *last_revision = Bytes::copy_from_slice(value);
                    }
                    self.revision = Some(last_revision.clone());
                }
                22 if is("x-weirgate-overhead-us") => {
                    self.overhead_us = number(value).and_then(|micros| u32::try_from(micros).ok());
                }
                31 if is("inference-header-content-length") => {
                    self.header_length = Some(number(value).unwrap_or(u64::MAX));
                }
                _ => {}
            }
        }
        self.framing = match (self.status, chunked, content_length) {
            (100..=199 | 204 | 304, ..) => Framing::Length(0),
            (_, Some(true), _) => Framing::Chunked(Chunked::Size),
            (_, None, Some(length)) => Framing::Length(length),
            _ => Framing::UntilClose,
        };
        self.stays_open &= self.framing != Framing::UntilClose;
        Ok(())
    }

    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.stays_open = false;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.stays_open = true;
            }
        }
    }
}

/// Whether it is what a server of TLS says to one who does not begin with a handshake.
fn is_tls_alert(input: &[u8]) -> bool {
    input.starts_with(&[21, 3])
}

fn in_tls() -> Failure {
    Failure::Malformed("the server speaks TLS: give its address as https://".to_owned())
}

fn malformed(error: httparse::Error) -> Failure {
    match error {
        httparse::Error::TooManyHeaders => Failure::Malformed(format!("head: more than {MAX_HEADERS} headers")),
        error => Failure::Malformed(format!("head: {error}")),
    }
}

fn not_a_length(value: &[u8]) -> Failure {
    let value = String::from_utf8_lossy(&value[..value.len().min(32)]);
    Failure::Malformed(format!("content-length '{value}' is not a number"))
}

/// Digits and nothing else.
fn number(value: &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for byte in value {
        let digit = byte.wrapping_sub(b'0');
        number = number.checked_mul(10)?.checked_add(u64::from(digit)).filter(|_| digit < 10)?;
    }
    (!value.is_empty()).then_some(number)
}

/// Whether the last of the codings is `chunked`.
fn ends_chunked(value: &[u8]) -> bool {
    let last = value.rsplit(|&byte| byte == b',').next().unwrap_or_default();
    last.trim_ascii().eq_ignore_ascii_case(b"chunked")
}

fn header_map(headers: &[Header<'_>]) -> Result<HeaderMap, Failure> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_bytes(header.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(Failure::Malformed(format!("header '{}'", header.name)));
        };
        map.append(name, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Head>, Failure> {
        Head::parse(text.as_bytes(), false, &mut Bytes::new())
    }

    fn whole(text: &str) -> Head {
        parse(text).unwrap().unwrap()
    }

    #[test]
    fn bodies_and_what_follows_them() {
        let chunked = Framing::Chunked(Chunked::Size);
        for (text, framing, stays_open) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Framing::Length(5), true),
            ("HTTP/1.1 200\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n", Framing::Length(5), true),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", Framing::Length(5), false),
            ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: Keep-Alive\r\n\r\n", Framing::Length(5), true),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: x, close\r\n\r\n", Framing::Length(5), false),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunked, true),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, Chunked\r\ncontent-length: 5\r\n\r\n", chunked, true),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n", Framing::UntilClose, false),
            ("HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose, false),
            ("HTTP/1.1 204 No Content\r\n\r\n", Framing::Length(0), true),
            ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", Framing::Length(0), true),
        ] {
            let head = whole(text);
            assert_eq!((head.framing, head.stays_open, head.length), (framing, stays_open, text.len()), "{text}");
        }
    }

    #[test]
    fn the_servers_own_headers_without_a_map() {
        let text = "HTTP/1.1 200 OK\r\nX-Weirgate-Revision: r-3\r\nx-weirgate-overhead-us: 41\r\n\
                    content-type: text/event-stream; charset=utf-8\r\ncontent-length: 0\r\n\r\n";
        let head = whole(text);
        assert_eq!((head.revision.as_deref(), head.overhead_us), (Some(&b"r-3"[..]), Some(41)));
        assert!(head.is_event_stream && head.headers.is_empty());
        assert_eq!(whole(&text.replace("200 OK", "503 No")).headers.len(), 4);
    }

    #[test]
    fn what_is_no_head_is_told() {
        let many: String = (0..200).map(|i| format!("h{i}: x\r\n")).collect();
        let huge = "x".repeat(MAX_HEAD);
        for (text, part) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\n", "'5, 5' is not a number"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n", "is not a number"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", "differ"),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "status 101"),
            ("SSH-2.0-OpenSSH_9.2\r\n", "head: "),
            (&format!("HTTP/1.1 200 OK\r\n{many}\r\n"), "more than 128 headers"),
            (&format!("HTTP/1.1 200 OK\r\nx: {huge}"), "more than 65536 bytes"),
        ] {
            let Err(Failure::Malformed(error)) = parse(text) else { panic!("{text} was taken") };
            assert!(error.contains(part), "{text}: {error}");
        }
        let Err(Failure::Malformed(error)) = parse("\x15\x03\x01\x00\x02\x02\x46") else {
            panic!("an alert was taken")
        };
        assert!(error.contains("https://"), "{error}");
        assert!(parse("HTTP/1.1 200 OK\r\ncontent-le").unwrap().is_none());
    }
}
