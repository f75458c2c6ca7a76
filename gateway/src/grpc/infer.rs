//! `ModelInfer`.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use weirgate_protocol::oip::{self, ModelInferRequest};
use weirgate_protocol::{Error, Protocol, Result};

use super::peek::{LIMIT, Peek, peek};
use super::unary::{self, PREFIX};
use crate::gateway::Gateway;
use crate::observe::count_unrouted;
use crate::pipeline::{self, InferCall};
use crate::respond;
use crate::server::body::BodyReader;
use crate::server::edge::{self, Arrival};

pub(super) async fn model_infer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    run(&gateway, request).await.unwrap_or_else(|error| respond::grpc_error(&error).into_http())
}

async fn run(gateway: &Gateway, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let arrival = Arrival::new(&parts, Protocol::V2Grpc)?;
    let mut body = BodyReader::new(body, PREFIX, gateway.config.client_timeout);
    let found = find_model(gateway, &arrival, &mut body).await;
    let (model, version) = found.inspect_err(|error| count_unrouted(Protocol::V2Grpc, error.code()))?;
    let mut raw = false;
    let call = InferCall {
        arrival: &arrival,
        model: &model,
        version: &version,
        body,
        decode: |bytes: Bytes| {
            let message: ModelInferRequest = unary::decode(unary::message(bytes)?)?;
            let (request, answer_raw) = oip::decode_request(message)?;
            raw = answer_raw;
            Ok(request)
        },
    };
    let mut answered = pipeline::infer(gateway, call).await?;
    let response = std::mem::take(&mut answered.response);
    let message = match oip::encode_response(response, raw) {
        Ok(message) => message,
        Err(error) => {
            answered.refuse(&error);
            return Err(error);
        }
    };
    let mut headers = HeaderMap::with_capacity(4);
    edge::stamp(&mut headers, &answered.finish());
    Ok(unary::respond_with(&message, headers))
}

/// Reads as much of the message as it takes to route it.
async fn find_model(gateway: &Gateway, arrival: &Arrival, body: &mut BodyReader<Body>) -> Result<(String, String)> {
    // The service's own timeout is not known yet; this bounds only the reading of the first bytes.
    let deadline = Instant::now() + arrival.timeout.unwrap_or(gateway.config.client_timeout);
    unary::read_prefix(body, deadline).await?;
    body.check_length(gateway.config.max_body).await?;
    let mut whole = false;
    loop {
        match peek(body.peeked().get(PREFIX..).unwrap_or_default(), whole || body.is_complete()) {
            Peek::Found { model, version } => return Ok((model, version)),
            Peek::More if body.peeked().len() < LIMIT => whole = !body.peek_more(deadline).await?,
            Peek::More | Peek::Missing => {
                return Err(Error::invalid(format!(
                    "model_name is not set within the first {LIMIT} bytes of the message"
                )));
            }
        }
    }
}
