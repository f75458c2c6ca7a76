//! `ModelInfer`.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use weirgate_protocol::deadline::MAX_TIMEOUT;
use weirgate_protocol::oip::peek::{LIMIT, Peek, check_counts, peek};
use weirgate_protocol::oip::{self, ModelInferRequest};
use weirgate_protocol::{Error, InferRequest, ModelSpec, Protocol, Result};

use super::unary::{self, PREFIX};
use crate::gateway::{Asked, Gateway};
use crate::pipeline::{self, InferCall};
use crate::respond::{Dialect, Refusal};
use crate::server::address::Address;
use crate::server::body::BodyReader;
use crate::server::edge::{Arrival, Arrived};

pub(super) async fn model_infer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let arrived = Arrived::of(request.extensions(), request.headers());
    infer_model(&gateway, arrived, request).await
}

/// Infers with the model that the message names.
pub async fn infer_model(gateway: &Gateway, arrived: Arrived, request: Request) -> Response {
    run(gateway, arrived, request).await.unwrap_or_else(|refusal| refusal.answer(Dialect::Grpc))
}

async fn run(gateway: &Gateway, arrived: Arrived, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let arrival = Arrival::new(&parts, arrived, Protocol::V2Grpc)?;
    let mut body = BodyReader::new(body, PREFIX, gateway.config.client_timeout);
    let found = async {
        unary::check_content_type(&parts)?;
        find_model(gateway, &arrival, &mut body).await
    };
    let (model, version) = found.await.inspect_err(|error| pipeline::refuse_unrouted(&arrival, "", error))?;
    let mut raw = false;
    let call = InferCall {
        arrival: &arrival,
        asked: Asked { model: &model, version: &version, address: Address::new(None, &parts.uri, &parts.headers) },
        body: &mut body,
        decode: |bytes: Bytes, _: &ModelSpec| {
            let bytes = unary::message(bytes)?;
            check_counts(&bytes)?;
            let message: ModelInferRequest = unary::decode(bytes)?;
            if message.model_name != model || message.model_version != version {
                return Err(Error::invalid(
                    "model_name and model_version must come once, before all other fields of the message",
                ));
            }
            let (request, answer_raw) = oip::decode_request(message)?;
            raw = answer_raw;
            Ok(request)
        },
    };
    let mut answered = pipeline::infer(gateway, call).await?;
    let encode = |response, _: &InferRequest| unary::frame(&oip::encode_response(response, raw)?);
    let frame = answered.encode(encode).await?;
    let mut headers = HeaderMap::with_capacity(6);
    answered.finish(&mut headers);
    Ok(unary::respond_with(frame, headers))
}

/// Reads as much of the message as it takes to route it.
async fn find_model(gateway: &Gateway, arrival: &Arrival, body: &mut BodyReader<Body>) -> Result<(String, String)> {
    // The service's own timeout is not known yet.
    let deadline = arrival.head.arrived + arrival.timeout.unwrap_or(MAX_TIMEOUT);
    unary::read_prefix(body, deadline).await?;
    body.check_length(gateway.body_limit())?;
    let mut whole = false;
    let mut look_at = 0;
    loop {
        whole |= body.is_complete();
        let read = body.peeked().len();
        if whole || read >= look_at {
            // Looking again only at twice the bytes keeps many tiny pieces cheap.
            look_at = (2 * read).min(LIMIT);
            match peek(body.peeked().get(PREFIX..).unwrap_or_default(), whole) {
                Peek::Found { model, version } => return Ok((model, version)),
                Peek::More if read < LIMIT => {}
                Peek::More | Peek::Missing => {
                    let text = format!("model_name is not set within the first {LIMIT} bytes of the message");
                    return Err(Error::invalid(text));
                }
            }
        }
        whole = !body.peek_more(deadline).await?;
    }
}
