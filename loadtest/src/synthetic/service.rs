//! From a request to its answer.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use prost::Message;
use serde_json::{Value, json};
use weirgate_protocol::{oip, v2};

use super::answers::{self, Completion};
use super::behaviour::{Behaviour, Fault};
use super::counts::Counts;
use super::reply::{Part, Reply};
use super::schedule::{Admission, Schedule};
use crate::request::framed;

/// The flag and length before each gRPC message.
const PREFIX: usize = 5;

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    behaviour: Behaviour,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    counts: Counts,
    schedule: Schedule,
}

impl Shared {
    pub(super) fn new(behaviour: Behaviour) -> Shared {
        let schedule = Schedule::new(behaviour.service);
        Shared { behaviour, state: Mutex::new(State { counts: Counts::default(), schedule }) }
    }

    pub(super) fn counts(&self) -> Counts {
        self.with(|state| state.counts)
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        self.with(|state| change(&mut state.counts));
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes an inference request in.
    fn admit(&self) -> Admitted {
        // Under the lock, so that times and numbers have one order.
        self.with(|state| {
            let now = Instant::now();
            state.counts.requests += 1;
            let number = state.counts.requests;
            let fault = self.behaviour.fault(number);
            let admission = state.schedule.admit(now, number);
            if let Admission::Due { slow, stalled, .. } = admission {
                state.counts.slow += u64::from(slow);
                state.counts.stalled += u64::from(stalled);
            }
            Admitted { number, admission, fault }
        })
    }
}

struct Admitted {
    number: u64,
    admission: Admission,
    fault: Option<Fault>,
}

/// What is asked.
enum Asked<'a> {
    Predict,
    Infer { model: &'a str },
    GrpcInfer,
    Completion { chat: bool },
    Embeddings,
}

impl Asked<'_> {
    fn of(path: &str) -> Option<Asked<'_>> {
        match path {
            "/inference.GRPCInferenceService/ModelInfer" => return Some(Asked::GrpcInfer),
            "/v1/chat/completions" => return Some(Asked::Completion { chat: true }),
            "/v1/completions" => return Some(Asked::Completion { chat: false }),
            "/v1/embeddings" => return Some(Asked::Embeddings),
            _ => {}
        }
        if path.starts_with("/v1/models/") && path.ends_with(":predict") {
            return Some(Asked::Predict);
        }
        let model = path.strip_prefix("/v2/models/")?.strip_suffix("/infer")?;
        Some(Asked::Infer { model: model.split_once("/versions/").map_or(model, |(model, _)| model) })
    }
}

