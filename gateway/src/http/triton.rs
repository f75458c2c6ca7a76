//! Triton's extensions of V2 over HTTP: statistics and configuration; and those that are known but not built.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::StatusCode;
use weirgate_protocol::Result;
use weirgate_protocol::oip::{config_body, statistics_body};

use super::parts::{Named, NamedVersion, Shared, json, unread, unversioned, versioned};
use crate::explain::told;
use crate::gateway::{Asked, Gateway};
use crate::respond;
use crate::server::address::Address;
use crate::triton::not_built;

pub(super) fn router() -> Router<Arc<Gateway>> {
    let refused = |what: &'static str| {
        let refuse = async move |request: Request| unread(request, respond::rest_error(&not_built(what))).await;
        get(refuse).post(refuse)
    };
    Router::new()
        .route("/v2/models/stats", get(all_statistics))
        .route("/v2/models/{model}/stats", get(statistics))
        .route("/v2/models/{model}/versions/{version}/stats", get(version_statistics))
        .route("/v2/models/{model}/config", get(config))
        .route("/v2/models/{model}/versions/{version}/config", get(version_config))
        .route("/v2/systemsharedmemory/{*rest}", refused("SystemSharedMemory"))
        .route("/v2/cudasharedmemory/{*rest}", refused("CudaSharedMemory"))
        .route("/v2/trace/setting", refused("TraceSetting"))
        .route("/v2/models/{model}/trace/setting", refused("TraceSetting"))
        .route("/v2/logging", refused("LogSettings"))
}

async fn all_statistics(State(gateway): Shared, request: Request) -> Response {
    answer(gateway.all_statistics(&Address::of(&request)).map(|statistics| statistics_body(&statistics)))
}

async fn statistics(State(gateway): Shared, model: Named, request: Request) -> Response {
    about(unversioned(model), &request, |asked| Ok(statistics_body(&gateway.statistics_of(asked)?)))
}

async fn version_statistics(State(gateway): Shared, asked: NamedVersion, request: Request) -> Response {
    about(versioned(asked), &request, |asked| Ok(statistics_body(&gateway.statistics_of(asked)?)))
}

async fn config(State(gateway): Shared, model: Named, request: Request) -> Response {
    about(unversioned(model), &request, |asked| Ok(config_body(&gateway.config_of(asked)?)))
}

async fn version_config(State(gateway): Shared, asked: NamedVersion, request: Request) -> Response {
    about(versioned(asked), &request, |asked| Ok(config_body(&gateway.config_of(asked)?)))
}

/// Answers what is asked about a model.
fn about(
    named: Result<(String, String)>,
    request: &Request,
    tell: impl FnOnce(&Asked<'_>) -> Result<Bytes>,
) -> Response {
    let address = Address::of(request);
    let answered = named.and_then(|(model, version)| tell(&Asked { model: &model, version: &version, address }));
    answer(answered.map_err(|error| told(request.extensions(), request.headers(), error)))
}

fn answer(body: Result<Bytes>) -> Response {
    match body {
        Ok(body) => json(StatusCode::OK, body),
        Err(error) => respond::rest_error(&error),
    }
}
