//! The HTTP adapters, and the router of the data port.

mod v2;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{get, post};
use http::header;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;
use weirgate_protocol::Error;

use crate::gateway::Gateway;
use crate::{grpc, respond};

/// Every route of the data port.
pub fn router(gateway: Arc<Gateway>) -> Router {
    let router = Router::new()
        .route("/v2", get(v2::server_metadata))
        .route("/v2/health/live", get(v2::live))
        .route("/v2/health/ready", get(v2::ready))
        .route("/v2/models/{model}", get(v2::model_metadata))
        .route("/v2/models/{model}/ready", get(v2::model_ready))
        .route("/v2/models/{model}/infer", post(v2::infer))
        .route("/v2/models/{model}/versions/{version}", get(v2::model_version_metadata))
        .route("/v2/models/{model}/versions/{version}/ready", get(v2::model_version_ready))
        .route("/v2/models/{model}/versions/{version}/infer", post(v2::infer_version))
        .merge(grpc::router())
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(not_found)
        .with_state(gateway)
        .layer(CatchPanicLayer::custom(panicked));
    // A span per request is for debugging: where nobody would see it, the layer is not there.
    if tracing::enabled!(target: "tower_http::trace", tracing::Level::DEBUG) {
        router.layer(TraceLayer::new_for_http().on_failure(()))
    } else {
        router
    }
}

async fn not_found(request: Request) -> Response {
    let shown: String = request.uri().path().chars().take(128).collect();
    answer(&request, &Error::not_found(format!("there is no route '{shown}'")))
}

async fn method_not_allowed(request: Request) -> Response {
    let shown: String = request.uri().path().chars().take(128).collect();
    let text = format!("method {} is not allowed on '{shown}'", request.method());
    answer(&request, &Error::method_not_allowed(text))
}

/// An error in the protocol that the request's content type names.
fn answer(request: &Request, error: &Error) -> Response {
    if is_grpc(request) {
        // gRPC knows neither routes nor methods of HTTP: what isn't there is unimplemented.
        let error = Error::unsupported(error.message().to_owned());
        return respond::grpc_error(&error).into_http();
    }
    respond::v2_error(error)
}

fn is_grpc(request: &Request) -> bool {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

/// A panic of ours costs the one request that met it.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> http::Response<Body> {
    respond::v2_error(&respond::panic_error(panic.as_ref()))
}
