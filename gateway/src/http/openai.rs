//! OpenAI's routes: the lists of models, and which model a request is for. Who generates text takes the request as bytes: servers
//! elsewhere, and engines of ours.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use tokio::sync::{Semaphore, SemaphorePermit};
use tower_http::catch_panic::CatchPanicLayer;
use weirgate_protocol::openai::{self, Peeked};
use weirgate_protocol::{Error, Protocol, Result};

use super::parts::{Named, Shared, codings, discard, json, path_names, taken};
use crate::catalogue::Listed;
use crate::explain::told;
use crate::gateway::{Asked, Gateway, Routed};
use crate::pass::{self, PassedCall, Shape};
use crate::pipeline;
use crate::respond::{self, Dialect};
use crate::server::address::{Address, Prefix, TakenPrefix};
use crate::server::body::BodyReader;
use crate::server::edge::{Arrival, Arrived};
use crate::server::large;

/// What is asked of models that generate or embed text.
const TASKS: [&str; 5] = ["chat/completions", "completions", "embeddings", "rerank", "responses"];

/// What is asked of their tokenizers, as vLLM has it: without a base.
const OF_TOKENS: [&str; 2] = ["/tokenize", "/detokenize"];

/// So much of a body is looked at before anything else is taken into account.
const HEAD: usize = 64 << 10;

/// How long a body may take whose model, and with it the service's own timeout, is not known yet.
const UNROUTED_TIME: Duration = Duration::from_secs(300);

/// `/v1/models` is V1's, too, and lies there.
pub fn routes() -> Router<Arc<Gateway>> {
    let models = Router::new()
        .route("/openai/v1/models", get(openai_models))
        .route("/openai/v1/models/{model}", get(openai_model));
    let tasks = TASKS.iter().flat_map(|task| [format!("/v1/{task}"), format!("/openai/v1/{task}")]);
    let all =
        tasks.chain(OF_TOKENS.map(str::to_owned)).fold(models, |router, path| router.route(&path, post(generate)));
    all.layer(CatchPanicLayer::custom(panicked))
}

/// Whether a path is one of a task.
pub fn is_task(path: &str) -> bool {
    let task = path.strip_prefix("/openai").unwrap_or(path).strip_prefix("/v1/");
    task.is_some_and(|task| TASKS.contains(&task)) || OF_TOKENS.contains(&path)
}

pub fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    Dialect::OpenAi.error(&respond::panic_error(panic.as_ref()))
}

/// The dialect of a path's errors. Below `/v1/models` it is V1's, for clients of both protocols ask there: V1's want the
/// text as `error`, and OpenAI's show whatever comes.
pub fn dialect_of(path: &str) -> Dialect {
    let below = |api: &str| path.strip_prefix(api).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let openai = below("/openai") || (below("/v1") && !below("/v1/models")) || OF_TOKENS.contains(&path);
    if openai { Dialect::OpenAi } else { Dialect::Rest }
}

pub async fn models(State(gateway): Shared, request: Request) -> Response {
    answer_models(&gateway, &request, Dialect::Rest)
}

async fn openai_models(State(gateway): Shared, request: Request) -> Response {
    answer_models(&gateway, &request, Dialect::OpenAi)
}

fn answer_models(gateway: &Gateway, request: &Request, dialect: Dialect) -> Response {
    match gateway.models(&Address::of(request)) {
        Ok(models) => {
            let models: Vec<_> = models.iter().map(Listed::as_openai).collect();
            json(StatusCode::OK, openai::model_list(&models))
        }
        Err(error) => dialect.error(&error),
    }
}

async fn openai_model(State(gateway): Shared, model: Named, request: Request) -> Response {
    match path_names(model) {
        Ok(model) => answer_model(&gateway, &model, "", &request, Dialect::OpenAi),
        Err(error) => Dialect::OpenAi.error(&error),
    }
}

/// Answers whether a model is ready, and what the list says of it.
pub fn answer_model(gateway: &Gateway, model: &str, version: &str, request: &Request, dialect: Dialect) -> Response {
    match gateway.ready_model(&Asked { model, version, address: Address::of(request) }) {
        Ok((listed, v1)) => json(StatusCode::OK, openai::model(listed.as_openai(), v1)),
        Err(error) => {
            let error = told(request.extensions(), request.headers(), error);
            if dialect == Dialect::OpenAi { respond::openai_error(&error, MODEL) } else { dialect.error(&error) }
        }
    }
}

/// The field that errors of unknown models are about.
const MODEL: Option<&str> = Some("model");

/// An error, and the field of the body that is at fault.
struct Fault {
    error: Error,
    param: Option<&'static str>,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault { error, param: None }
    }
}

fn of_model(error: Error) -> Fault {
    Fault { error, param: MODEL }
}

async fn generate(State(gateway): Shared, request: Request) -> Response {
    let (prefix, arrived) = taken(&request);
    generate_text(&gateway, prefix.as_ref().map(TakenPrefix::as_prefix), arrived, request).await
}

