//! Requests that are prepared once and sent many times, and the answers to them.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use clap::ValueEnum;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;
use serde::{Deserialize, Serialize};
use weirgate_protocol::{InferRequest, InferResponse, oip, v1, v2};

use crate::Result;
use crate::client::openai::Usage;
use crate::client::shape::Fault;
use crate::workload::expect::Expect;

/// `Inference-Header-Content-Length`, as the `http` crate wants header names.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// The flag and length before each gRPC message.
const PREFIX: usize = 5;
/// UNAUTHENTICATED.
const LAST_GRPC_CODE: u8 = 16;
/// What of a name is written otherwise in a path: all but RFC 3986's unreserved characters.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What a server is spoken to in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// KServe V1 over HTTP/1.1
    V1,
    /// Open Inference Protocol V2 over HTTP/1.1, tensors in JSON
    V2,
    /// V2 over HTTP/1.1, tensors in binary both ways
    V2Binary,
    /// V2 over gRPC, raw tensors
    Grpc,
    /// OpenAI chat completions
    Chat,
    /// OpenAI completions
    Completions,
    /// OpenAI embeddings
    Embeddings,
}

impl Protocol {
    pub const fn label(self) -> &'static str {
        match self {
            Protocol::V1 => "v1",
            Protocol::V2 => "v2",
            Protocol::V2Binary => "v2-binary",
            Protocol::Grpc => "grpc",
            Protocol::Chat => "chat",
            Protocol::Completions => "completions",
            Protocol::Embeddings => "embeddings",
        }
    }

    pub const fn is_openai(self) -> bool {
        matches!(self, Protocol::Chat | Protocol::Completions | Protocol::Embeddings)
    }

    /// Whether many requests share a connection.
    pub const fn is_http2(self) -> bool {
        matches!(self, Protocol::Grpc)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A request as bytes; sending it copies nothing but its head.
#[derive(Clone, Debug)]
pub struct Request {
    pub protocol: Protocol,
    /// POST, where it is not set otherwise.
    pub method: Method,
    /// Path and query, percent-encoded, below the target's own path.
    pub path: String,
    /// All but `content-length` and what the transport itself writes. A `host` here takes the place of the target's own.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Which of a workload's distinct requests it is.
    pub index: usize,
    /// Whether the answer is asked for as server-sent events.
    pub streams: bool,
    /// Whether the answer must have the shape of its protocol's answers: of a workload's requests at the protocol's own path.
    pub is_checked: bool,
    /// What the answer must be, besides well-formed and without an error.
    pub expect: Option<Arc<Expect>>,
    /// Where in a conversation it stands, if another turn follows.
    pub turn: Option<crate::workload::conversation::Turn>,
}

impl Request {
    /// A POST of a body in the protocol's own content type.
    pub fn new(protocol: Protocol, path: impl Into<String>, body: impl Into<Bytes>) -> Request {
        let content_type = if protocol.is_http2() { "application/grpc" } else { "application/json" };
        let mut new = Request { method: Method::POST, body: body.into(), ..Request::get(protocol, path) };
        new.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if protocol.is_http2() {
            new.headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
        new
    }

    /// A question about the server itself, without a body.
    pub fn get(protocol: Protocol, path: impl Into<String>) -> Request {
        Request {
            protocol,
            method: Method::GET,
            path: path.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            index: 0,
            streams: false,
            is_checked: false,
            expect: None,
            turn: None,
        }
    }

    /// Encodes tensors for `model` with the protocol's own codecs. OpenAI's endpoints are not spoken in tensors.
    pub fn tensors(protocol: Protocol, model: &str, request: InferRequest) -> Result<Request> {
        Request::tensors_for(protocol, model, None, request)
    }

    /// The same for one version of the model, which V1 can't ask for.
    pub fn tensors_for(
        protocol: Protocol,
        model: &str,
        version: Option<&str>,
        mut request: InferRequest,
    ) -> Result<Request> {
        match protocol {
            Protocol::V1 => {
                let body = v1::encode_request(&request).map_err(crate::error)?;
                Ok(Request::new(protocol, format!("/v1/models/{}:predict", in_path(model)), body))
            }
            Protocol::V2 | Protocol::V2Binary => {
                let binary = protocol == Protocol::V2Binary;
                request.binary_outputs = binary;
                let encoded = v2::encode_request(&request, binary).map_err(crate::error)?;
                let (content_type, length) = (encoded.content_type(), encoded.header_length);
                let path = format!("{}/infer", v2_path(model, version));
                let mut new = Request::new(protocol, path, encoded.into_bytes());
                new.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
                if let Some(length) = length {
                    new.headers.insert(HEADER_LENGTH, length.into());
                }
                Ok(new)
            }
            Protocol::Grpc => {
                let message = oip::encode_request(model, version, request, true).map_err(crate::error)?;
                Ok(Request::new(protocol, "/inference.GRPCInferenceService/ModelInfer", framed(&message)?))
            }
            _ => Err(crate::error(format!("{protocol} is not spoken in tensors"))),
        }
    }

    /// The same request with one more header.
    pub fn with_header(mut self, name: &'static str, value: HeaderValue) -> Request {
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    /// Whether the answer's body is needed whole, to check it or to go on from it.
    pub fn wants_body(&self) -> bool {
        self.expect.is_some() || self.turn.is_some()
    }
}

/// Whether a status of HTTP says that all went well. People's own servers have more of them than 200.
pub(crate) const fn is_success(status: u16) -> bool {
    matches!(status, 200..=299)
}

/// A name as it is written in a path.
pub fn in_path(name: &str) -> impl fmt::Display + '_ {
    utf8_percent_encode(name, IN_PATH)
}

/// Where V2 has a model, or one version of it.
pub fn v2_path(model: &str, version: Option<&str>) -> String {
    match version {
        None => format!("/v2/models/{}", in_path(model)),
        Some(version) => format!("/v2/models/{}/versions/{}", in_path(model), in_path(version)),
    }
}

/// A message with the five bytes that gRPC puts before each.
pub fn framed(message: &impl Message) -> Result<Bytes> {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).map_err(crate::error)?);
    message.encode(&mut bytes).map_err(crate::error)?;
    Ok(bytes.freeze())
}

