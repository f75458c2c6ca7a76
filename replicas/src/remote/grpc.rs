//! One unary call of gRPC: a message there and one back.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use percent_encoding::percent_decode_str;
use prost::Message;
use weirgate_protocol::deadline::parse_retry_after;

use super::ask::{Whole, ask};
use super::body::OutBody;
use super::fault::{Fault, FaultKind};
use super::link::Link;

/// The flag and the length before a message.
const PREFIX: usize = 5;

const TE: HeaderName = HeaderName::from_static("te");

/// A status other than OK, and what was said with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// gRPC's number.
    pub code: u32,
    pub message: String,
    /// Where the server says when to come again.
    pub retry_after: Option<Duration>,
}

pub(crate) const INVALID_ARGUMENT: u32 = 3;
pub(crate) const DEADLINE_EXCEEDED: u32 = 4;
pub(crate) const NOT_FOUND: u32 = 5;
pub(crate) const RESOURCE_EXHAUSTED: u32 = 8;
pub(crate) const OUT_OF_RANGE: u32 = 11;
pub(crate) const UNIMPLEMENTED: u32 = 12;
pub(crate) const UNAVAILABLE: u32 = 14;

/// Why a call gave no message.
#[derive(Clone, Debug)]
pub(crate) enum Failed {
    Fault(Fault),
    Status(Status),
    /// What came back is no gRPC: it is a server of something else.
    Foreign(String),
}

/// Calls a method of `inference.GRPCInferenceService`.
pub(crate) async fn unary<Answer: Message + Default>(
    link: &Link,
    method: &str,
    message: &impl Message,
    headers: HeaderMap,
    limit: usize,
) -> Result<Answer, Failed> {
    let request = request(method, message, headers).map_err(Failed::Foreign)?;
    let whole = ask(link, request, limit.saturating_add(PREFIX)).await.map_err(Failed::Fault)?;
    Answer::decode(body(whole)?).map_err(|error| Failed::Foreign(format!("no message of the protocol: {error}")))
}

fn request(method: &str, message: &impl Message, headers: HeaderMap) -> Result<Request<OutBody>, String> {
    let length = message.encoded_len();
    let told = u32::try_from(length).map_err(|_| format!("a message of {length} bytes is too long for gRPC"))?;
    let mut framed = BytesMut::with_capacity(PREFIX + length);
    framed.put_u8(0);
    framed.put_u32(told);
    message.encode(&mut framed).map_err(|error| format!("the message can't be encoded: {error}"))?;
    let mut request = Request::post(format!("/inference.GRPCInferenceService/{method}"))
        .body(OutBody::Whole(framed.freeze()))
        .map_err(|error| format!("'{method}' is no method: {error}"))?;
    *request.headers_mut() = headers;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    request.headers_mut().insert(TE, HeaderValue::from_static("trailers"));
    Ok(request)
}

/// The one message of an answer.
fn body(whole: Whole) -> Result<Bytes, Failed> {
    let Whole { status, headers, body, trailers } = whole;
    let is_grpc =
        headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    if status != StatusCode::OK || !is_grpc {
        return Err(Failed::Foreign(super::ask::refusal(status, &body)));
    }
    // An answer without a message has its status in the head.
    let told = trailers.as_ref().filter(|trailers| trailers.contains_key("grpc-status")).unwrap_or(&headers);
    let status = read_status(told).ok_or_else(|| {
        Failed::Fault(Fault::new(FaultKind::Broken, "the server's answer broke off: it has no grpc-status".to_owned()))
    })?;
    if status.code != 0 {
        return Err(Failed::Status(status));
    }
    let Some((&[compressed, ref length @ ..], message)) = body.split_first_chunk::<PREFIX>() else {
        return Err(Failed::Foreign("no message".to_owned()));
    };
    // Compression was not offered.
    if compressed != 0 || u32::from_be_bytes(*length) as usize != message.len() {
        return Err(Failed::Foreign("not one whole message".to_owned()));
    }
    Ok(body.slice(PREFIX..))
}

fn read_status(headers: &HeaderMap) -> Option<Status> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let code = text("grpc-status")?.trim().parse().ok()?;
    let message = text("grpc-message").map(|text| percent_decode_str(text).decode_utf8_lossy()).unwrap_or_default();
    let retry_after = text("retry-after").and_then(parse_retry_after);
    Some(Status { code, message: super::ask::shown(&message), retry_after })
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "gRPC status {}", self.code)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::oip;

    use super::*;

    fn whole(trailers: &[(&'static str, &str)], body: &'static [u8]) -> Whole {
        let trailers = trailers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"));
        Whole { status: StatusCode::OK, headers, body: body.into(), trailers: Some(trailers.collect()) }
    }

    #[test]
    fn a_message_with_an_ok_behind_it_is_an_answer() {
        let ready = body(whole(&[("grpc-status", "0")], b"\x00\x00\x00\x00\x02\x08\x01")).unwrap();
        assert!(oip::ModelReadyResponse::decode(ready).unwrap().ready);
    }

    #[test]
    fn statuses_are_read_from_trailers_or_from_the_head() {
        let error = body(whole(&[("grpc-status", "5"), ("grpc-message", "no model %22%C3%A9%22")], b"")).unwrap_err();
        assert!(matches!(error, Failed::Status(Status { code: 5, message, .. }) if message == "no model \"é\""));
        let mut only_head = whole(&[], b"");
        only_head.headers.insert("grpc-status", HeaderValue::from_static("14"));
        only_head.trailers = None;
        assert!(matches!(body(only_head), Err(Failed::Status(Status { code: 14, .. }))));
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_one() {
        let cut = body(whole(&[], b"\x00\x00\x00\x00\x00"));
        assert!(matches!(cut, Err(Failed::Fault(fault)) if fault.kind == FaultKind::Broken));
        for bytes in [&b""[..], b"\x00\x00", b"\x01\x00\x00\x00\x00", b"\x00\xff\xff\xff\xff", b"\x00\x00\x00\x00\x00x"]
        {
            let foreign = body(whole(&[("grpc-status", "0")], bytes));
            assert!(matches!(foreign, Err(Failed::Foreign(_))), "{bytes:?}");
        }
        let mut page = whole(&[], b"<html>");
        page.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        assert!(matches!(body(page), Err(Failed::Foreign(text)) if text == "200 OK"));
    }
}
