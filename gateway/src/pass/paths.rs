//! Requests that no adapter reads: they are passed on as they are, where there is a server to pass them to.
//!
//! A host or a prefix names a service, whose server then gets every path that is not one of the gateway's own. Else the
//! path, or a gRPC message, names a model.

use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::Method;
use http::request::Parts;
use weirgate_protocol::{Error, Protocol};

use super::upload::Upload;
use super::{PassedCall, Shape, pass_on};
use crate::dispatch::Readiness;
use crate::gateway::{Asked, Gateway, Routed};
use crate::server::address::{Address, Prefix};
use crate::server::body::BodyReader;
use crate::server::edge::{Arrival, Arrived};
use crate::{grpc, http as rest};

/// What the gateway answers itself, whoever is addressed.
const OWN: [&str; 6] = ["/v2", "/v2/", "/v1/models", "/openai/v1/models", "/v2/models/stats", "/openapi.json"];
const OWN_BELOW: [&str; 4] = ["/v2/health/", "/v2/repository/", "/grpc.health.v1.", "/grpc.reflection."];

/// The methods of V2 over gRPC, each of which names a model in its first field.
const GRPC: &str = "/inference.GRPCInferenceService/";
const GRPC_OF_MODELS: [&str; 5] = ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics", "ModelStreamInfer"];
/// Those about the server, which is the gateway, and those with an adapter.
const GRPC_OWN: [&str; 4] = ["ServerLive", "ServerReady", "ServerMetadata", "ModelInfer"];

/// How long a first message is waited for. Some clients send none before they have the answer's head: those get it from the
/// adapter, which reads each message for itself.
const FIRST_MESSAGE: Duration = Duration::from_secs(1);

/// Passes a request on, or gives it back where it is for others.
pub async fn try_pass(gateway: &Gateway, arrived: Arrived, request: Request) -> Result<Response, (Arrived, Request)> {
    let (parts, body) = request.into_parts();
    let peeks = needs_peek(parts.uri.path());
    let target = Target::of(gateway, &parts);
    if target.is_none() && !peeks {
        return Err((arrived, Request::from_parts(parts, body)));
    }
    let mut body = BodyReader::new(body, 0, gateway.config.client_timeout);
    let target = match target {
        Some(target) => Some(target),
        None => Target::by_message(gateway, &arrived, &parts, &mut body).await,
    };
    let Some(Target { routed, prefix, protocol, shape }) = target else {
        let (first, rest, _) = body.hand_over();
        let (body, _) = Upload::new((first, rest, None), None);
        return Err((arrived, Request::from_parts(parts, Body::new(body))));
    };
    let dialect = rest::dialect_of(&parts);
    let arrival = match Arrival::new(&parts, arrived, protocol) {
        Ok(arrival) => arrival,
        Err(error) => return Ok(dialect.error(&error)),
    };
    let model = routed.service().model.clone();
    let asked = Asked { model: &model, version: "", address: Address::new(prefix, &parts) };
    let mut call = PassedCall { arrival: &arrival, parts: &parts, body: &mut body, shape };
    let passed = pass_on(gateway, routed, &asked, &mut call, engines_only).await;
    Ok(match passed {
        Ok(response) => response,
        Err(refusal) => {
            body.discard().await;
            refusal.answer(dialect)
        }
    })
}

/// The revision was replaced by one that nothing can be passed to while the call waited.
fn engines_only(routed: &Routed) -> Error {
    Error::not_found(format!("service '{}' has no route for this: no server is behind it", routed.service().name))
}

/// Whom a request is for, and how it is passed.
struct Target<'a> {
    routed: Routed,
    prefix: Option<Prefix<'a>>,
    protocol: Protocol,
    shape: Shape,
}

impl<'a> Target<'a> {
    /// By the head alone.
    fn of(gateway: &Gateway, parts: &'a Parts) -> Option<Target<'a>> {
        let path = parts.uri.path();
        let prefixed = Prefix::split(path)
            .filter(|(prefix, _)| matches!(gateway.table().by_path(prefix.namespace, prefix.label), Ok(Some(_))));
        let (prefix, rest) = prefixed.map_or((None, path), |(prefix, rest)| (Some(prefix), rest));
        let address = Address::new(prefix, parts);
        let named = model_of(rest);
        let looks = parts.method == Method::GET || parts.method == Method::HEAD;
        let addressed = gateway.route_addressed(&address, false).ok()?;
        let routed = match (addressed, named) {
            (Some(routed), _) if is_own(rest) || has_adapter(rest, &parts.method, &routed) => return None,
            (Some(routed), _) if looks => routed,
            // A turn in the split is taken by those alone who are passed.
            (Some(_), _) => gateway.route_addressed(&address, true).ok()??,
            (None, Some((model, call))) if !is_own(rest) && !is_infer(call) => {
                let asked = Asked { model, version: "", address };
                take_turn(gateway, &asked, rest, looks)?
            }
            (None, _) => return None,
        };
        let protocol = spoken_protocol(&routed, rest)?;
        // What a model is like is asked of one that is ready; why it is not, the gateway says itself.
        if looks && named.is_some() && !matches!(routed.lane().readiness(), Readiness::Ready(_)) {
            return None;
        }
        Some(Target { routed, prefix, protocol, shape: shape_of(rest) })
    }

    /// By the model that a gRPC message names.
    async fn by_message(
        gateway: &Gateway,
        arrived: &Arrived,
        parts: &'a Parts,
        body: &mut BodyReader<Body>,
    ) -> Option<Target<'a>> {
        let arrival = Arrival::new(parts, arrived.clone(), Protocol::V2Grpc).ok()?;
        let model = grpc::peek_model(gateway, &arrival, &parts.headers, body);
        let model = tokio::time::timeout(FIRST_MESSAGE, model).await.ok()?.ok()?;
        let address = Address::new(None, parts);
        let path = parts.uri.path();
        let looks = shape_of(path) != Shape::Stream;
        let routed = take_turn(gateway, &Asked { model: &model, version: "", address }, path, looks)?;
        let protocol = spoken_protocol(&routed, path)?;
        Some(Target { routed, prefix: None, protocol, shape: shape_of(parts.uri.path()) })
    }
}

