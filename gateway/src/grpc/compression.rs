//! Compression of messages: a flag before each message, and one encoding for all of a call.
//!
//! Calls whose messages are not compressed pay nothing: their headers are not looked at. A compressed message is routed by its
//! first bytes like any other, so only these are decompressed before the call is admitted.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};
use prost::Message;
use weirgate_protocol::{Error, ErrorCode, Result};

use super::unary::{self, PREFIX};
use crate::respond::Refusal;
use crate::server::encoding::{self, Encoding};

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");
const READ_HERE: HeaderValue = HeaderValue::from_static("identity,gzip,deflate,zstd");
/// Below this a message fits into one packet or so, and compressing it only costs time.
const LEAST_MESSAGE: usize = 1 << 10;

/// The encoding of a message with this flag; none where it is not compressed.
pub(super) fn of_message(flag: u8, headers: &HeaderMap) -> Result<Option<Encoding>> {
    match flag {
        0 => Ok(None),
        1 => of_call(headers)?
            .map(Some)
            .ok_or_else(|| Error::invalid("the message is compressed, and header grpc-encoding does not say how")),
        other => Err(Error::invalid(format!("the flag before a message is {other}: send 0 or 1"))),
    }
}

/// The encoding that a call's messages may have.
pub(super) fn of_call(headers: &HeaderMap) -> Result<Option<Encoding>> {
    match headers.get(ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Ok(None),
        Some(name) => Encoding::parse(name).map(Some).ok_or_else(|| {
            let shown: String = String::from_utf8_lossy(name).chars().take(32).collect();
            Error::unsupported_media(format!(
                "grpc-encoding '{shown}' is not read here: send gzip, deflate, zstd or messages as they are"
            ))
        }),
    }
}

/// A refusal that says, where it is one of an encoding, which are read.
pub(super) fn refusal(error: Error) -> Refusal {
    match error.code() {
        ErrorCode::UnsupportedMedia => Refusal::with_header(error, ACCEPT_ENCODING, READ_HERE),
        _ => error.into(),
    }
}

/// The encoding of the answers to a request in `encoding`: the same, if the client reads it.
pub(super) fn of_answer(encoding: Option<Encoding>, headers: &HeaderMap) -> Option<Encoding> {
    let encoding = encoding?;
    let mut names = headers.get(ACCEPT_ENCODING)?.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    names.any(|name| name.eq_ignore_ascii_case(encoding.name().as_bytes())).then_some(encoding)
}

/// Notes in the head of an answer how its messages may be encoded.
pub(super) fn announce(encoding: Option<Encoding>, headers: &mut HeaderMap) {
    if let Some(encoding) = encoding {
        headers.insert(ENCODING, HeaderValue::from_static(encoding.name()));
    }
}

/// A message within its frame, compressed where that is worth it.
pub(super) fn frame(message: &impl Message, encoding: Option<Encoding>) -> Result<Bytes> {
    let plain = unary::frame(message)?;
    let Some(encoding) = encoding.filter(|_| plain.len() >= PREFIX + LEAST_MESSAGE) else { return Ok(plain) };
    let packed = encoding::compress(encoding, &[plain.slice(PREFIX..)])?;
    let Ok(length) = u32::try_from(packed.len()) else { return Ok(plain) };
    let mut bytes = BytesMut::with_capacity(PREFIX + packed.len());
    bytes.put_u8(1);
    bytes.put_u32(length);
    bytes.put(packed);
    Ok(bytes.freeze())
}
