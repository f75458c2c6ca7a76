//! A gRPC client on one h2c connection.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, Method, Request};
use http_body_util::Full;
use prost::Message;
use weirgate_protocol::{InferRequest, InferResponse, oip};

use crate::http::{Body, Http2, Reply};

pub const OK: i32 = 0;
pub const CANCELLED: i32 = 1;
pub const INVALID_ARGUMENT: i32 = 3;
pub const DEADLINE_EXCEEDED: i32 = 4;
pub const NOT_FOUND: i32 = 5;
pub const RESOURCE_EXHAUSTED: i32 = 8;
pub const UNIMPLEMENTED: i32 = 12;
pub const INTERNAL: i32 = 13;
pub const UNAVAILABLE: i32 = 14;

/// The path of `ModelInfer`.
pub const MODEL_INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

/// A call that was not answered with a message.
#[derive(Clone, Debug)]
pub struct Refused {
    pub code: i32,
    pub message: String,
    pub metadata: Box<HeaderMap>,
}

/// A client; clones share its connection.
#[derive(Clone)]
pub struct Grpc(pub Http2);

impl Grpc {
    pub async fn connect(address: SocketAddr) -> Grpc {
        Grpc(Http2::connect(address).await)
    }

    /// Calls any method. The outer error is one of the connection.
    pub async fn try_call<Q: Message, A: Message + Default>(
        &self,
        path: &str,
        message: &Q,
        timeout: Option<Duration>,
    ) -> Result<Result<A, Refused>, String> {
        let mut request = request(path, frame(0, &message.encode_to_vec()));
        if let Some(timeout) = timeout {
            let value = format!("{}m", timeout.as_millis()).parse().unwrap();
            request.headers_mut().insert("grpc-timeout", value);
        }
        Ok(answer(&self.0.try_send(request).await?).map(|bytes| A::decode(bytes).unwrap()))
    }

    pub async fn call<Q: Message, A: Message + Default>(&self, path: &str, message: &Q) -> Result<A, Refused> {
        self.try_call(path, message, None).await.expect("the stream answers")
    }

    /// Runs a model with typed contents.
    pub async fn infer(&self, model: &str, request: &InferRequest) -> Result<InferResponse, Refused> {
        self.try_infer(model, request, false, None).await.expect("the stream answers")
    }

    /// Runs a model within a time.
    pub async fn infer_within(
        &self,
        model: &str,
        request: &InferRequest,
        timeout: Duration,
    ) -> Result<InferResponse, Refused> {
        self.try_infer(model, request, false, Some(timeout)).await.expect("the stream answers")
    }

    /// Runs a model, with raw or typed contents. The outer error is one of the connection.
    pub async fn try_infer(
        &self,
        model: &str,
        request: &InferRequest,
        raw: bool,
        timeout: Option<Duration>,
    ) -> Result<Result<InferResponse, Refused>, String> {
        let message = oip::encode_request(model, None, request.clone(), raw).unwrap();
        let answer: Result<oip::ModelInferResponse, Refused> = self.try_call(MODEL_INFER, &message, timeout).await?;
        Ok(answer.map(|message| oip::decode_response(message).unwrap()))
    }
}

/// A message with its flag and length.
pub fn frame(flag: u8, message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.len());
    bytes.put_u8(flag);
    bytes.put_u32(u32::try_from(message.len()).unwrap());
    bytes.put_slice(message);
    bytes.freeze()
}

/// A gRPC call with this body.
pub fn request(path: &str, body: Bytes) -> Request<Body> {
    Request::builder()
        .method(Method::POST)
        .uri(path)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Full::new(body))
        .unwrap()
}

/// The message of an answer, or its refusal. The status is a trailer, or a header where there is no message.
pub fn answer(reply: &Reply) -> Result<Bytes, Refused> {
    assert_eq!(reply.status, 200, "a gRPC answer is HTTP 200: {reply:?}");
    let metadata = if reply.headers.contains_key("grpc-status") { &reply.headers } else { &reply.trailers };
    let status = status(metadata);
    if status.code != OK {
        return Err(status);
    }
    let length = u32::from_be_bytes(reply.body[1..5].try_into().unwrap()) as usize;
    assert_eq!((reply.body[0], reply.body.len()), (0, 5 + length), "an answer is one uncompressed message");
    Ok(reply.body.slice(5..))
}

/// The status within headers or trailers.
pub fn status(metadata: &HeaderMap) -> Refused {
    let text = |name: &str| metadata.get(name).map(|value| value.to_str().unwrap());
    let code = text("grpc-status").unwrap_or_else(|| panic!("there is no grpc-status: {metadata:?}")).parse().unwrap();
    let message = percent_decoded(text("grpc-message").unwrap_or_default());
    Refused { code, message, metadata: metadata.clone().into() }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let hex = (first == b'%').then(|| tail.get(..2)).flatten();
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).expect("grpc-message is UTF-8")
}