/// What came back: the head, the body where it was asked for, and the trailers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub protocol: Protocol,
    pub status: u16,
    /// Empty for an answer over HTTP/1.1 that succeeded and whose body was not kept: nobody reads them then.
    pub headers: HeaderMap,
    /// Whole if it was to be kept, else empty; of a stream, too. Of an error the beginning.
    pub body: Bytes,
    /// Bytes of the body as they came, kept or not.
    pub length: u64,
    pub trailers: Option<HeaderMap>,
    /// `x-weirgate-revision`: who answered.
    pub revision: Option<Bytes>,
    /// `x-weirgate-overhead-us`: the server's own time.
    pub overhead_us: Option<u32>,
    /// What was told of time by an answer that came as server-sent events.
    pub stream: Option<Stream>,
    /// The server's own count of tokens, in an answer of OpenAI's endpoints that came whole. A stream has its own.
    pub usage: Option<Usage>,
    /// Why an answer that came whole with a success is none, where that was looked at. Its body then has the beginning of
    /// what came.
    pub fault: Option<Fault>,
}

/// When the parts of a streamed answer came.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// The first part with output in it: text, reasoning, a refusal or a piece of a tool's call.
    pub first: Option<Instant>,
    /// The last such part.
    pub last: Option<Instant>,
    /// Between one part and the next, in microseconds; of a long answer the first 16,384.
    pub gaps_us: Vec<u32>,
    /// Parts with output in them.
    pub parts: u32,
    /// Tokens by the server's own count (`usage`), where it gave one.
    pub prompt_tokens: Option<u32>,
    pub output_tokens: Option<u32>,
    /// The text of all parts of the first choice, without reasoning, where the answer was to be kept: in place of its body.
    pub text: String,
    /// Whether it ended as it should, with `[DONE]`.
    pub whole: bool,
    /// The error event that it ended with.
    pub error: Option<String>,
}

