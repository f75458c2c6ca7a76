//! V1 over HTTP: `:predict`, and what KServe's clients ask besides.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use weirgate_protocol::v1::{self, instances};
use weirgate_protocol::{Error, ErrorCode, ModelSpec, Protocol, Result};

use super::events::Mode;
use super::openai;
use super::parts::{
    Named, NamedVersion, Pieces, Shared, check_version, codings, discard, json, path_names, taken, unread,
};
use crate::gateway::{Asked, Gateway};
use crate::pipeline::{self, InferCall, Served};
use crate::respond::{self, Dialect, Refusal};
use crate::server::address::{Address, Prefix, TakenPrefix};
use crate::server::body::BodyReader;
use crate::server::codings::Accepted;
use crate::server::edge::{Arrival, Arrived};

/// The lists of models are OpenAI's, too, and answer both.
pub fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/", get(alive))
        .route("/v1/models", get(openai::models))
        .route("/v1/models/{call}", get(status).post(call).fallback(other_method))
        .route("/v1/models/{model}/versions/{call}", get(version_status).post(call_version).fallback(other_method))
}

async fn alive() -> Response {
    json(StatusCode::OK, v1::alive())
}

async fn status(State(gateway): Shared, call: Named, request: Request) -> Response {
    answer_status(&gateway, path_names(call).map(|call| (call, String::new())), request).await
}

async fn version_status(State(gateway): Shared, call: NamedVersion, request: Request) -> Response {
    answer_status(&gateway, path_names(call), request).await
}

/// Whether a model is ready; a path with a verb is for POST.
async fn answer_status(gateway: &Gateway, asked: Result<(String, String)>, request: Request) -> Response {
    match asked {
        Ok((model, version)) if model.contains(':') || version.contains(':') => not_allowed(request, POST).await,
        Ok((model, version)) => openai::answer_model(gateway, &model, &version, &request, Dialect::Rest),
        Err(error) => respond::rest_error(&error),
    }
}

const GET: HeaderValue = HeaderValue::from_static("GET,HEAD");
const POST: HeaderValue = HeaderValue::from_static("POST");

/// The methods of a path depend on whether it has a verb, which the router does not see.
async fn other_method(Path(names): Path<Vec<String>>, request: Request) -> Response {
    let verb = names.last().is_some_and(|last| last.contains(':'));
    not_allowed(request, if verb { POST } else { GET }).await
}

async fn not_allowed(request: Request, allow: HeaderValue) -> Response {
    let mut response = super::method_not_allowed(request).await;
    response.headers_mut().insert(header::ALLOW, allow);
    response
}

async fn call(State(gateway): Shared, call: Named, request: Request) -> Response {
    let asked = path_names(call).map(|call| {
        let (model, verb) = call.rsplit_once(':').unwrap_or((&call, ""));
        (model.to_owned(), String::new(), verb.to_owned())
    });
    answer_call(&gateway, asked, request).await
}

async fn call_version(State(gateway): Shared, call: NamedVersion, request: Request) -> Response {
    let asked = path_names(call).map(|(model, call)| {
        let (version, verb) = call.rsplit_once(':').unwrap_or((&call, ""));
        (model, version.to_owned(), verb.to_owned())
    });
    let asked = asked.and_then(|asked| check_version(&asked.1).map(|()| asked));
    answer_call(&gateway, asked, request).await
}

async fn answer_call(gateway: &Gateway, asked: Result<(String, String, String)>, request: Request) -> Response {
    let (model, version, verb) = match &asked {
        Ok((model, version, verb)) => (&**model, &**version, &**verb),
        Err(error) => return unread(request, respond::rest_error(error)).await,
    };
    if verb.is_empty() {
        return not_allowed(request, GET).await;
    }
    let (prefix, arrived) = taken(&request);
    let prefix = prefix.as_ref().map(TakenPrefix::as_prefix);
    let answer = run(gateway, (model, version, verb), prefix, arrived, request).await;
    answer.unwrap_or_else(|refusal| refusal.answer(Dialect::Rest))
}

const PREDICT: &str = "predict";

/// Predicts with a model whose name is known.
pub async fn predict_model(
    gateway: &Gateway,
    model: &str,
    prefix: Option<Prefix<'_>>,
    arrived: Arrived,
    request: Request,
) -> Response {
    let answer = run(gateway, (model, "", PREDICT), prefix, arrived, request).await;
    answer.unwrap_or_else(|refusal| refusal.answer(Dialect::Rest))
}