/// Answers one request. An error closes the connection or resets the stream.
pub(super) async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> io::Result<Response<Reply>> {
    let (head, body) = request.into_parts();
    let asked = (head.method == Method::POST).then(|| Asked::of(head.uri.path())).flatten();
    let Some(asked) = asked else {
        shared.count(|counts| counts.others += 1);
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        return metadata(&head.method, head.uri.path(), &body);
    };
    let admitted = shared.admit();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let grpc = matches!(asked, Asked::GrpcInfer);
    let (due, fault) = match (admitted.admission, admitted.fault) {
        (Admission::Refused, _) => {
            shared.count(|counts| counts.refused += 1);
            return Ok(status(503, grpc));
        }
        (Admission::Due { at, .. }, fault) => (at, fault),
    };
    // Only streams can end with an event.
    let streams = matches!(asked, Asked::Completion { .. }) && flag(&body, "/stream");
    let fault = fault.map(|fault| if fault == Fault::ErrorEvent && !streams { Fault::Status(500) } else { fault });
    match fault {
        Some(Fault::Hang) => {
            shared.count(|counts| counts.hung += 1);
            std::future::pending::<()>().await;
        }
        Some(Fault::Close) => {
            shared.count(|counts| counts.closed += 1);
            wait(due).await;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Some(Fault::Status(code)) => {
            shared.count(|counts| counts.failed += 1);
            wait(due).await;
            return Ok(status(code, grpc));
        }
        Some(Fault::Wrong | Fault::Cut | Fault::ErrorEvent) | None => {}
    }
    let mut response = match &asked {
        Asked::Completion { chat } if streams => stream(&shared, *chat, &body, due, fault)?,
        _ => {
            let tokens = &shared.behaviour.tokens;
            let completion = matches!(asked, Asked::Completion { .. });
            wait(due + if completion { tokens.gap * tokens.count.saturating_sub(1) } else { Duration::ZERO }).await;
            whole(&shared, &asked, &head.headers, &body, fault)?
        }
    };
    stamp(&shared, admitted.number, response.headers_mut());
    shared.count(|counts| match fault {
        Some(Fault::Wrong) => counts.wrong += 1,
        Some(Fault::Cut) => counts.cut += 1,
        Some(Fault::ErrorEvent) => counts.error_events += 1,
        _ if response.status() != StatusCode::OK => counts.invalid += 1,
        _ => counts.right += 1,
    });
    Ok(response)
}

async fn wait(until: Instant) {
    tokio::time::sleep_until(until.into()).await;
}

/// An answer in one piece.
fn whole(
    shared: &Shared,
    asked: &Asked<'_>,
    headers: &HeaderMap,
    body: &Bytes,
    fault: Option<Fault>,
) -> io::Result<Response<Reply>> {
    let wrong = fault == Some(Fault::Wrong);
    let (content_type, header_length, bytes) = match asked {
        Asked::GrpcInfer => {
            let request = body.get(PREFIX..).and_then(|message| oip::ModelInferRequest::decode(message).ok());
            let Some(request) = request else { return Ok(grpc_status("3")) };
            let id = (!request.id.is_empty()).then_some(request.id);
            let response = answers::tensors(&request.model_name, id, wrong);
            let message = oip::encode_response(response, true).map_err(io::Error::other)?;
            return Ok(grpc(framed(&message)?, fault == Some(Fault::Cut)));
        }
        Asked::Infer { model } => {
            let length = headers.get("inference-header-content-length").and_then(|value| value.to_str().ok());
            let Ok(request) = v2::decode_request(body, length) else { return Ok(status(400, false)) };
            let response = answers::tensors(model, request.id.clone(), wrong);
            let encoded = v2::encode_response(&response, &request).map_err(io::Error::other)?;
            (encoded.content_type(), encoded.header_length, encoded.into_bytes())
        }
        Asked::Predict => ("application/json", None, json_bytes(&answers::predictions(wrong))),
        Asked::Embeddings | Asked::Completion { .. } => {
            let Ok(request) = serde_json::from_slice::<Value>(body) else { return Ok(status(400, false)) };
            let model = &request["model"];
            let answer = match asked {
                Asked::Completion { chat } => {
                    let tokens = shared.behaviour.tokens.count;
                    shared.count(|counts| counts.tokens += u64::from(tokens));
                    Completion { chat: *chat, model, tokens, wrong }.whole()
                }
                _ => answers::embeddings(model, wrong),
            };
            ("application/json", None, json_bytes(&answer))
        }
    };
    let reply = if fault == Some(Fault::Cut) { Reply::cut(bytes) } else { Reply::now([Part::Data(bytes)]) };
    let mut response = Response::new(reply);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Some(length) = header_length {
        response.headers_mut().insert("inference-header-content-length", length.into());
    }
    Ok(response)
}

/// A completion as server-sent events: its head at once, the first token when it is due, and each other a gap later.
fn stream(
    shared: &Shared,
    chat: bool,
    body: &Bytes,
    due: Instant,
    fault: Option<Fault>,
) -> io::Result<Response<Reply>> {
    let request: Value = serde_json::from_slice(body)?;
    let tokens = shared.behaviour.tokens;
    let completion =
        Completion { chat, model: &request["model"], tokens: tokens.count, wrong: fault == Some(Fault::Wrong) };
    let sent = match fault {
        Some(Fault::Cut | Fault::ErrorEvent) => tokens.count / 2,
        _ => tokens.count,
    };
    let mut parts: Vec<(Instant, Part)> = Vec::with_capacity(sent as usize + 2);
    parts.extend(completion.opening().map(|opening| (Instant::now(), Part::Data(opening))));
    parts.extend((0..sent).map(|index| (due + tokens.gap * index, Part::Data(completion.event(index)))));
    let (next, last) = (due + tokens.gap * sent, due + tokens.gap * sent.saturating_sub(1));
    match fault {
        Some(Fault::Cut) => parts.push((next, Part::Cut)),
        Some(Fault::ErrorEvent) => parts.push((next, Part::Data(answers::error_event()))),
        _ => parts.push((last, Part::Data(completion.closing(flag(body, "/stream_options/include_usage"))))),
    }
    shared.count(|counts| counts.tokens += u64::from(sent));
    let mut response = Response::new(Reply::timed(parts));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    Ok(response)
}

/// Whether a JSON body has this set.
fn flag(body: &[u8], pointer: &str) -> bool {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    value.and_then(|value| value.pointer(pointer)?.as_bool()).unwrap_or(false)
}

/// What the server says of itself, beside its answer.
fn stamp(shared: &Shared, number: u64, headers: &mut HeaderMap) {
    if let Some(every) = shared.behaviour.canary_every {
        let canary = number.is_multiple_of(every);
        headers.insert("x-weirgate-revision", HeaderValue::from_static(if canary { "canary" } else { "stable" }));
        shared.count(|counts| if canary { counts.canary += 1 } else { counts.stable += 1 });
    }
    if let Some(overhead) = shared.behaviour.overhead_us {
        headers.insert("x-weirgate-overhead-us", overhead.into());
    }
}

/// An answer that is only a status, in the protocol's own terms.
fn status(code: u16, grpc: bool) -> Response<Reply> {
    if grpc {
        return grpc_status(match code {
            503 => "14",
            429 => "8",
            _ => "13",
        });
    }
    let body = json_bytes(&json!({ "error": format!("synthetic {code}") }));
    let mut response = Response::new(Reply::now([Part::Data(body)]));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn grpc_status(code: &'static str) -> Response<Reply> {
    let mut response = Response::new(Reply::now([]));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-status", HeaderValue::from_static(code));
    response
}

fn grpc(message: Bytes, cut: bool) -> Response<Reply> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let whole = [Part::Data(message.clone()), Part::Trailers(trailers)];
    let mut response = Response::new(if cut { Reply::cut(message) } else { Reply::now(whole) });
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// All that is not inference, at once: metadata of a V2 model, and health.
fn metadata(method: &Method, path: &str, body: &[u8]) -> io::Result<Response<Reply>> {
    if path == "/inference.GRPCInferenceService/ModelMetadata" {
        let request = body.get(PREFIX..).and_then(|message| oip::ModelMetadataRequest::decode(message).ok());
        let Some(request) = request else { return Ok(grpc_status("3")) };
        let message = oip::model_metadata(&request.name, &[answers::VERSION], &answers::spec());
        return Ok(grpc(framed(&message)?, false));
    }
    if path.starts_with("/inference.GRPCInferenceService/") {
        return Ok(grpc_status("12"));
    }
    let bytes = match (path.strip_prefix("/v2/models/"), path) {
        _ if method != Method::GET => return Ok(status(405, false)),
        (_, "/v2/health/live" | "/v2/health/ready") => v2::ready(true),
        (_, "/v1/models") => {
            json_bytes(&json!({ "object": "list", "data": [{ "id": "synthetic", "object": "model" }] }))
        }
        (Some(model), _) if !model.contains('/') => v2::model_metadata(model, &[answers::VERSION], &answers::spec()),
        _ => return Ok(status(404, false)),
    };
    let mut response = Response::new(Reply::now([Part::Data(bytes)]));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

fn json_bytes(value: &Value) -> Bytes {
    value.to_string().into()
}
