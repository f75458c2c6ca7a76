//! Open Inference Protocol V2 over HTTP.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use weirgate_protocol::v2::Encoded;
use weirgate_protocol::{Error, InferRequest, InferResponse, LoadedModel, ModelSpec, Protocol, Result, v2};

use super::parts::{
    Named, NamedVersion, Pieces, Shared, codings, discard, json, path_names, taken, unread, unversioned, versioned,
};
use crate::explain::told;
use crate::gateway::{Asked, Gateway};
use crate::pipeline::{self, InferCall, Served};
use crate::respond::{self, Dialect, Refusal};
use crate::server::address::{Address, Prefix, TakenPrefix};
use crate::server::body::BodyReader;
use crate::server::codings::Accepted;
use crate::server::edge::{Arrival, Arrived};
use crate::texts::{self, Asking, TOLD, TextCall};

/// `Inference-Header-Content-Length`, as the `http` crate wants header names.
pub const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

pub fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/v2", get(server_metadata))
        .route("/v2/health/live", get(live))
        .route("/v2/health/ready", get(ready))
        .route("/v2/models/{model}", get(model_metadata))
        .route("/v2/models/{model}/ready", get(model_ready))
        .route("/v2/models/{model}/infer", post(infer))
        .route("/v2/models/{model}/generate", post(no_text))
        .route("/v2/models/{model}/generate_stream", post(no_text))
        .route("/v2/models/{model}/versions/{version}", get(model_version_metadata))
        .route("/v2/models/{model}/versions/{version}/ready", get(model_version_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer_version))
}

pub async fn infer(State(gateway): Shared, model: Named, request: Request) -> Response {
    let (prefix, arrived) = taken(&request);
    match path_names(model) {
        Ok(model) => infer_model(&gateway, &model, prefix.as_ref().map(TakenPrefix::as_prefix), arrived, request).await,
        Err(error) => unread(request, respond::rest_error(&error)).await,
    }
}

/// A call to generate text that was not passed on: whoever it is for takes tensors.
async fn no_text(State(gateway): Shared, model: Named, request: Request) -> Response {
    let address = Address::of(&request);
    let error = match path_names(model) {
        Ok(model) => match gateway.service(&Asked { model: &model, version: "", address }) {
            Ok(_) => Error::invalid(format!("model '{model}' takes tensors: call /v2/models/{model}/infer")),
            Err(error) => error,
        },
        Err(error) => error,
    };
    unread(request, respond::rest_error(&error)).await
}

/// Infers with a model whose name is known.
pub async fn infer_model(
    gateway: &Gateway,
    model: &str,
    prefix: Option<Prefix<'_>>,
    arrived: Arrived,
    request: Request,
) -> Response {
    run(gateway, (model, ""), prefix, arrived, request).await.unwrap_or_else(|refusal| refusal.answer(Dialect::Rest))
}

pub async fn infer_version(State(gateway): Shared, named_version: NamedVersion, request: Request) -> Response {
    let (prefix, arrived) = taken(&request);
    let prefix = prefix.as_ref().map(TakenPrefix::as_prefix);
    match versioned(named_version) {
        Ok((model, version)) => {
            let answer = run(&gateway, (&model, &version), prefix, arrived, request).await;
            answer.unwrap_or_else(|refusal| refusal.answer(Dialect::Rest))
        }
        Err(error) => unread(request, respond::rest_error(&error)).await,
    }
}

async fn run(
    gateway: &Gateway,
    model: (&str, &str),
    prefix: Option<Prefix<'_>>,
    arrived: Arrived,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let mut body = BodyReader::new(body, 0, gateway.config.client_timeout);
    let answer = infer_tensors(gateway, model, prefix, arrived, &parts, &mut body).await;
    if answer.is_err() {
        discard(&mut body, &parts.headers).await;
    }
    answer
}

