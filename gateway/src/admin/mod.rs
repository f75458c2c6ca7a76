//! The admin port, apart from the data port so that neither load nor limits there hide it: metrics and health, open to
//! all, and the control API, which is not.

mod access;
mod control;
mod decisions;
mod guard;
pub mod wire;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use http::{HeaderValue, StatusCode, header};
use weirgate_protocol::Error;

use crate::gateway::Gateway;
use crate::observe::Registry;
use crate::respond;

pub use access::Access;
pub use control::router as control_router;
pub use decisions::router as decisions_router;

#[derive(Clone)]
struct Admin {
    gateway: Arc<Gateway>,
    registry: Registry,
}

/// Metrics and health; merge [`control_router`] into it.
pub fn router(gateway: Arc<Gateway>, registry: Registry) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .with_state(Admin { gateway, registry })
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let body = admin.registry.render() + &admin.gateway.render_revisions();
    text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", body)
}

async fn livez() -> Response {
    text(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
}

/// Ready to be sent traffic: every model is loaded or has failed, and the server does not drain. A model that failed does
/// not take the others out of the load balancer; `/v2/health/ready` on the data port asks for all of them.
async fn readyz(State(admin): State<Admin>) -> Response {
    let (status, body) = if admin.gateway.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if !admin.gateway.settled() {
        (StatusCode::SERVICE_UNAVAILABLE, "loading\n")
    } else {
        (StatusCode::OK, "ok\n")
    };
    text(status, "text/plain; charset=utf-8", body.to_owned())
}

async fn not_found(request: Request) -> Response {
    let shown: String = request.uri().path().chars().take(128).collect();
    respond::rest_error(&Error::not_found(format!("there is no route '{shown}' on the admin port")))
}

fn text(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
