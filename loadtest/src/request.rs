//! Requests that are prepared once and sent many times, and the answers to them.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use prost::Message;
use weirgate_protocol::{InferRequest, InferResponse, oip, v2};

use crate::Result;

/// `Inference-Header-Content-Length`, as the `http` crate wants header names.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// The flag and length before each gRPC message.
const PREFIX: usize = 5;

/// How a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// V2 over HTTP/1.1, tensors in JSON.
    HttpJson,
    /// V2 over HTTP/1.1, tensors in binary both ways.
    HttpBinary,
    /// V2 over gRPC, raw tensors.
    Grpc,
}

impl Wire {
    pub const ALL: [Wire; 3] = [Wire::HttpJson, Wire::HttpBinary, Wire::Grpc];

    pub const fn label(self) -> &'static str {
        match self {
            Wire::HttpJson => "http json",
            Wire::HttpBinary => "http binary",
            Wire::Grpc => "grpc",
        }
    }
}

/// A request as bytes; sending it copies nothing but its head.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub wire: Wire,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Prepared {
    /// Encodes `request` for `model` with the protocol's own codecs.
    pub fn new(wire: Wire, model: &str, mut request: InferRequest) -> Result<Prepared> {
        let mut headers = HeaderMap::new();
        let (uri, body) = match wire {
            Wire::HttpJson | Wire::HttpBinary => {
                let binary = wire == Wire::HttpBinary;
                request.binary_outputs = binary;
                let encoded = v2::encode_request(&request, binary).map_err(crate::error)?;
                headers.insert(header::HOST, HeaderValue::from_static("localhost"));
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(encoded.content_type()));
                if let Some(length) = encoded.header_length {
                    headers.insert(HEADER_LENGTH, length.into());
                }
                (format!("/v2/models/{model}/infer"), encoded.into_bytes())
            }
            Wire::Grpc => {
                let message = oip::encode_request(model, None, request, true).map_err(crate::error)?;
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
                headers.insert(header::TE, HeaderValue::from_static("trailers"));
                ("http://localhost/inference.GRPCInferenceService/ModelInfer".to_owned(), framed(&message)?)
            }
        };
        Ok(Prepared { wire, uri: uri.parse().map_err(crate::error)?, headers, body })
    }

    /// The same request with one more header.
    pub fn with_header(mut self, name: &'static str, value: HeaderValue) -> Prepared {
        self.headers.insert(HeaderName::from_static(name), value);
        self
    }

    /// Bytes of the body.
    pub fn body_len(&self) -> usize {
        self.body.len()
    }

    pub(crate) fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

fn framed(message: &impl Message) -> Result<Bytes> {
    let length = message.encoded_len();
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(length).map_err(crate::error)?);
    message.encode(&mut bytes).map_err(crate::error)?;
    Ok(bytes.freeze())
}

/// What came back: the head, the whole body, and the trailers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub wire: Wire,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

impl Answer {
    /// Whether the call went well, by its protocol's own rules.
    pub fn is_ok(&self) -> bool {
        self.status == 200 && (self.wire != Wire::Grpc || self.grpc_status() == Some("0"))
    }

    /// What the protocol calls the outcome, as `200`, `429` or `grpc 8`.
    pub fn outcome(&self) -> String {
        match self.wire {
            Wire::Grpc => format!("grpc {}", self.grpc_status().unwrap_or("without a status")),
            _ => self.status.to_string(),
        }
    }

    fn grpc_status(&self) -> Option<&str> {
        let trailers = self.trailers.as_ref().unwrap_or(&self.headers);
        trailers.get("grpc-status")?.to_str().ok()
    }

    /// Reads the tensors.
    pub fn decode(&self) -> Result<InferResponse> {
        if !self.is_ok() {
            return Err(crate::error(format!("{}: {}", self.outcome(), String::from_utf8_lossy(&self.body))));
        }
        match self.wire {
            Wire::Grpc => {
                let message = self.body.get(PREFIX..).unwrap_or_default();
                let message = oip::ModelInferResponse::decode(message).map_err(crate::error)?;
                oip::decode_response(message).map_err(crate::error)
            }
            _ => {
                let length = self.headers.get(HEADER_LENGTH).and_then(|value| value.to_str().ok());
                v2::decode_response(&self.body, length).map_err(crate::error)
            }
        }
    }
}
