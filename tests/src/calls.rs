//! Calls for tensors and what they are answered with.

use std::time::Duration;

use http::request::Builder;
use http::{Method, Request};
use http_body_util::Full;
use weirgate_protocol::tensor::raw_bytes;
use weirgate_protocol::{Datatype, InferRequest, Shape, Tensor, v2};

use crate::http::Body;

/// A request for a model with the one input `x`, FP32: rows of equal length.
pub fn rows(rows: &[&[f32]]) -> InferRequest {
    let width = rows.first().map_or(0, |row| row.len());
    let shape = Shape::from_slice(&[rows.len(), width]);
    let x = Tensor::new("x", Datatype::Fp32, shape, raw_bytes(rows.concat())).unwrap();
    InferRequest { inputs: vec![x], ..Default::default() }
}

/// One row of FP32 for `x`.
pub fn row(values: &[f32]) -> InferRequest {
    rows(&[values])
}

/// One row of INT64 for the input of this name.
pub fn ids(name: &str, values: &[i64]) -> InferRequest {
    let shape = Shape::from_slice(&[1, values.len()]);
    let tensor = Tensor::new(name, Datatype::Int64, shape, raw_bytes(values.to_vec())).unwrap();
    InferRequest { inputs: vec![tensor], ..Default::default() }
}

/// The elements of an FP32 tensor.
pub fn values(tensor: &Tensor) -> Vec<f32> {
    assert_eq!(tensor.datatype, Datatype::Fp32);
    tensor.data.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

/// The same call with an id.
pub fn with_id(id: impl Into<String>, request: InferRequest) -> InferRequest {
    InferRequest { id: Some(id.into()), ..request }
}

/// A REST call, in JSON or with binary tensors both ways; headers may be added to it.
pub fn rest(model: &str, request: &InferRequest, binary: bool) -> (Builder, Body) {
    let request = InferRequest { binary_outputs: binary, ..request.clone() };
    let encoded = v2::encode_request(&request, binary).unwrap();
    let mut builder = post(model).header("content-type", encoded.content_type());
    if let Some(length) = encoded.header_length {
        builder = builder.header(v2::HEADER_LENGTH, length);
    }
    (builder, Full::new(encoded.into_bytes()))
}

/// A REST call in JSON.
pub fn json(model: &str, request: &InferRequest) -> Request<Body> {
    let (builder, body) = rest(model, request, false);
    builder.body(body).unwrap()
}

/// A REST call in JSON that may take this long.
pub fn json_within(model: &str, request: &InferRequest, timeout: Duration) -> Request<Body> {
    let (builder, body) = rest(model, request, false);
    builder.header("x-request-timeout-seconds", timeout.as_secs_f64().to_string()).body(body).unwrap()
}

/// The head of a call to a model.
pub fn post(model: &str) -> Builder {
    Request::builder().method(Method::POST).uri(format!("/v2/models/{model}/infer")).header("host", "weirgate.test")
}

/// A call with any text for a body.
pub fn post_text(model: &str, body: impl Into<bytes::Bytes>) -> Request<Body> {
    post(model).header("content-type", "application/json").body(Full::new(body.into())).unwrap()
}
