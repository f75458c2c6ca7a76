//! `ModelInfer`.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use http::request::Parts;
use weirgate_protocol::deadline::MAX_TIMEOUT;
use weirgate_protocol::oip::peek::{LIMIT, Peek, check_counts, peek};
use weirgate_protocol::oip::{self, ModelInferRequest};
use weirgate_protocol::{Error, ErrorCode, InferRequest, ModelSpec, Protocol, Result};

use super::compression;
use super::texts::About;
use super::unary::{self, PREFIX};
use crate::gateway::{Asked, Gateway};
use crate::pipeline::{self, InferCall, Served};
use crate::respond::{Dialect, Refusal};
use crate::server::address::Address;
use crate::server::body::{BodyLimit, BodyReader};
use crate::server::edge::{Arrival, Arrived};
use crate::server::encoding::{self, Encoding};
use crate::texts::{Asking, TextCall};

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
        find_model(gateway, &arrival, &parts.headers, &mut body).await
    };
    let found = found.await.inspect_err(|error| pipeline::refuse_unrouted(&arrival, "", error));
    let model = found.map_err(compression::refusal)?;
    let encoding = compression::of_answer(model.encoding, &parts.headers);
    let message = InferMessage { arrival: &arrival, parts: &parts, model: &model, body: &mut body, alone: true };
    let (served, raw) = message.infer(gateway, |_| ()).await?;
    let mut answered = match served {
        Served::Answered(answered) => answered,
        Served::Passed(response) => return Ok(response),
        Served::Text(call) => {
            let about = model.about(&call, raw, encoding);
            let asked = model.asked(&parts);
            let asking = Asking { arrival: &arrival, asked: &asked, parts: &parts, streams: false };
            return about.whole(Box::pin(call.ask(gateway, &asking)).await?).await;
        }
    };
    let mut headers = HeaderMap::with_capacity(6);
    let encode = |response, _: &InferRequest| oip::encode_response(response, raw);
    let frame = match encoding {
        None => answered.encode(false, |response, request| unary::frame(&encode(response, request)?)).await?,
        Some(_) => {
            compression::announce(encoding, &mut headers);
            let frame = |response, request: &_| compression::frame(&encode(response, request)?, encoding);
            answered.encode(true, frame).await?
        }
    };
    answered.finish(&mut headers);
    Ok(unary::respond_with(frame, headers))
}

/// How much of a compressed message is read for the first bytes of what it holds: a block of zstd gives nothing until it is
/// whole, and may have 128 KiB.
const PACKED_LIMIT: usize = 4 * LIMIT;

/// The model that a message asks for.
pub(super) struct Named {
    model: String,
    version: String,
    /// How the message is compressed.
    pub(super) encoding: Option<Encoding>,
}

impl Named {
    /// What is asked for by a call with this head.
    pub(super) fn asked<'a>(&'a self, parts: &'a Parts) -> Asked<'a> {
        Asked { model: &self.model, version: &self.version, address: Address::new(None, parts) }
    }

    /// What the answers to a call for a text say.
    pub(super) fn about(&self, call: &TextCall, raw: bool, encoding: Option<Encoding>) -> About {
        let id = call.request.id.clone().unwrap_or_default();
        About { id, model: self.model.as_str().into(), raw, encoding }
    }
}

/// One message to infer with, of which the first bytes have been read.
pub(super) struct InferMessage<'a> {
    pub(super) arrival: &'a Arrival,
    /// The head of the call that the message came in.
    pub(super) parts: &'a Parts,
    pub(super) model: &'a Named,
    pub(super) body: &'a mut BodyReader<Body>,
    /// The call has no other message.
    pub(super) alone: bool,
}

impl InferMessage<'_> {
    /// Runs it. `seen` is shown the decoded message. Also returns whether the answer is to be raw.
    pub(super) async fn infer(
        self,
        gateway: &Gateway,
        mut seen: impl FnMut(&ModelInferRequest),
    ) -> Result<(Served, bool), Refusal> {
        let Named { model, version, encoding } = self.model;
        let mut raw = false;
        let call = InferCall {
            arrival: self.arrival,
            asked: self.model.asked(self.parts),
            body: self.body,
            passes: self.alone.then_some(self.parts),
            decode: |bytes: Bytes, _: &ModelSpec| {
                // With a compressed message, its prefix is gone too.
                let bytes = if encoding.is_some() { bytes } else { unary::message(bytes)? };
                check_counts(&bytes)?;
                let message: ModelInferRequest = unary::decode(bytes)?;
                if message.model_name != *model || message.model_version != *version {
                    return Err(Error::invalid(
                        "model_name and model_version must come once, before all other fields of the message",
                    ));
                }
                seen(&message);
                let (request, answer_raw) = oip::decode_request(message)?;
                raw = answer_raw;
                Ok(request)
            },
        };
        let served = pipeline::infer(gateway, call).await?;
        Ok((served, raw))
    }
}

/// Reads as much of the message as it takes to route it.
pub(super) async fn find_model(
    gateway: &Gateway,
    arrival: &Arrival,
    headers: &HeaderMap,
    body: &mut BodyReader<Body>,
) -> Result<Named> {
    // The service's own timeout is not known yet.
    let deadline = arrival.head.arrived + arrival.timeout.unwrap_or(MAX_TIMEOUT);
    let encoding = unary::read_prefix(body, headers, deadline).await?;
    body.check_length(arrival.body_limit(gateway.body_limit()))?;
    let mut whole = false;
    let mut look_at = 0;
    loop {
        whole |= body.is_complete();
        let read = body.peeked().len();
        if whole || read >= look_at {
            // Looking again only at twice the bytes keeps many tiny pieces cheap.
            let most = if encoding.is_some() { PACKED_LIMIT } else { LIMIT };
            look_at = (2 * read).min(most);
            let start = start_of(body.peeked().get(PREFIX..).unwrap_or_default(), encoding);
            match peek(&start, whole && start.len() < LIMIT) {
                Peek::Found { model, version } => return Ok(Named { model, version, encoding }),
                Peek::More if read < most && start.len() < LIMIT => {}
                Peek::Broken if encoding.is_none() => {
                    return Err(Error::invalid("the message can't be decoded: its first bytes are no fields"));
                }
                Peek::More | Peek::Missing | Peek::Broken => return Err(no_name(body, encoding)),
            }
        }
        whole = !body.peek_more(deadline).await?;
    }
}

/// The first bytes of a message that is not compressed any more.
fn start_of(read: &[u8], encoding: Option<Encoding>) -> Cow<'_, [u8]> {
    match encoding {
        None => read.into(),
        Some(encoding) => encoding::start(encoding, read, LIMIT).into(),
    }
}

/// Why a message has no name: where it can't be decompressed, that.
fn no_name(body: &BodyReader<Body>, encoding: Option<Encoding>) -> Error {
    let read = Bytes::copy_from_slice(body.peeked());
    let limit = BodyLimit { bytes: LIMIT, set_by: "for the place of model_name" };
    match body.codings().undo_framed(read, PREFIX, limit, |_| Ok(())) {
        Err(error) if encoding.is_some() && error.code() == ErrorCode::InvalidRequest => error,
        _ => Error::invalid(format!("model_name is not set within the first {LIMIT} bytes of the message")),
    }
}

/// The model that a call's first message names.
pub async fn peek_model(
    gateway: &Gateway,
    arrival: &Arrival,
    headers: &HeaderMap,
    body: &mut BodyReader<Body>,
) -> Result<String> {
    find_model(gateway, arrival, headers, body).await.map(|named| named.model)
}