/// The revision that a path is passed to, of the service of a model: the one that speaks for it where the call only `looks`,
/// and else the one whose turn it is. A turn is taken by those alone who are passed.
fn take_turn(gateway: &Gateway, asked: &Asked<'_>, path: &str, looks: bool) -> Option<Routed> {
    let routed = gateway.represent(asked).ok()?;
    if looks {
        return Some(routed);
    }
    spoken_protocol(&routed, path)?;
    gateway.route(asked).ok()
}

/// The protocol by which a path is passed to a revision; none where it is not.
fn spoken_protocol(routed: &Routed, path: &str) -> Option<Protocol> {
    let spoken = routed.lane().spoken()?;
    let protocol = protocol_of(path);
    match protocol {
        Protocol::OpenAi if !spoken.speaks(protocol) => Some(Protocol::Other),
        // An engine of texts knows this of V2 and no more.
        Protocol::V2Http
            if (spoken.generates || !spoken.known) && model_of(path).is_some_and(|(_, call)| is_generate(call)) =>
        {
            Some(Protocol::Other)
        }
        _ => spoken.speaks(protocol).then_some(protocol),
    }
}

fn protocol_of(path: &str) -> Protocol {
    if path.starts_with(GRPC) {
        Protocol::V2Grpc
    } else if path.starts_with("/v2/") {
        Protocol::V2Http
    } else if path.starts_with("/v1/models/") {
        Protocol::V1Http
    } else if path.starts_with("/v1/") || path.starts_with("/openai/") {
        Protocol::OpenAi
    } else {
        Protocol::Other
    }
}

fn shape_of(path: &str) -> Shape {
    if path.strip_prefix(GRPC) == Some("ModelStreamInfer") { Shape::Stream } else { Shape::Exchange }
}

fn is_own(path: &str) -> bool {
    let grpc_own =
        path.strip_prefix(GRPC).is_some_and(|method| GRPC_OWN.contains(&method) || method.starts_with("Repository"));
    grpc_own || OWN.contains(&path) || OWN_BELOW.iter().any(|own| path.starts_with(own))
}

/// Whether an adapter reads the request: a prediction with the service's own model, which may have to be translated or
/// batched, or one of OpenAI's tasks.
fn has_adapter(path: &str, method: &Method, routed: &Routed) -> bool {
    if method != Method::POST {
        return false;
    }
    let own = |(model, call): (&str, &str)| is_infer(call) && *model == *routed.service().model;
    model_of(path).is_some_and(own) || rest::is_task(path)
}

/// The model that a path names, and what is asked of it.
fn model_of(path: &str) -> Option<(&str, &str)> {
    if let Some(rest) = path.strip_prefix("/v2/models/") {
        let (model, call) = rest.split_once('/').unwrap_or((rest, ""));
        let call = match call.strip_prefix("versions/") {
            Some(version) => version.split_once('/').map_or("", |(_, call)| call),
            None => call,
        };
        return Some((model, call));
    }
    let rest = path.strip_prefix("/v1/models/")?;
    let (name, verb) = rest.split_once(':').unwrap_or((rest, ""));
    Some((name.split('/').next().unwrap_or(name), verb))
}

fn is_infer(call: &str) -> bool {
    matches!(call, "infer" | "predict")
}

/// V2's extension for texts.
fn is_generate(call: &str) -> bool {
    matches!(call, "generate" | "generate_stream")
}

/// Whether a call's message must be looked at to know its model.
fn needs_peek(path: &str) -> bool {
    path.strip_prefix(GRPC).is_some_and(|method| GRPC_OF_MODELS.contains(&method))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_named_by_v1_and_v2_paths() {
        for (path, named) in [
            ("/v2/models/a", Some(("a", ""))),
            ("/v2/models/a/infer", Some(("a", "infer"))),
            ("/v2/models/a/versions/3/infer", Some(("a", "infer"))),
            ("/v2/models/a/versions/3", Some(("a", ""))),
            ("/v2/models/a/generate_stream", Some(("a", "generate_stream"))),
            ("/v1/models/a", Some(("a", ""))),
            ("/v1/models/a:explain", Some(("a", "explain"))),
            ("/v1/models/a/versions/2:predict", Some(("a", "predict"))),
            ("/v1/chat/completions", None),
            ("/metrics", None),
        ] {
            assert_eq!(model_of(path), named, "{path}");
        }
    }

    #[test]
    fn the_gateways_own_paths_stay_here() {
        for path in ["/v2", "/v2/health/ready", "/v1/models", "/inference.GRPCInferenceService/ServerReady"] {
            assert!(is_own(path), "{path}");
        }
        for path in ["/", "/metrics", "/v2/models/a", "/inference.GRPCInferenceService/ModelReady", "/v1/models/a"] {
            assert!(!is_own(path), "{path}");
        }
    }
}
