//! A request's head as bytes, and bytes as an answer's head.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use httparse::{Header, ParserConfig, Status};
use smallvec::SmallVec;

use super::framing::Framing;
use crate::remote::request::RequestHead;
use crate::remote::transport::Origin;

/// Longest head of an answer, with those that come before it.
pub(super) const MOST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 100;

/// Headers that are added to an answer on its way to the caller; more of them than that cost an allocation.
const MOST_ADDED: usize = 6;

/// How a request says where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Announced {
    Nothing,
    Length(u64),
    Chunked,
}

/// Writes a request's head. What concerns the connection and the body's frame is said here, and not as the caller has it.
pub(super) fn write(into: &mut Vec<u8>, origin: &Origin, request: &RequestHead, announced: Announced) {
    let (path, target) = origin.target(&request.target);
    for part in [request.method.as_str(), " ", path, target, " HTTP/1.1\r\nhost: ", origin.authority(), "\r\n"] {
        into.extend_from_slice(part.as_bytes());
    }
    let mut takes_trailers = false;
    for (name, value) in &request.headers {
        if !is_said_here(name) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                into.extend_from_slice(part);
            }
        } else if name == TE {
            takes_trailers |= value.as_bytes().eq_ignore_ascii_case(b"trailers");
        }
    }
    if takes_trailers {
        into.extend_from_slice(b"te: trailers\r\nconnection: te\r\n");
    }
    match announced {
        Announced::Nothing => {}
        Announced::Length(length) => {
            into.extend_from_slice(b"content-length: ");
            into.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
            into.extend_from_slice(b"\r\n");
        }
        Announced::Chunked => into.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    into.extend_from_slice(b"\r\n");
}

fn is_said_here(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "host"
            | "connection"
            | "content-length"
            | "expect"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// An answer's head.
#[derive(Debug)]
pub(super) struct Head {
    /// Bytes of it.
    pub length: usize,
    pub status: StatusCode,
    /// As they came, but without the coding of the transfer, which ends here.
    pub headers: HeaderMap,
    pub framing: Framing,
    /// Whether another request may follow on the connection.
    pub stays_open: bool,
}

impl Head {
    /// Whether the answer's own head is still to come.
    pub fn is_interim(&self) -> bool {
        self.status.is_informational()
    }

    /// Takes the head that `input` begins with; none if it is not whole. `passed` bytes of heads came before.
    pub fn take(input: &mut BytesMut, wants_no_body: bool, passed: usize) -> Result<Option<Head>, String> {
        let most = MOST_HEAD.saturating_sub(passed);
        let mut room = [const { MaybeUninit::<Header<'_>>::uninit() }; MOST_HEADERS];
        let mut parsed = httparse::Response::new(&mut []);
        let within = input.get(..most).unwrap_or(input);
        let length = match ParserConfig::default().parse_response_with_uninit_headers(&mut parsed, within, &mut room) {
            Ok(Status::Complete(length)) => length,
            Ok(Status::Partial) if input.len() >= most => return Err(too_long()),
            Ok(Status::Partial) => return Ok(None),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(format!("its head has more than {MOST_HEADERS} headers"));
            }
            Err(error) => return Err(error.to_string()),
        };
        let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok()).ok_or("its status is none")?;
        if status == StatusCode::SWITCHING_PROTOCOLS {
            return Err("it switches protocols, which it was not asked to".to_owned());
        }
        let mut facts = Facts::new(parsed.version == Some(1));
        let base = within.as_ptr().addr();
        let mut lines = Lines::new();
        for Header { name, value } in parsed.headers.iter() {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("its header '{name}' is none"))?;
            if facts.note(&name, value)? {
                let start = value.as_ptr().addr() - base;
                lines.push((name, start..start + value.len()));
            }
        }
        let (framing, stays_open) = facts.framing(status, wants_no_body)?;
        // The values stay where they came.
        let bytes = input.split_to(length).freeze();
        let headers = headers(&bytes, &mut lines)?;
        Ok(Some(Head { length, status, headers, framing, stays_open }))
    }
}

/// Names, and where their values are in the head.
type Lines = SmallVec<[(HeaderName, Range<usize>); 16]>;

fn headers(bytes: &Bytes, lines: &mut Lines) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(lines.len() + MOST_ADDED);
    for (name, range) in lines.drain(..) {
        let value =
            HeaderValue::from_maybe_shared(bytes.slice(range)).map_err(|_| format!("its header '{name}' is none"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

pub(super) fn too_long() -> String {
    format!("its head has more than {MOST_HEAD} bytes")
}

/// What a head says of its body and its connection.
struct Facts {
    is_http11: bool,
    stays_open: bool,
    length: Option<u64>,
    is_chunked: bool,
}

impl Facts {
    fn new(is_http11: bool) -> Facts {
        Facts { is_http11, stays_open: is_http11, length: None, is_chunked: false }
    }

    /// Whether the header is handed on. Two that say where the body ends are an attack: somebody else may believe the other.
    fn note(&mut self, name: &HeaderName, value: &[u8]) -> Result<bool, String> {
        if name == CONNECTION {
            for option in value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii) {
                if option.eq_ignore_ascii_case(b"close") {
                    self.stays_open = false;
                } else if option.eq_ignore_ascii_case(b"keep-alive") && !self.is_http11 {
                    self.stays_open = true;
                }
            }
        } else if name == CONTENT_LENGTH {
            if self.length.is_some() {
                return Err("it has several content-lengths".to_owned());
            }
            self.length = Some(number(value).ok_or_else(|| format!("content-length '{}' is no number", shown(value)))?);
        } else if name == TRANSFER_ENCODING {
            if self.is_chunked || !value.eq_ignore_ascii_case(b"chunked") || !self.is_http11 {
                return Err(format!("transfer-encoding '{}' is not understood", shown(value)));
            }
            self.is_chunked = true;
            return Ok(false);
        }
        Ok(true)
    }

    fn framing(&self, status: StatusCode, wants_no_body: bool) -> Result<(Framing, bool), String> {
        if self.is_chunked && self.length.is_some() {
            return Err("it has a content-length and a transfer-encoding".to_owned());
        }
        let has_no_body = status.is_informational() || status == 204 || status == 304 || wants_no_body;
        Ok(match self.length {
            // A body after such a head would be taken for the next answer.
            _ if status == 204 => {
                (Framing::Length(0), self.stays_open && !self.is_chunked && self.length.unwrap_or(0) == 0)
            }
            _ if has_no_body => (Framing::Length(0), self.stays_open),
            Some(length) => (Framing::Length(length), self.stays_open),
            None if self.is_chunked => (Framing::chunked(), self.stays_open),
            None => (Framing::UntilClose, false),
        })
    }
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

fn shown(value: &[u8]) -> String {
    String::from_utf8_lossy(value.get(..32).unwrap_or(value)).into_owned()
}