async fn run(
    gateway: &Gateway,
    (model, version, verb): (&str, &str, &str),
    prefix: Option<Prefix<'_>>,
    arrived: Arrived,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let mut body = BodyReader::new(body, 0, gateway.config.client_timeout);
    let answer = async {
        let arrival = Arrival::new(&parts, arrived, Protocol::V1Http)?;
        let asked = Asked { model, version, address: Address::new(prefix, &parts) };
        let readable = || -> Result<Mode> {
            if verb != PREDICT {
                return Err(not_built(gateway, &asked, verb));
            }
            refuse_charset(&parts.headers)?;
            Mode::of(&parts.headers)
        };
        let mode = readable().inspect_err(|error| pipeline::refuse_unrouted(&arrival, model, error))?;
        body.set_codings(codings(&arrival, model, &parts.headers)?);
        predict(gateway, asked, &arrival, &parts, (mode, Accepted::of(&parts.headers)), &mut body).await
    };
    let answer = answer.await;
    if answer.is_err() {
        discard(&mut body, &parts.headers).await;
    }
    answer
}

async fn predict(
    gateway: &Gateway,
    asked: Asked<'_>,
    arrival: &Arrival,
    parts: &Parts,
    (mut mode, accepted): (Mode, Accepted),
    body: &mut BodyReader<Body>,
) -> Result<Response, Refusal> {
    let mut form = v1::Form::default();
    // Of a model that does not say what it takes, rows are passed on as they are written.
    let mut by_rows = false;
    let decode = |bytes: Bytes, spec: &ModelSpec| {
        by_rows = instances::is_spec(spec);
        if by_rows {
            let unfit = || Error::invalid("the request is not one of instances alone");
            return mode.decode(bytes, |data| instances::decode_request(data).ok_or_else(unfit));
        }
        let (request, found) = mode.decode(bytes, |data| v1::decode_request(data, spec))?;
        form = found;
        Ok(request)
    };
    let call = InferCall { arrival, asked, body, passes: Some(parts), decode };
    let mut answered = match pipeline::infer(gateway, call).await? {
        Served::Answered(answered) => answered,
        Served::Passed(response) => return Ok(response),
        Served::Text(_) => return Err(Error::internal("rows of V1 are no text to go on with").into()),
    };
    let mut headers = HeaderMap::with_capacity(8);
    let encode = |response, _: &_| {
        let answer = if by_rows { instances::encode_response(&response) } else { v1::encode_response(&response, form) };
        let body = mode.encode(asked.model, answer?);
        accepted.apply(vec![body], &mut headers)
    };
    let pieces = answered.encode(accepted.any(), encode).await?;
    mode.stamp(asked.model, &mut headers);
    answered.finish(&mut headers);
    let mut response = Response::new(Body::new(Pieces(pieces.into())));
    *response.headers_mut() = headers;
    Ok(response)
}

/// What is known of V1, and not done here; or that there is no such model.
fn not_built(gateway: &Gateway, asked: &Asked<'_>, verb: &str) -> Error {
    match gateway.loaded(asked) {
        Err(error) if error.code() != ErrorCode::Unavailable => return error,
        _ => {}
    }
    match verb {
        "explain" => Error::unsupported("explainers are not built yet: ':predict' is what there is"),
        "classify" | "regress" => {
            Error::unsupported(format!("':{verb}' takes tf.Example records, which are not built: call ':predict'"))
        }
        _ => {
            let shown: String = verb.chars().take(64).collect();
            Error::not_found(format!("V1 has no verb ':{shown}': call ':predict'"))
        }
    }
}

/// Bodies are read as UTF-8, whatever type a client gives them: curl's is that of a form.
fn refuse_charset(headers: &HeaderMap) -> Result<()> {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return Ok(()) };
    let parameters = value.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let charset = parameters.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    let Some((_, charset)) = charset else { return Ok(()) };
    let charset = charset.trim().trim_matches('"');
    if ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let shown: String = charset.chars().take(32).collect();
    Err(Error::unsupported_media(format!("charset '{shown}' of the content-type is not read: send UTF-8")))
}