async fn infer_tensors(
    gateway: &Gateway,
    (model, version): (&str, &str),
    prefix: Option<Prefix<'_>>,
    arrived: Arrived,
    parts: &http::request::Parts,
    body: &mut BodyReader<Body>,
) -> Result<Response, Refusal> {
    let arrival = Arrival::new(parts, arrived, Protocol::V2Http)?;
    body.set_codings(codings(&arrival, model, &parts.headers)?);
    let accepted = Accepted::of(&parts.headers);
    let header_length = parts.headers.get(HEADER_LENGTH).map(HeaderValue::as_bytes).map(String::from_utf8_lossy);
    let call = InferCall {
        arrival: &arrival,
        asked: Asked { model, version, address: Address::new(prefix, parts) },
        body,
        passes: Some(parts),
        decode: |bytes: Bytes, _: &ModelSpec| v2::decode_request(&bytes, header_length.as_deref()),
    };
    let asked = call.asked;
    let mut answered = match pipeline::infer(gateway, call).await? {
        Served::Answered(answered) => answered,
        Served::Passed(response) => return Ok(response),
        Served::Text(call) => {
            let asking = Asking { arrival: &arrival, asked: &asked, parts, streams: false };
            return Box::pin(infer_text(gateway, *call, &asking, accepted)).await;
        }
    };
    let mut headers = HeaderMap::with_capacity(8);
    let encode = |response, request: &InferRequest| {
        let mut encoded = v2::encode_response(&response, request)?;
        encoded.parts = accepted.apply(encoded.parts, &mut headers)?;
        Ok(encoded)
    };
    let encoded = answered.encode(accepted.any(), encode).await?;
    answered.finish(&mut headers);
    Ok(respond_with(encoded, headers))
}

/// Infers with a model that goes on with texts.
async fn infer_text(
    gateway: &Gateway,
    call: TextCall,
    asking: &Asking<'_>,
    accepted: Accepted,
) -> Result<Response, Refusal> {
    let request = InferRequest { inputs: Vec::new(), extras: None, ..call.request.clone() };
    let text = call.ask(gateway, asking).await?;
    let mut headers = HeaderMap::with_capacity(8);
    headers.extend(TOLD.into_iter().filter_map(|name| Some((name.clone(), text.headers().get(&name)?.clone()))));
    let piece = texts::whole(text).await?;
    let response = InferResponse {
        model_name: asking.asked.model.into(),
        model_version: None,
        id: request.id.clone(),
        outputs: vec![v2::text_output(&piece.text)?],
    };
    let mut encoded = v2::encode_response(&response, &request)?;
    encoded.parts = accepted.apply(encoded.parts, &mut headers)?;
    Ok(respond_with(encoded, headers))
}

fn respond_with(encoded: Encoded, mut headers: HeaderMap) -> Response {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(encoded.content_type()));
    if let Some(length) = encoded.header_length {
        headers.insert(HEADER_LENGTH, length.into());
    }
    let mut response = Response::new(Body::new(Pieces(encoded.parts.into())));
    *response.headers_mut() = headers;
    response
}

pub async fn server_metadata(State(gateway): Shared) -> Response {
    let (name, version) = crate::gateway::SERVER;
    json(StatusCode::OK, v2::server_metadata(name, version, gateway.extensions()))
}

pub async fn live() -> Response {
    json(StatusCode::OK, v2::live(true))
}

pub async fn ready(State(gateway): Shared, request: Request) -> Response {
    match gateway.ready(&Address::of(&request)) {
        Ok(true) => json(StatusCode::OK, v2::ready(true)),
        Ok(false) => json(StatusCode::SERVICE_UNAVAILABLE, v2::ready(false)),
        Err(error) => respond::rest_error(&error),
    }
}

pub async fn model_metadata(State(gateway): Shared, model: Named, request: Request) -> Response {
    with_model(&gateway, unversioned(model), &request, metadata)
}

pub async fn model_version_metadata(State(gateway): Shared, asked: NamedVersion, request: Request) -> Response {
    with_model(&gateway, versioned(asked), &request, metadata)
}

pub async fn model_ready(State(gateway): Shared, model: Named, request: Request) -> Response {
    with_model(&gateway, unversioned(model), &request, |name, _, _| v2::model_ready(name, true))
}

pub async fn model_version_ready(State(gateway): Shared, asked: NamedVersion, request: Request) -> Response {
    with_model(&gateway, versioned(asked), &request, |name, _, _| v2::model_ready(name, true))
}

fn metadata(name: &str, model: &LoadedModel, spec: &ModelSpec) -> Bytes {
    v2::model_metadata(name, &model.versions(), spec)
}

/// Answers what a loaded model is asked about, or why there is none.
fn with_model(
    gateway: &Gateway,
    asked: Result<(String, String)>,
    request: &Request,
    answer: impl FnOnce(&str, &LoadedModel, &ModelSpec) -> Bytes,
) -> Response {
    let address = Address::of(request);
    let answered = asked.and_then(|(name, version)| {
        let model = gateway.model_by(&Asked { model: &name, version: &version, address }, Protocol::V2Http)?;
        Ok(answer(&name, &model, model.version(&version)?))
    });
    match answered {
        Ok(body) => json(StatusCode::OK, body),
        Err(error) => respond::rest_error(&told(request.extensions(), request.headers(), error)),
    }
}
