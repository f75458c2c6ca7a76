//! The control API, in the shape of Kubernetes' paths: list, get, apply, delete, and change a rollout.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::json;
use weirgate_deploy::Control;
use weirgate_deploy::control::{Named, Refused, Rollout, ServiceView};
use weirgate_deploy_core::{Loaded, Problem, Severity, claimed_twice, load};
use weirgate_protocol::{Error, Result};

use super::access::Access;
use super::guard::{Guard, guarded};
use super::wire::{API, ApplyAnswer, ApplyRequest, Document, Refusal, RolloutRequest, Told, Views};
use crate::repository::refused;
use crate::respond;
use crate::server::body::{BodyLimit, BodyReader};

const BODY_LIMIT: BodyLimit = BodyLimit { bytes: 4 << 20, set_by: "of the control API: apply fewer files at a time" };
/// For a whole body to come.
const BODY_TIME: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Api {
    control: Control,
    access: Arc<Access>,
    client_timeout: Duration,
}

/// The routes. Each asks `access` first. A client that pauses for `client_timeout` is given up.
pub fn router(control: Control, access: Arc<Access>, client_timeout: Duration) -> Router {
    let guard = Guard { access: access.clone(), client_timeout };
    let api = Api { control, access, client_timeout };
    Router::new()
        .route(&format!("{API}/inferenceservices"), get(list_all))
        .route(&format!("{API}/namespaces/{{namespace}}/inferenceservices"), get(list_namespace))
        .route(&format!("{API}/namespaces/{{namespace}}/inferenceservices/{{name}}"), get(one).delete(delete))
        .route(&format!("{API}/namespaces/{{namespace}}/inferenceservices/{{name}}/rollout"), post(rollout))
        .route(&format!("{API}/apply"), post(apply))
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(middleware::from_fn_with_state(guard, guarded))
        .with_state(api)
}

impl Api {
    /// A service as whoever asks may see it: as it was written, secrets and all, where the token was shown.
    fn shown<'a>(&self, view: &'a ServiceView, request: &Request) -> Cow<'a, ServiceView> {
        match &view.written {
            Some(written) if self.access.check_token(request.headers()).is_ok() => {
                Cow::Owned(ServiceView { object: written.clone(), written: None, ..view.clone() })
            }
            _ => Cow::Borrowed(view),
        }
    }
}

async fn method_not_allowed(request: Request) -> Response {
    let text = format!("method {} is not allowed on '{}'", request.method(), request.uri().path());
    respond::rest_error(&Error::method_not_allowed(text))
}

async fn list_all(State(api): State<Api>, request: Request) -> Response {
    list(&api, |_| true, &request)
}

async fn list_namespace(State(api): State<Api>, Path(namespace): Path<String>, request: Request) -> Response {
    list(&api, |view| view.named.namespace == namespace, &request)
}

fn list(api: &Api, wanted: impl Fn(&ServiceView) -> bool, request: &Request) -> Response {
    let views = api.control.list();
    let views = views.iter().filter(|view| wanted(view)).map(|view| api.shown(view, request));
    respond(full_view(request).map(|full| {
        if full {
            return respond::to_json(&Views { items: views.collect::<Vec<_>>() });
        }
        let items: Vec<_> = views.map(|view| view.object.clone()).collect();
        respond::to_json(&json!({
            "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceServiceList", "metadata": {}, "items": items,
        }))
    }))
}

async fn one(State(api): State<Api>, Path(named): Path<Named>, request: Request) -> Response {
    let answer = || {
        let full = full_view(&request)?;
        let view = api.control.get(&named).ok_or_else(|| refused(Refused::NotFound(named.to_string())))?;
        let view = api.shown(&view, &request);
        Ok(if full { respond::to_json(view.as_ref()) } else { respond::to_json(&view.object) })
    };
    respond(answer())
}

async fn delete(State(api): State<Api>, Path(named): Path<Named>) -> Response {
    let deleted = api.control.delete(named).await.map_err(refused);
    respond(deleted.map(|()| respond::to_json(&json!({ "apiVersion": "v1", "kind": "Status", "status": "Success" }))))
}

async fn rollout(State(api): State<Api>, Path(named): Path<Named>, request: Request) -> Response {
    let answer = async {
        let RolloutRequest { rollout, write_back } = read(request.into_body(), api.client_timeout).await?;
        if let Rollout::Set { percent: percent @ 101.., .. } = rollout {
            return Err(Error::invalid(format!("percent is {percent}: allowed is a whole number from 0 to 100")));
        }
        api.control.rollout(named, rollout, write_back).await.map_err(refused)
    };
    respond(answer.await.map(|applied| respond::to_json(&applied)))
}

async fn apply(State(api): State<Api>, request: Request) -> Response {
    let answer = async {
        let ApplyRequest { documents } = read(request.into_body(), api.client_timeout).await?;
        // Reading megabytes of YAML takes a while, in which others want to be served.
        let loaded = tokio::task::spawn_blocking(move || load_all(&documents)).await;
        let Loaded { services, problems } = loaded.map_err(|error| Error::internal(error.to_string()))??;
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Ok(wrong_manifests(&problems));
        }
        let applied = api.control.apply(services).await.map_err(refused)?;
        let problems = problems.iter().map(Told::from).chain(applied.iter().filter_map(Told::of_refused));
        Ok(respond::to_json(&ApplyAnswer { problems: problems.collect(), applied }))
    };
    respond(answer.await)
}

/// All services of all texts, and what is wrong with them by themselves and together.
fn load_all(documents: &[Document]) -> Result<Loaded> {
    let mut all = Loaded::default();
    if documents.is_empty() {
        return Err(Error::invalid("documents is empty: give at least one"));
    }
    for Document { text, origin, base } in documents {
        if !base.is_absolute() {
            let text = format!("base of {origin} is '{}': give an absolute path", base.display());
            return Err(Error::invalid(text));
        }
        let loaded = load(text, origin, base);
        all.services.extend(loaded.services);
        all.problems.extend(loaded.problems);
    }
    all.problems.extend(claimed_twice(&all.services));
    Ok(all)
}

fn wrong_manifests(problems: &[Problem]) -> Response {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).map(Problem::to_string);
    let error = errors.collect::<Vec<_>>().join("; ");
    let mut response = respond::to_json(&Refusal { error, problems: problems.iter().map(Told::from).collect() });
    *response.status_mut() = StatusCode::BAD_REQUEST;
    response
}

/// A body of JSON, within the limits of size and time.
async fn read<T: DeserializeOwned>(body: Body, pause: Duration) -> Result<T> {
    let mut reader = BodyReader::new(body, 0, pause);
    let body = match reader.read_small(BODY_LIMIT, Instant::now() + BODY_TIME).await {
        Ok(body) => body,
        Err(error) => {
            reader.discard().await;
            return Err(error);
        }
    };
    serde_json::from_slice(&body)
        .map_err(|error| Error::invalid(format!("the body is not the JSON that is expected here: {error}")))
}

/// Whether `?view=full` was asked for.
fn full_view(request: &Request) -> Result<bool> {
    let query = request.uri().query().unwrap_or_default();
    match query.split('&').find_map(|pair| pair.strip_prefix("view=")) {
        None => Ok(false),
        Some("full") => Ok(true),
        Some(other) => {
            let shown: String = other.chars().take(64).collect();
            Err(Error::invalid(format!("view is '{shown}': allowed is full, or leave it out")))
        }
    }
}

fn respond(answer: Result<Response>) -> Response {
    answer.unwrap_or_else(|error| respond::rest_error(&error))
}
