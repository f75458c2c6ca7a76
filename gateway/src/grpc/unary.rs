//! One message in, one message out.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use http_body::Frame;
use prost::Message;
use weirgate_protocol::{Error, Protocol, Result};

use super::compression;
use crate::explain::told;
use crate::gateway::Gateway;
use crate::respond::Dialect;
use crate::server::address::Address;
use crate::server::body::{BodyLimit, BodyReader};
use crate::server::edge::{Arrival, Arrived};
use crate::server::encoding::Encoding;

/// The flag and length before each message.
pub(super) const PREFIX: usize = 5;
pub(super) const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Requests about models and the server are small.
const SMALL_MESSAGE: BodyLimit = BodyLimit { bytes: 64 << 10, set_by: "for calls other than ModelInfer" };
/// They are answered at once; this only bounds how long a client may take to send one.
const SMALL_CALL: std::time::Duration = std::time::Duration::from_secs(30);

/// Reads a small request, and answers it.
pub(super) async fn unary<Q, A>(
    gateway: &Gateway,
    request: Request,
    answer: impl FnOnce(Q, &Address<'_>) -> Result<A>,
) -> Response
where
    Q: Message + Default,
    A: Message,
{
    let result = async {
        let (parts, asked, _) = read_small(gateway, request).await?;
        let answered = answer(asked, &Address::new(None, &parts));
        answered.map_err(|error| told(&parts.extensions, &parts.headers, error))
    };
    respond_small(result.await)
}

/// The head, the message and the arrival of a small request.
pub(super) async fn read_small<Q: Message + Default>(
    gateway: &Gateway,
    request: Request,
) -> Result<(Parts, Q, Arrival)> {
    let (parts, body) = request.into_parts();
    let arrival = Arrival::new(&parts, Arrived::of(&parts.extensions, &parts.headers), Protocol::V2Grpc)?;
    check_content_type(&parts)?;
    let mut body = BodyReader::new(body, PREFIX, gateway.config.client_timeout);
    let deadline = Instant::now() + SMALL_CALL;
    read_prefix(&mut body, &parts.headers, deadline).await?;
    body.check_length(SMALL_MESSAGE)?;
    while body.peek_more(deadline).await? {
        body.check_length(SMALL_MESSAGE)?;
    }
    let request = message(Bytes::copy_from_slice(body.peeked()))?;
    let request = body.codings().undo(request, SMALL_MESSAGE, |_| Ok(()))?;
    Ok((parts, decode(request)?, arrival))
}

/// The answer to a small request.
pub(super) fn respond_small(answer: Result<impl Message>) -> Response {
    match answer.and_then(|answer| frame(&answer)) {
        Ok(frame) => respond_with(frame, HeaderMap::new()),
        Err(error) => compression::refusal(error).answer(Dialect::Grpc),
    }
}

/// Messages are protobuf; gRPC names other codecs in the content type.
pub(super) fn check_content_type(parts: &Parts) -> Result<()> {
    let value = parts.headers.get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let codec = value.strip_prefix(b"application/grpc").map(|rest| rest.split(|&byte| byte == b';').next());
    match codec {
        Some(Some(b"" | b"+proto")) => Ok(()),
        _ => {
            let shown: String = String::from_utf8_lossy(value).chars().take(64).collect();
            Err(Error::unsupported(format!("content-type '{shown}' is not supported: send application/grpc")))
        }
    }
}

/// Reads until the length of the message is known, and announces it. Returns how the message is compressed.
pub(super) async fn read_prefix(
    body: &mut BodyReader<Body>,
    headers: &HeaderMap,
    deadline: Instant,
) -> Result<Option<Encoding>> {
    while body.peeked().len() < PREFIX {
        if !body.peek_more(deadline).await? {
            return Err(Error::invalid("the call ended before its message began"));
        }
    }
    let peeked = body.peeked();
    let encoding = compression::of_message(peeked[0], headers)?;
    let length = u32::from_be_bytes([peeked[1], peeked[2], peeked[3], peeked[4]]);
    body.announce(PREFIX + length as usize);
    if let Some(encoding) = encoding {
        body.set_codings(encoding.into());
    }
    Ok(encoding)
}

/// The message within a unary call's whole body.
pub(super) fn message(body: Bytes) -> Result<Bytes> {
    let expected = match body.get(1..PREFIX) {
        Some(length) => PREFIX + u32::from_be_bytes([length[0], length[1], length[2], length[3]]) as usize,
        None => return Err(Error::invalid("the call ended before its message began")),
    };
    if body.len() != expected {
        return Err(Error::invalid(format!(
            "the call's one message was announced with {} bytes, {} came",
            expected - PREFIX,
            body.len() - PREFIX
        )));
    }
    Ok(body.slice(PREFIX..))
}

pub(super) fn decode<M: Message + Default>(message: Bytes) -> Result<M> {
    M::decode(message).map_err(|error| Error::invalid(format!("the message can't be decoded: {error}")))
}

/// A message within its frame.
pub(super) fn frame(message: &impl Message) -> Result<Bytes> {
    let length = message.encoded_len();
    let announced = u32::try_from(length).map_err(|_| {
        Error::too_large(format!("the answer has {length} bytes, a gRPC message has {} at most", u32::MAX))
    })?;
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(announced);
    message.encode(&mut bytes).map_err(|error| Error::internal(format!("the answer can't be encoded: {error}")))?;
    Ok(bytes.freeze())
}

/// The answer of a call that went well.
pub(super) fn respond_with(frame: Bytes, mut headers: HeaderMap) -> Response {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(STATUS, HeaderValue::from_static("0"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    let mut response = Response::new(Body::new(Unary { message: Some(frame), trailers: Some(trailers) }));
    *response.headers_mut() = headers;
    response
}

/// A body of one message and the trailers.
struct Unary {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Unary {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Some(message) = self.message.take() {
            return Poll::Ready(Some(Ok(Frame::data(message))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }
}