impl Answer {
    /// Whether the call went well, by its protocol's own rules.
    pub fn is_ok(&self) -> bool {
        match self.protocol {
            Protocol::Grpc => self.status == 200 && self.grpc_status() == Some(0),
            _ => is_success(self.status),
        }
    }

    /// What the protocol calls the outcome, as `200`, `429`, `grpc 8` or `grpc without a status (HTTP 503)`.
    pub fn outcome(&self) -> String {
        match (self.protocol, self.grpc_status()) {
            (Protocol::Grpc, Some(status)) => format!("grpc {status}"),
            // What a server wrote there is not told: it could be anything.
            (Protocol::Grpc, None) if self.grpc_field().is_some() => "grpc with a malformed status".to_owned(),
            (Protocol::Grpc, None) => format!("grpc without a status (HTTP {})", self.status),
            _ => self.status.to_string(),
        }
    }

    /// One of gRPC's codes, 0 to 16. None if the answer has none, or something else in its place.
    pub fn grpc_status(&self) -> Option<u8> {
        self.grpc_field()?.to_str().ok()?.parse().ok().filter(|code| *code <= LAST_GRPC_CODE)
    }

    fn grpc_field(&self) -> Option<&HeaderValue> {
        self.trailers.as_ref().unwrap_or(&self.headers).get("grpc-status")
    }

    /// Reads the one message of a gRPC answer whose body was kept.
    pub fn message<M: Message + Default>(&self) -> Result<M> {
        let message = self.body.get(PREFIX..).ok_or_else(|| crate::error("the answer holds no message"))?;
        M::decode(message).map_err(crate::error)
    }

    /// Reads the tensors of a V2 answer whose body was kept.
    pub fn decode(&self) -> Result<InferResponse> {
        if !self.is_ok() {
            return Err(crate::error(format!("{}: {}", self.outcome(), String::from_utf8_lossy(&self.body))));
        }
        match self.protocol {
            Protocol::Grpc => oip::decode_response(self.message()?).map_err(crate::error),
            _ => {
                let length = self.headers.get(HEADER_LENGTH).and_then(|value| value.to_str().ok());
                v2::decode_response(&self.body, length).map_err(crate::error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::fixtures;

    fn answer(protocol: Protocol, status: u16, grpc_status: Option<&str>) -> Answer {
        let mut answer = fixtures::answer(protocol, status, "");
        if let Some(status) = grpc_status {
            answer.headers.insert("grpc-status", status.parse().unwrap());
        }
        answer
    }

    #[test]
    fn what_a_server_writes_for_a_status_is_no_kind_of_its_own() {
        let of = |status| answer(Protocol::Grpc, 200, Some(status)).outcome();
        assert_eq!((of("0").as_str(), of("16").as_str(), of("08").as_str()), ("grpc 0", "grpc 16", "grpc 8"));
        for status in ["17", "-1", "", "0 or so", "99999999999999999999", "\u{e9}"] {
            assert_eq!(of(status), "grpc with a malformed status", "{status}");
        }
    }

    #[test]
    fn any_2xx_is_right_over_http_and_only_200_with_a_status_of_0_over_grpc() {
        for (status, right) in [(200, true), (201, true), (204, true), (199, false), (300, false), (304, false)] {
            assert_eq!(answer(Protocol::V2, status, None).is_ok(), right, "{status}");
        }
        for (status, right) in [(200, true), (204, false)] {
            assert_eq!(answer(Protocol::Grpc, status, Some("0")).is_ok(), right, "{status}");
        }
    }
}
