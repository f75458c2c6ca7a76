//! The model repository over HTTP: V2's list of models, and Triton's and KServe's repository extension.

use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use weirgate_protocol::{Error, Protocol, Result};

use super::parts::{Named, discard, path_names};
use crate::explain::request_may_know;
use crate::gateway::Asked;
use crate::repository::{Change, IndexEntry, PATIENCE, Repository, check_parameters, index};
use crate::respond;
use crate::server::address::Address;
use crate::server::body::{BodyLimit, BodyReader};
use crate::server::edge::{Arrival, Arrived};

const SMALL_BODY: BodyLimit = BodyLimit { bytes: 64 << 10, set_by: "of the repository API" };
type Shared = State<Arc<Repository>>;

pub fn routes() -> Router<Arc<Repository>> {
    Router::new()
        .route("/v2/models", get(models))
        .route("/v2/repository/index", post(list))
        .route("/v2/repository/models/{model}/load", post(load))
        .route("/v2/repository/models/{model}/unload", post(unload))
}

#[derive(Deserialize, Default)]
struct IndexRequest {
    #[serde(default)]
    ready: bool,
}

#[derive(Deserialize, Default)]
struct ChangeRequest {
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// KServe's answer; Triton's clients look at the status alone.
#[derive(Serialize)]
struct Changed<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    load: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unload: Option<bool>,
}

async fn models(State(repository): Shared, request: Request) -> Response {
    let names = || -> Result<Response> {
        let models = repository.gateway().models(&Address::of(&request))?;
        Ok(respond::to_json(&json!({ "models": models.iter().map(|listed| &*listed.model).collect::<Vec<_>>() })))
    };
    names().unwrap_or_else(|error| respond::rest_error(&error))
}

async fn list(State(repository): Shared, request: Request) -> Response {
    let (parts, mut body) = split(&repository, request);
    let answer = async {
        let IndexRequest { ready } = read(&mut body).await?;
        let knows = request_may_know(&parts.extensions, &parts.headers);
        let entries = index(repository.gateway(), &Address::of_parts(&parts), ready, knows)?;
        let entry = |entry: &IndexEntry| json!({ "name": entry.name, "version": entry.version, "state": entry.state, "reason": entry.reason });
        Ok(respond::to_json(&entries.iter().map(entry).collect::<Vec<_>>()))
    };
    let answer = answer.await;
    finish(answer, &mut body, &parts).await
}

async fn load(State(repository): Shared, model: Named, request: Request) -> Response {
    change(&repository, Change::Load, model, request).await
}

async fn unload(State(repository): Shared, model: Named, request: Request) -> Response {
    change(&repository, Change::Unload, model, request).await
}

async fn change(repository: &Repository, change: Change, model: Named, request: Request) -> Response {
    let (parts, mut body) = split(repository, request);
    let answer = async {
        let allowed = repository.allow(&Address::of_parts(&parts), &parts.headers)?;
        let model = path_names(model)?;
        let arrived = Arrived::of(&parts.extensions, &parts.headers);
        let peer = arrived.peer;
        let patience = Arrival::new(&parts, arrived, Protocol::V2Http)?.timeout.unwrap_or(PATIENCE);
        let ChangeRequest { parameters } = read(&mut body).await?;
        check_parameters(change, parameters.keys())?;
        let asked = Asked { model: &model, version: "", address: Address::of_parts(&parts) };
        let done = repository.change(allowed, change, &asked, peer, patience).await;
        done.map_err(|error| repository.told(&parts.extensions, &parts.headers, error))?;
        let done = |asked| (change == asked).then_some(true);
        Ok(respond::to_json(&Changed { name: &model, load: done(Change::Load), unload: done(Change::Unload) }))
    };
    let answer = answer.await;
    finish(answer, &mut body, &parts).await
}

fn split(repository: &Repository, request: Request) -> (Parts, BodyReader<Body>) {
    let (parts, body) = request.into_parts();
    (parts, BodyReader::new(body, 0, repository.gateway().config.client_timeout))
}

async fn finish(answer: Result<Response>, body: &mut BodyReader<Body>, parts: &Parts) -> Response {
    match answer {
        Ok(response) => response,
        Err(error) => {
            discard(body, &parts.headers).await;
            respond::rest_error(&error)
        }
    }
}

/// A small body of a JSON object; an empty one asks for nothing special.
async fn read<T: DeserializeOwned + Default>(body: &mut BodyReader<Body>) -> Result<T> {
    let body: Bytes = body.read_small(SMALL_BODY, Instant::now() + PATIENCE).await?;
    let text = body.trim_ascii();
    if text.is_empty() {
        return Ok(T::default());
    }
    // Serde would take a list of the fields' values, too.
    if !text.starts_with(b"{") {
        return Err(Error::invalid("the body is no JSON object: give one, as {}, or nothing"));
    }
    serde_json::from_slice(&body)
        .map_err(|error| Error::invalid(format!("the body is not the JSON that is expected here: {error}")))
}
