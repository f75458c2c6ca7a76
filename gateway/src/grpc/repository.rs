//! The model repository over gRPC, for KServe's and Triton's clients.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use prost::Message;
use tower_http::catch_panic::CatchPanicLayer;
use weirgate_protocol::oip::repository_index_response::ModelIndex;
use weirgate_protocol::oip::{self, LoadRequest};
use weirgate_protocol::{Error, Result};

use super::panicked;
use super::unary::{read_small, respond_small, unary};
use crate::explain::request_may_know;
use crate::gateway::Asked;
use crate::repository::{Change, IndexEntry, PATIENCE, Repository, check_parameters, index};
use crate::server::address::Address;
use crate::server::edge::Arrived;

type Shared = State<Arc<Repository>>;

const LOAD: &str = "/inference.GRPCInferenceService/RepositoryModelLoad";
const UNLOAD: &str = "/inference.GRPCInferenceService/RepositoryModelUnload";

/// Whether a call asks for a model to be loaded or unloaded.
pub fn is_model_control(path: &str) -> bool {
    matches!(path, LOAD | UNLOAD)
}

/// Routes of the repository.
pub fn repository_router() -> Router<Arc<Repository>> {
    Router::new()
        .route("/inference.GRPCInferenceService/RepositoryIndex", post(list))
        .route(LOAD, post(load))
        .route(UNLOAD, post(unload))
        .layer(CatchPanicLayer::custom(panicked))
}

async fn list(State(repository): Shared, request: Request) -> Response {
    let knows = request_may_know(request.extensions(), request.headers());
    let answer = |asked: oip::RepositoryIndexRequest, address: &Address<'_>| {
        if !asked.repository_name.is_empty() {
            return Err(Error::unsupported("repositories have no names here: leave repository_name empty"));
        }
        let models = index(repository.gateway(), address, asked.ready, knows)?.into_iter().map(model_index).collect();
        Ok(oip::RepositoryIndexResponse { models })
    };
    unary(repository.gateway(), request, answer).await
}

fn model_index(entry: IndexEntry) -> ModelIndex {
    let IndexEntry { name, version, state, reason } = entry;
    ModelIndex { name, version, state: state.to_owned(), reason }
}

async fn load(State(repository): Shared, request: Request) -> Response {
    let changed = change::<oip::RepositoryModelLoadRequest>(&repository, Change::Load, request).await;
    respond_small(changed.map(|model_name| oip::RepositoryModelLoadResponse { model_name, is_loaded: true }))
}

async fn unload(State(repository): Shared, request: Request) -> Response {
    let changed = change::<oip::RepositoryModelUnloadRequest>(&repository, Change::Unload, request).await;
    respond_small(changed.map(|model_name| oip::RepositoryModelUnloadResponse { model_name, is_unloaded: true }))
}

/// Loads or unloads the model that is asked for, and returns its name.
async fn change<Q>(repository: &Repository, change: Change, request: Request) -> Result<String>
where
    Q: LoadRequest + Message + Default,
{
    let allowed = repository.allow(&Address::of(&request), request.headers())?;
    let peer = Arrived::of(request.extensions(), request.headers()).peer;
    let (parts, asked, arrival) = read_small::<Q>(repository.gateway(), request).await?;
    let (model, parameters) = asked.into_parts()?;
    check_parameters(change, parameters.keys())?;
    let address = Address::new(None, &parts);
    let asked = Asked { model: &model, version: "", address };
    let patience = arrival.timeout.unwrap_or(PATIENCE);
    let done = repository.change(allowed, change, &asked, peer, patience).await;
    done.map_err(|error| repository.told(&parts.extensions, &parts.headers, error))?;
    Ok(model)
}
