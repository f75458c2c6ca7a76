//! The HTTP adapters, and the router of the data port.

mod cors;
mod repository;
mod triton;
mod v2;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::{get, post};
use futures_util::FutureExt;
use http::{HeaderValue, Method, StatusCode, Uri, header};
use serde::Serialize;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;
use weirgate_protocol::{Error, Result};

use crate::gateway::Gateway;
pub use crate::http::cors::CorsOrigin;
use crate::repository::Repository;
use crate::respond::Dialect;
use crate::server::address::{Prefix, TakenPrefix};
use crate::server::body::BodyReader;
use crate::server::edge::{Arrived, Routes};
use crate::{grpc, respond};

/// The data port: the router of all its routes, and a short way for the two that nearly every request takes.
#[derive(Clone)]
pub struct DataRoutes {
    gateway: Arc<Gateway>,
    router: Router,
    /// Every request goes through the router, so that its layers see it.
    layered: bool,
}

impl DataRoutes {
    /// Without a repository its routes are not there.
    pub fn new(gateway: Arc<Gateway>, repository: Option<Arc<Repository>>) -> DataRoutes {
        // A span per request is for debugging: where nobody would see it, the layer is not there.
        let traced = tracing::enabled!(target: "tower_http::trace", tracing::Level::DEBUG);
        let origins = &gateway.config.cors_origins;
        let mut router = router(gateway.clone(), repository);
        if !origins.is_empty() {
            router = router.layer(cors::layer(origins));
        }
        if traced {
            router = router.layer(TraceLayer::new_for_http().on_failure(()));
        }
        let layered = traced || !origins.is_empty();
        DataRoutes { gateway, router, layered }
    }
}

impl Routes for DataRoutes {
    async fn answer(self, arrived: Arrived, request: Request) -> Response {
        if self.layered || request.method() != Method::POST {
            return self.router.answer(arrived, request).await;
        }
        let uri = request.uri().clone();
        if uri.path() == grpc::MODEL_INFER {
            let answer = grpc::infer_model(&self.gateway, arrived, request);
            return AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(grpc::panicked);
        }
        let Some((prefix, model)) = model_to_infer(uri.path()) else {
            return self.router.answer(arrived, request).await;
        };
        let answer = v2::infer_model(&self.gateway, model, prefix, arrived, request);
        AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(panicked)
    }
}

/// The model of `/v2/models/{model}/infer`, with or without a prefix, if its name is written plainly. A router costs a fifth
/// of what a small call does, most of it for things this route does not use.
fn model_to_infer(path: &str) -> Option<(Option<Prefix<'_>>, &str)> {
    fn model(path: &str) -> Option<&str> {
        let model = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (!model.is_empty() && model.bytes().all(plain)).then_some(model)
    }
    if let Some(model) = model(path) {
        return Some((None, model));
    }
    let (prefix, rest) = Prefix::split(path)?;
    Some((Some(prefix), model(rest)?))
}

/// Every route of the data port. What has none may be one of them behind a prefix.
fn router(gateway: Arc<Gateway>, repository: Option<Arc<Repository>>) -> Router {
    let (rest_repository, grpc_repository) = match repository {
        Some(repository) => {
            (repository::routes().with_state(repository.clone()), grpc::repository_router().with_state(repository))
        }
        None => (Router::new(), Router::new()),
    };
    let rest = || v2_routes().merge(rest_repository.clone());
    let behind = rest().method_not_allowed_fallback(method_not_allowed).fallback(not_found);
    let behind = behind.with_state(gateway.clone());
    rest()
        .merge(grpc::router())
        .merge(grpc_repository)
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(move |State(gateway): State<Arc<Gateway>>, request: Request| prefixed(gateway, behind, request))
        .with_state(gateway)
        .layer(CatchPanicLayer::custom(panicked))
}

fn v2_routes() -> Router<Arc<Gateway>> {
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
        .merge(triton::router())
}

