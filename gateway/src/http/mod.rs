//! The HTTP adapters, and the router of the data port.

mod cors;
mod events;
mod openai;
mod openapi;
mod parts;
mod repository;
mod triton;
mod v1;
mod v2;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::trace::TraceLayer;
use weirgate_protocol::Error;
use weirgate_replicas::remote::via;

use crate::auth::refusals::Refused;
use crate::auth::{Auth, Caller, Denied};
use crate::gateway::Gateway;
pub use crate::http::cors::CorsOrigin;
pub use crate::http::openai::is_task;
use crate::repository::Repository;
use crate::respond::{Dialect, Forbade};
use crate::server::address::{Prefix, TakenPrefix};
use crate::server::edge::{Arrived, Routes};
use crate::{grpc, pass, respond};

/// The data port: the router of all its routes, and a short way for the three that nearly every request takes. One handle is
/// taken for each request.
#[derive(Clone)]
pub struct DataRoutes(Arc<Ways>);

#[derive(Clone)]
struct Ways {
    gateway: Arc<Gateway>,
    router: Router,
    /// Every request goes through the router, so that its layers see it.
    layered: bool,
    /// The router without the layer that takes every OPTIONS for a browser's preflight.
    plain: Router,
    guard: Option<Arc<Guard>>,
}

/// Whom the port lets in, and what answers the others.
struct Guard {
    auth: Auth,
    /// Marks refusals as readable for the origins that may call.
    refusals: Router,
}

impl DataRoutes {
    /// Without a repository its routes are not there.
    pub fn new(gateway: Arc<Gateway>, repository: Option<Arc<Repository>>) -> DataRoutes {
        // A span per request is for debugging: where nobody would see it, the layer is not there.
        let traced = tracing::enabled!(target: "tower_http::trace", tracing::Level::DEBUG);
        let origins = &gateway.config.cors_origins;
        let mut plain = router(gateway.clone(), repository);
        let layered = traced || !origins.is_empty();
        if layered {
            plain = plain.layer(middleware::from_fn_with_state(gateway.clone(), pass_or_route));
        }
        if traced {
            plain = plain.layer(TraceLayer::new_for_http().on_failure(()));
        }
        let router = if origins.is_empty() { plain.clone() } else { plain.clone().layer(cors::layer(origins)) };
        DataRoutes(Arc::new(Ways { gateway, router, layered, plain, guard: None }))
    }

    /// Lets in only whom `auth` knows.
    pub fn guarded(mut self, auth: Option<Auth>) -> DataRoutes {
        let ways = Arc::make_mut(&mut self.0);
        let origins = &ways.gateway.config.cors_origins;
        ways.guard = auth.map(|auth| {
            let refusals = Router::new().fallback(answer_refused);
            let refusals = if origins.is_empty() { refusals } else { refusals.layer(cors::layer(origins)) };
            Arc::new(Guard { auth, refusals })
        });
        self
    }

    /// Lets a request in by its key, and has its answer hold its caller's place.
    async fn answer_caller(self, guard: Arc<Guard>, mut arrived: Arrived, mut request: Request) -> Response {
        let preflight = request.method() == Method::OPTIONS && !cors::is_options_only(&request);
        if preflight && !self.0.gateway.config.cors_origins.is_empty() {
            // Browsers ask without a key whether they may send one.
            return self.route(arrived, request).await;
        }
        let openai = dialect(&request) == Dialect::OpenAi;
        let (method, uri, head) = (request.method().clone(), request.uri().clone(), arrived.clone());
        let gateway = self.0.gateway.clone();
        let note = |caller: Option<&Caller>, error: &Error| {
            let key = caller.map(|caller| &*caller.identity().name);
            let (peer, path, request_id) = (head.peer, uri.path(), head.request_id());
            let refused = Refused { key, peer, method: &method, path, request_id, error };
            gateway.refusals.note(&refused, Instant::now());
        };
        match guard.auth.admit(&mut request, openai).await {
            Ok(admitted) => {
                let caller = admitted.caller.clone();
                if let Some(caller) = &caller {
                    arrived.caller = Some(caller.clone());
                    request.extensions_mut().insert(caller.clone());
                }
                let response = admitted.hold(self.route(arrived, request).await);
                if let Some(Forbade(error)) = response.extensions().get() {
                    note(caller.as_deref(), error);
                }
                response
            }
            Err(Denied { error, caller }) => {
                note(caller.as_deref(), &error);
                request.extensions_mut().insert(error);
                guard.refusals.clone().answer(arrived, request).await
            }
        }
    }
}

/// Answers a request that was refused at the door.
async fn answer_refused(mut request: Request) -> Response {
    let error = request.extensions_mut().remove::<Error>();
    let error = error.unwrap_or_else(|| Error::internal("a request was refused without a reason"));
    let response = dialect(&request).error(&error);
    parts::unread(request, response).await
}

impl Routes for DataRoutes {
    async fn answer(self, arrived: Arrived, request: Request) -> Response {
        if request.headers().get_all(header::HOST).iter().nth(1).is_some() {
            return refuse(request, &Error::invalid("the request has more than one Host header: send one")).await;
        }
        match self.0.guard.clone() {
            None => self.route(arrived, request).await,
            // In a box of its own: an open port need not have room for it.
            Some(guard) => Box::pin(self.answer_caller(guard, arrived, request)).await,
        }
    }
}

