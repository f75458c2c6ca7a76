//! Open Inference Protocol V2 over HTTP.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use http_body::{Frame, SizeHint};
use weirgate_protocol::{Error, ModelSpec, Protocol, Result, v2};

use crate::gateway::Gateway;
use crate::pipeline::{self, InferCall};
use crate::respond;
use crate::server::body::BodyReader;
use crate::server::edge::{self, Arrival};

/// `Inference-Header-Content-Length`, as the `http` crate wants header names.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

type Shared = State<Arc<Gateway>>;

pub async fn infer(State(gateway): Shared, Path(model): Path<String>, request: Request) -> Response {
    run(&gateway, &model, "", request).await.unwrap_or_else(|error| respond::v2_error(&error))
}

pub async fn infer_version(
    State(gateway): Shared,
    Path((model, version)): Path<(String, String)>,
    request: Request,
) -> Response {
    run(&gateway, &model, &version, request).await.unwrap_or_else(|error| respond::v2_error(&error))
}

async fn run(gateway: &Gateway, model: &str, version: &str, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let arrival = Arrival::new(&parts, Protocol::V2Http)?;
    refuse_encoding(&parts.headers)?;
    let header_length = parts.headers.get(HEADER_LENGTH).map(HeaderValue::as_bytes).map(String::from_utf8_lossy);
    let call = InferCall {
        arrival: &arrival,
        model,
        version,
        body: BodyReader::new(body, 0, gateway.config.client_timeout),
        decode: |bytes: Bytes| v2::decode_request(&bytes, header_length.as_deref()),
    };
    let answered = pipeline::infer(gateway, call).await?;
    let encoded = match v2::encode_response(&answered.response, &answered.request) {
        Ok(encoded) => encoded,
        Err(error) => {
            answered.refuse(&error);
            return Err(error);
        }
    };
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(encoded.content_type()));
    if let Some(length) = encoded.header_length {
        headers.insert(HEADER_LENGTH, length.into());
    }
    edge::stamp(&mut headers, &answered.finish());
    let mut response = Response::new(Body::new(Pieces(encoded.parts.into())));
    *response.headers_mut() = headers;
    Ok(response)
}

fn refuse_encoding(headers: &HeaderMap) -> Result<()> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(value) if value != "identity" => {
            let shown: String = String::from_utf8_lossy(value.as_bytes()).chars().take(32).collect();
            Err(Error::unsupported(format!("content-encoding '{shown}' is not supported yet: send the body as it is")))
        }
        _ => Ok(()),
    }
}

/// A body of known pieces: the JSON head, and tensors where they lie.
struct Pieces(VecDeque<Bytes>);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|piece| piece.len() as u64).sum())
    }
}

pub async fn server_metadata() -> Response {
    let (name, version, extensions) = crate::gateway::SERVER;
    json(StatusCode::OK, v2::server_metadata(name, version, extensions))
}

pub async fn live() -> Response {
    json(StatusCode::OK, v2::live(true))
}

pub async fn ready(State(gateway): Shared) -> Response {
    let ready = gateway.all_models_ready();
    json(if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, v2::ready(ready))
}

pub async fn model_metadata(State(gateway): Shared, Path(model): Path<String>) -> Response {
    with_model(&gateway, &model, "", |spec| v2::model_metadata(&model, &[] as &[&str], spec))
}

pub async fn model_version_metadata(
    State(gateway): Shared,
    Path((model, version)): Path<(String, String)>,
) -> Response {
    with_model(&gateway, &model, &version, |spec| v2::model_metadata(&model, &[] as &[&str], spec))
}

pub async fn model_ready(State(gateway): Shared, Path(model): Path<String>) -> Response {
    with_model(&gateway, &model, "", |_| v2::model_ready(&model, true))
}

pub async fn model_version_ready(State(gateway): Shared, Path((model, version)): Path<(String, String)>) -> Response {
    with_model(&gateway, &model, &version, |_| v2::model_ready(&model, true))
}

/// Answers what a loaded model is asked about, or why there is none.
fn with_model(gateway: &Gateway, model: &str, version: &str, answer: impl FnOnce(&ModelSpec) -> Bytes) -> Response {
    match gateway.loaded(model, version) {
        Ok(spec) => json(StatusCode::OK, answer(&spec)),
        Err(error) => respond::v2_error(&error),
    }
}

fn json(status: StatusCode, body: Bytes) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
