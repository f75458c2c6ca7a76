//! The HTTP adapters, and the router of the data port.

mod v2;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::FutureExt;
use http::{Method, header};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;
use weirgate_protocol::Error;

use crate::gateway::Gateway;
use crate::server::edge::{Arrived, Routes};
use crate::{grpc, respond};

/// The data port: the router of all its routes, and a short way for the two that nearly every request takes.
#[derive(Clone)]
pub struct DataRoutes {
    gateway: Arc<Gateway>,
    router: Router,
    /// Every request goes through the router, so that its layers see it.
    traced: bool,
}

impl DataRoutes {
    pub fn new(gateway: Arc<Gateway>) -> DataRoutes {
        // A span per request is for debugging: where nobody would see it, the layer is not there.
        let traced = tracing::enabled!(target: "tower_http::trace", tracing::Level::DEBUG);
        let router = router(gateway.clone());
        let router = if traced { router.layer(TraceLayer::new_for_http().on_failure(())) } else { router };
        DataRoutes { gateway, router, traced }
    }
}

impl Routes for DataRoutes {
    async fn answer(self, arrived: Arrived, request: Request) -> Response {
        if self.traced || request.method() != Method::POST {
            return self.router.answer(arrived, request).await;
        }
        let uri = request.uri().clone();
        if uri.path() == grpc::MODEL_INFER {
            let answer = grpc::infer_model(&self.gateway, arrived, request);
            return AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(grpc::panicked);
        }
        let Some(model) = model_to_infer(uri.path()) else {
            return self.router.answer(arrived, request).await;
        };
        let answer = v2::infer_model(&self.gateway, model, arrived, request);
        AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(panicked)
    }
}

/// The model of `/v2/models/{model}/infer`, if its name is written plainly. A router costs a fifth of what a small call
/// does, most of it for things this route does not use.
fn model_to_infer(path: &str) -> Option<&str> {
    let model = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (!model.is_empty() && model.bytes().all(plain)).then_some(model)
}

/// Every route of the data port.
fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
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
        .layer(CatchPanicLayer::custom(panicked))
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

#[cfg(test)]
mod tests {
    use super::model_to_infer;

    #[test]
    fn the_short_way_takes_plain_names_only() {
        assert_eq!(model_to_infer("/v2/models/digits/infer"), Some("digits"));
        for other in [
            "/v2/models//infer",
            "/v2/models/a/versions/1/infer",
            "/v2/models/a%20b/infer",
            "/v2/models/a/infer/",
            "/v2/models/infer",
            "/v2/models/a",
        ] {
            assert_eq!(model_to_infer(other), None, "{other}");
        }
    }
}