impl DataRoutes {
    async fn route(self, arrived: Arrived, request: Request) -> Response {
        let Ways { gateway, router, layered, plain, .. } = &*self.0;
        if gateway.passes()
            && !arrived.is_plain
            && let Err(error) = via::check(request.headers())
        {
            let (path, request_id) = (request.uri().path(), arrived.request_id());
            tracing::warn!(path, request_id, message = error.message(), "a call goes round");
            let response = dialect(&request).error(&error);
            return parts::unread(request, response).await;
        }
        if *layered {
            let router = if cors::is_options_only(&request) { plain } else { router };
            return router.clone().answer(arrived, request).await;
        }
        let uri = request.uri().clone();
        if request.method() == Method::POST
            && let Some(prefix) = text_way(uri.path())
        {
            let answer = openai::generate_text(gateway, prefix, arrived, request);
            return AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(openai::panicked);
        }
        let (arrived, request) = match pass_first(gateway, arrived, request).await {
            Ok(response) => return response,
            Err(others) => others,
        };
        if request.method() != Method::POST {
            let router = if cors::is_options_only(&request) { plain } else { router };
            return router.clone().answer(arrived, request).await;
        }
        if uri.path() == grpc::MODEL_INFER {
            let answer = grpc::infer_model(gateway, arrived, request);
            return AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(grpc::panicked);
        }
        match short_way(uri.path()) {
            Some((prefix, Asked::V2(model))) => {
                let answer = v2::infer_model(gateway, model, prefix, arrived, request);
                AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(panicked)
            }
            Some((prefix, Asked::V1(model))) => {
                let answer = v1::predict_model(gateway, model, prefix, arrived, request);
                AssertUnwindSafe(answer).catch_unwind().await.unwrap_or_else(panicked)
            }
            None => router.clone().answer(arrived, request).await,
        }
    }
}

/// Passes a request on, where it is one for a server and no adapter reads it.
async fn pass_first(gateway: &Gateway, arrived: Arrived, request: Request) -> Result<Response, (Arrived, Request)> {
    if !gateway.passes() {
        return Err((arrived, request));
    }
    // In a box of its own: most requests need not have room for it.
    let passing = Box::pin(pass::paths::try_pass(gateway, arrived, request));
    let passed = AssertUnwindSafe(passing).catch_unwind().await;
    match passed {
        Ok(passed) => passed,
        Err(panic) => Ok(panicked(panic)),
    }
}

/// The same as a layer of the router.
async fn pass_or_route(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let arrived = Arrived::of(request.extensions(), request.headers());
    match pass_first(&gateway, arrived, request).await {
        Ok(response) => response,
        Err((_, request)) => next.run(request).await,
    }
}

/// The model that a path asks to infer with, and by which protocol.
#[derive(Debug, PartialEq, Eq)]
enum Asked<'a> {
    V1(&'a str),
    V2(&'a str),
}

/// The model of `/v2/models/{model}/infer` or `/v1/models/{model}:predict`, with or without a prefix, if its name is written
/// plainly. A router costs a fifth of what a small call does, most of it for things these routes do not use.
fn short_way(path: &str) -> Option<(Option<Prefix<'_>>, Asked<'_>)> {
    fn asked(path: &str) -> Option<Asked<'_>> {
        let plain = |model: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !model.is_empty() && model.bytes().all(plain)
        };
        if let Some(rest) = path.strip_prefix("/v2/models/") {
            return rest.strip_suffix("/infer").filter(|model| plain(model)).map(Asked::V2);
        }
        let rest = path.strip_prefix("/v1/models/")?;
        rest.strip_suffix(":predict").filter(|model| plain(model)).map(Asked::V1)
    }
    if let Some(asked) = asked(path) {
        return Some((None, asked));
    }
    let (prefix, rest) = Prefix::split(path)?;
    Some((Some(prefix), asked(rest)?))
}

/// The prefix of a path that asks for one of OpenAI's tasks.
fn text_way(path: &str) -> Option<Option<Prefix<'_>>> {
    if is_task(path) {
        return Some(None);
    }
    Prefix::split(path).and_then(|(prefix, rest)| is_task(rest).then_some(Some(prefix)))
}