/// One of OpenAI's tasks.
pub async fn generate_text(
    gateway: &Gateway,
    prefix: Option<Prefix<'_>>,
    arrived: Arrived,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let mut body = BodyReader::new(body, 0, gateway.config.client_timeout);
    let is_plain = arrived.is_plain;
    let arrival = match Arrival::new(&parts, arrived, Protocol::OpenAi) {
        Ok(arrival) => arrival,
        Err(error) => {
            discard(&mut body, &parts.headers).await;
            return respond::openai_error(&error, None);
        }
    };
    match codings(&arrival, "", &parts.headers) {
        Ok(codings) => body.set_codings(codings),
        Err(refusal) => {
            discard(&mut body, &parts.headers).await;
            return refusal.answer(Dialect::OpenAi);
        }
    }
    let address = Address::new(prefix, &parts).plain(is_plain);
    let routed = match route(gateway, address, &arrival, &mut body).await {
        Ok(routed) => routed,
        Err(Fault { error, param }) => {
            pipeline::refuse_unrouted(&arrival, "", &error);
            discard(&mut body, &parts.headers).await;
            return respond::openai_error(&error, param);
        }
    };
    let model = routed.service().model.clone();
    let asked = Asked { model: &model, version: "", address };
    let mut call = PassedCall { arrival: &arrival, parts: &parts, body: &mut body, shape: Shape::Exchange };
    match pass::pass_on(gateway, routed, &asked, &mut call, takes_tensors).await {
        Ok(response) => response,
        Err(refusal) => {
            discard(&mut body, &parts.headers).await;
            refusal.answer(Dialect::OpenAi)
        }
    }
}

/// The revision that the call is passed to: of the service that the address names, or else the body.
async fn route(
    gateway: &Gateway,
    address: Address<'_>,
    arrival: &Arrival,
    body: &mut BodyReader<Body>,
) -> Result<Routed, Fault> {
    // A look first: a turn in the split is taken once.
    let address = match gateway.route_addressed(&address, false) {
        Ok(None) => address.nobodys(),
        Ok(Some(looked)) if looked.lane().spoken().is_some() => {
            match gateway.route_addressed(&address, true).map_err(of_model)? {
                // The server knows its models by its own names.
                Some(routed) => return Ok(routed),
                None => address,
            }
        }
        Ok(Some(_)) | Err(_) => address,
    };
    let model = match find_model(gateway, arrival, body).await? {
        Some(model) => model,
        None => only_model(&gateway.models(&address)?).map_err(of_model)?,
    };
    let asked = Asked { model: &model, version: "", address };
    match gateway.route(&asked) {
        Ok(routed) if routed.lane().spoken().is_some() => Ok(routed),
        Ok(routed) => Err(of_model(takes_tensors(&routed))),
        Err(error) => Err(of_model(error)),
    }
}

fn takes_tensors(routed: &Routed) -> Error {
    let model = &routed.service().model;
    Error::invalid(format!(
        "model '{model}' takes tensors: call /v2/models/{model}/infer or /v1/models/{model}:predict"
    ))
}

/// The model that a request means which names none.
fn only_model(models: &[Listed]) -> Result<String> {
    const SHOWN: usize = 10;
    match models {
        [only] => Ok(only.model.to_string()),
        [] => Err(Error::not_found("no model is served here")),
        several => {
            let names: Vec<_> = several.iter().take(SHOWN).map(|listed| format!("'{}'", listed.model)).collect();
            let more = if several.len() > SHOWN { " and others" } else { "" };
            let names = names.join(", ");
            Err(Error::invalid(format!("the body has no model, and several are served: give one of {names}{more}")))
        }
    }
}

/// Reads as much of the body as it takes to find its model; `None` where the whole body has none.
async fn find_model(
    gateway: &Gateway,
    arrival: &Arrival,
    body: &mut BodyReader<Body>,
) -> Result<Option<String>, Fault> {
    let time = arrival.timeout.map_or(UNROUTED_TIME, |asked| asked.min(UNROUTED_TIME));
    let deadline = arrival.head.arrived + time;
    let limit = arrival.body_limit(gateway.body_limit());
    let mut room = Room { pool: &gateway.unrouted, held: None };
    let mut look_at = 0;
    loop {
        room.cover(body.check_length(limit)?.min(body.peeked().len()))?;
        let more = !body.is_complete() && body.peek_more(deadline).await?;
        let read = body.peeked().len();
        let codings = body.codings();
        if more && (read < look_at || !codings.is_identity()) {
            continue;
        }
        if !codings.is_identity() {
            let packed = body.take();
            // It is passed on as it came.
            body.restore(packed.clone());
            let cover = |held| room.cover(read + held);
            let whole = large::undo_codings((codings, 0), packed, limit, deadline, cover).await?;
            return Ok(match openai::peek(&whole, true)? {
                Peeked::Model(model) => Some(model),
                Peeked::Missing | Peeked::More => None,
            });
        }
        // Looking again only at twice the bytes keeps many tiny pieces cheap.
        look_at = 2 * read;
        match openai::peek(body.peeked(), !more)? {
            Peeked::Model(model) => return Ok(Some(model)),
            Peeked::Missing => return Ok(None),
            Peeked::More => {}
        }
    }
}

/// Memory that a body takes before its model is known, and with it the lane that would count it.
struct Room<'g> {
    pool: &'g Semaphore,
    held: Option<SemaphorePermit<'g>>,
}

impl Room<'_> {
    /// Makes sure that there is room for `bytes`; the first of them are free.
    fn cover(&mut self, bytes: usize) -> Result<()> {
        let held = self.held.as_ref().map_or(0, SemaphorePermit::num_permits);
        let more = (bytes.saturating_sub(HEAD)).div_ceil(1 << 10).saturating_sub(held);
        if more == 0 {
            return Ok(());
        }
        let full = || {
            let text = "too many large requests wait for their model to be found: write it at the begin of the body, or \
                        raise the limit (flag --max-queued-bytes)";
            Error::queue_full(text, Duration::from_secs(1))
        };
        let more = u32::try_from(more).ok().and_then(|more| self.pool.try_acquire_many(more).ok()).ok_or_else(full)?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_as_openais_clients_read_it() {
        let panicked = panicked(Box::new("of this test"));
        assert_eq!(panicked.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(panicked.into_body(), HEAD).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["error"]["type"], "api_error", "{body}");
    }
}