/// Takes `/{namespace}/{service}` off the path where there is such a service, and answers the rest.
async fn prefixed(gateway: Arc<Gateway>, behind: Router, mut request: Request) -> Response {
    let Some((prefix, rest)) = Prefix::split(request.uri().path()) else { return not_found(request).await };
    match gateway.table().by_path(prefix.namespace, prefix.label) {
        Ok(Some(_)) => {}
        Ok(None) if rest.starts_with("/v2") => {
            let unknown = prefix.unknown();
            return refuse(request, &unknown).await;
        }
        Ok(None) => return not_found(request).await,
        Err(error) => return refuse(request, &error).await,
    }
    let (taken, length) = (TakenPrefix::from(prefix), request.uri().path().len() - rest.len());
    let Some(uri) = without_prefix(request.uri(), length) else { return not_found(request).await };
    *request.uri_mut() = uri;
    request.extensions_mut().insert(taken);
    match behind.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}

/// The URI without the first `length` bytes of its path.
fn without_prefix(uri: &Uri, length: usize) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().get(length..)?;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(rest.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// The names that a path holds.
fn path_names<T>(path: Result<Path<T>, PathRejection>) -> Result<T> {
    path.map(|Path(names)| names).map_err(|_| Error::invalid("the path's names are not UTF-8"))
}

/// An answer in JSON.
fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Err(error) => respond::rest_error(&Error::internal(format!("the answer can't be written as JSON: {error}"))),
    }
}

async fn not_found(request: Request) -> Response {
    if request.method() == Method::OPTIONS && request.uri().path() == "*" {
        let mut response = no_content();
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD,POST,OPTIONS"));
        return response;
    }
    let shown: String = request.uri().path().chars().take(128).collect();
    refuse(request, &Error::not_found(format!("there is no route '{shown}'"))).await
}

/// What a route's own methods leave over; the router adds which those are.
async fn method_not_allowed(request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return no_content();
    }
    let shown: String = request.uri().path().chars().take(128).collect();
    let method: String = request.method().as_str().chars().take(32).collect();
    refuse(request, &Error::method_not_allowed(format!("method {method} is not allowed on '{shown}'"))).await
}

fn no_content() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// Refuses a request that has no handler, and reads on what its client still sends.
async fn refuse(request: Request, error: &Error) -> Response {
    let response = answer(&request, error);
    // Who waits for `100 Continue` has sent nothing yet, and reading would ask for it.
    if !request.headers().contains_key(header::EXPECT) {
        BodyReader::new(request.into_body(), 0, Duration::ZERO).discard().await;
    }
    response
}

/// An error of a request that has no handler, in the dialect that its head speaks.
fn answer(request: &Request, error: &Error) -> Response {
    match dialect(request) {
        // gRPC knows neither routes nor methods of HTTP: what isn't there is unimplemented.
        Dialect::Grpc => Dialect::Grpc.error(&Error::unsupported(error.message().to_owned())),
        dialect => dialect.error(error),
    }
}

fn dialect(request: &Request) -> Dialect {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        return Dialect::Grpc;
    }
    Dialect::Rest
}

/// A panic of ours costs the one request that met it.
fn panicked(panic: Box<dyn std::any::Any + Send>) -> http::Response<Body> {
    respond::rest_error(&respond::panic_error(panic.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_takes_plain_names_only() {
        assert_eq!(model_to_infer("/v2/models/digits/infer"), Some((None, "digits")));
        let prefix = Prefix { namespace: "ns", label: "latest-a" };
        assert_eq!(model_to_infer("/ns/latest-a/v2/models/a/infer"), Some((Some(prefix), "a")));
        for other in [
            "/v2/models//infer",
            "/v2/models/a/versions/1/infer",
            "/v2/models/a%20b/infer",
            "/v2/models/a/infer/",
            "/v2/models/infer",
            "/v2/models/a",
            "/ns/v2/models/a/infer",
            "/ns/a/b/v2/models/a/infer",
        ] {
            assert_eq!(model_to_infer(other), None, "{other}");
        }
    }

    #[test]
    fn a_prefix_is_taken_off_and_the_rest_kept() {
        let rest = |uri: &'static str| without_prefix(&Uri::from_static(uri), "/ns/a".len()).map(|uri| uri.to_string());
        assert_eq!(rest("/ns/a/v2/models/x?y=/z").as_deref(), Some("/v2/models/x?y=/z"));
        assert_eq!(rest("http://host:80/ns/a/v2").as_deref(), Some("http://host:80/v2"));
    }
}
