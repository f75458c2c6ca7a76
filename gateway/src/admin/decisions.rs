//! Why the last calls went where they went.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::get;
use serde_json::json;
use weirgate_protocol::Error;

use super::access::Access;
use super::guard::{Guard, guarded};
use crate::gateway::Gateway;
use crate::respond;

const DECISIONS: &str = "/api/v1/decisions";

/// The routes; `access` is asked first.
pub fn router(gateway: Arc<Gateway>, access: Arc<Access>, client_timeout: Duration) -> Router {
    let guard = Guard { access, client_timeout };
    Router::new()
        .route(DECISIONS, get(list))
        .route(&format!("{DECISIONS}/{{request_id}}"), get(one))
        .route_layer(middleware::from_fn_with_state(guard, guarded))
        .with_state(gateway)
}

/// The newest first.
async fn list(State(gateway): State<Arc<Gateway>>) -> Response {
    respond::to_json(&json!({ "items": gateway.decisions.last() }))
}

async fn one(State(gateway): State<Arc<Gateway>>, Path(request_id): Path<String>) -> Response {
    match gateway.decisions.of(&request_id) {
        Some(decision) => respond::to_json(&*decision),
        None => {
            let shown: String = request_id.chars().take(64).collect();
            let keep = gateway.config.explain_last;
            let text = format!("no decision of request '{shown}' is kept: the last {keep} are (flag --explain-last)");
            respond::rest_error(&Error::not_found(text))
        }
    }
}