/// Every route of the data port. What has none may be one of them behind a prefix.
fn router(gateway: Arc<Gateway>, repository: Option<Arc<Repository>>) -> Router {
    let (rest_repository, grpc_repository) = match repository {
        Some(repository) => {
            (repository::routes().with_state(repository.clone()), grpc::repository_router().with_state(repository))
        }
        None => (Router::new(), Router::new()),
    };
    let rest = || rest_routes().merge(rest_repository.clone());
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

/// The routes that a prefix may come before.
fn rest_routes() -> Router<Arc<Gateway>> {
    v2::routes().merge(triton::router()).merge(v1::routes()).merge(openai::routes()).merge(openapi::routes())
}

/// Takes `/{namespace}/{service}` off the path where there is such a service, and answers the rest.
async fn prefixed(gateway: Arc<Gateway>, behind: Router, mut request: Request) -> Response {
    let Some((prefix, rest)) = Prefix::split(request.uri().path()) else { return not_found(request).await };
    match gateway.table().by_path(prefix.namespace, prefix.label) {
        Ok(Some(_)) => {}
        // What is not there looks to a caller like what it may not use: behind the prefix both are refused alike.
        Ok(None) if is_api(rest) && restricted(&request) => {}
        Err(_) if restricted(&request) => {}
        Ok(None) if is_api(rest) => {
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

fn restricted(request: &Request) -> bool {
    request.extensions().get::<Arc<Caller>>().is_some_and(|caller| caller.is_restricted())
}

/// The URI without the first `length` bytes of its path; what is left of that is `/` at least.
fn without_prefix(uri: &Uri, length: usize) -> Option<Uri> {
    let rest = uri.path_and_query()?.as_str().get(length..)?;
    let slash = if rest.starts_with('/') { "" } else { "/" };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(format!("{slash}{rest}").parse().ok()?);
    Uri::from_parts(parts).ok()
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
    parts::unread(request, response).await
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
    dialect_by(request.headers(), request.uri().path())
}

/// The dialect that a head speaks.
pub fn dialect_of(parts: &Parts) -> Dialect {
    dialect_by(&parts.headers, parts.uri.path())
}

fn dialect_by(headers: &HeaderMap, path: &str) -> Dialect {
    let content_type = headers.get(header::CONTENT_TYPE);
    if content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc")) {
        return Dialect::Grpc;
    }
    let behind = Prefix::split(path).map(|(_, rest)| rest).filter(|rest| is_api(rest));
    openai::dialect_of(behind.unwrap_or(path))
}

/// Whether a path is one of a protocol's, or would be.
fn is_api(path: &str) -> bool {
    ["/v1", "/v2", "/openai"]
        .into_iter()
        .any(|api| path.strip_prefix(api).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
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
        assert_eq!(short_way("/v2/models/digits/infer"), Some((None, Asked::V2("digits"))));
        assert_eq!(short_way("/v1/models/digits:predict"), Some((None, Asked::V1("digits"))));
        let prefix = Prefix { namespace: "ns", label: "latest-a" };
        assert_eq!(short_way("/ns/latest-a/v2/models/a/infer"), Some((Some(prefix), Asked::V2("a"))));
        assert_eq!(short_way("/ns/latest-a/v1/models/a:predict"), Some((Some(prefix), Asked::V1("a"))));
        for other in [
            "/v2/models//infer",
            "/v2/models/a/versions/1/infer",
            "/v2/models/a%20b/infer",
            "/v2/models/a/infer/",
            "/v2/models/infer",
            "/v2/models/a",
            "/ns/v2/models/a/infer",
            "/ns/a/b/v2/models/a/infer",
            "/v1/models/:predict",
            "/v1/models/a:explain",
            "/v1/models/a%20b:predict",
            "/v1/models/a/versions/1:predict",
            "/v1/models/a",
        ] {
            assert_eq!(short_way(other), None, "{other}");
        }
    }

    #[test]
    fn text_is_asked_for_with_and_without_a_prefix() {
        let prefix = Prefix { namespace: "ns", label: "a" };
        assert_eq!(text_way("/v1/chat/completions"), Some(None));
        assert_eq!(text_way("/openai/v1/embeddings"), Some(None));
        assert_eq!(text_way("/ns/a/v1/completions"), Some(Some(prefix)));
        for other in ["/v1/models", "/v1/chat", "/chat/completions", "/v1/chat/completions/", "/ns/a"] {
            assert_eq!(text_way(other), None, "{other}");
        }
    }

    #[test]
    fn errors_are_written_as_the_clients_of_a_path_read_them() {
        let dialect_at = |path: &str| dialect(&Request::builder().uri(path).body(Body::empty()).unwrap());
        for path in ["/v1/chat/completions", "/openai/v1/models/a", "/ns/a/v1/nothing", "/ns/a/openai/v1/x", "/v1"] {
            assert_eq!(dialect_at(path), Dialect::OpenAi, "{path}");
        }
        for path in
            ["/", "/nothing", "/v2/models/a", "/v1/models/a/b", "/v1/models", "/ns/a/v1/models/a:predict", "/v10/x"]
        {
            assert_eq!(dialect_at(path), Dialect::Rest, "{path}");
        }
    }

    #[test]
    fn a_prefix_is_taken_off_and_the_rest_kept() {
        let rest = |uri: &'static str| without_prefix(&Uri::from_static(uri), "/ns/a".len()).map(|uri| uri.to_string());
        assert_eq!(rest("/ns/a/v2/models/x?y=/z").as_deref(), Some("/v2/models/x?y=/z"));
        assert_eq!(rest("http://host:80/ns/a/v2").as_deref(), Some("http://host:80/v2"));
        assert_eq!(rest("/ns/a").as_deref(), Some("/"));
        assert_eq!(rest("/ns/a?x=1").as_deref(), Some("/?x=1"));
    }
}
