//! A text engine as a server: a request of HTTP in, an answer of HTTP out, without leaving the process.
//!
//! ```text
//! prompt   from a request to the tokens that the model goes on from
//! task     what a request asks the engine for, and in which form it is answered
//! form     answers as the routes write them: whole, and in events
//! choices  the generations of one request, as their parts come
//! events   answers on their way: collected, or event by event
//! ```
//!
//! What is wrong with a request, and what fails before the first text, is an answer with a status. What fails later is an event.
//! A call that the engine has refused without having begun it is a [`Fault`]: the lane gives it to another replica.

mod choices;
mod events;
mod form;
mod prompt;
mod task;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use weirgate_protocol::openai::{self, AnswerHead};
use weirgate_protocol::{Error, ErrorCode, Result, RetryClass, v2};

use super::engine::TextEngine;
use crate::remote::{Answering, Fault, FaultKind, InBody, OutBody, Server, Within};

/// The trailer of a stream that has failed: the status that its answer would have, had it not begun.
pub const FAILED: HeaderName = HeaderName::from_static("x-weirgate-failed");

/// A text engine, as calls that are passed on reach it.
pub(super) struct TextServer {
    engine: Arc<TextEngine>,
    model: Arc<str>,
    revision: Arc<str>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route {
    Chat,
    Completion,
    Embeddings,
    Tokenize,
    Detokenize,
    Generate { stream: bool },
}

/// How errors are written.
#[derive(Clone, Copy)]
enum Dialect {
    OpenAi,
    V2,
}

impl Server for TextServer {
    fn call(&self, request: Request<OutBody>) -> Answering<'_> {
        Box::pin(self.answer(request))
    }
}

impl TextServer {
    pub fn new(engine: Arc<TextEngine>, model: Arc<str>, revision: Arc<str>) -> TextServer {
        TextServer { engine, model, revision }
    }

    async fn answer(&self, request: Request<OutBody>) -> Result<Response<InBody>, Fault> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        let dialect = if path.starts_with("/v2/") { Dialect::V2 } else { Dialect::OpenAi };
        let (Some(route), Some(within)) = (Route::of(&head.method, path), head.extensions.get::<Within>()) else {
            let text = format!("model '{}' generates text, and has no route {} {path}", self.model, head.method);
            return Ok(refuse(&Error::not_found(text), dialect));
        };
        let broke = |error| Fault::new(FaultKind::Caller, format!("the request's body broke off: {error}"));
        let body = body.collect().await.map_err(broke)?.to_bytes();
        match self.execute(route, body, within).await {
            Ok(response) => Ok(response),
            Err(error) if is_elsewheres(&error) => Err(Fault { kind: FaultKind::NotExecuted, error }),
            Err(error) => Ok(refuse(&error, dialect)),
        }
    }

    async fn execute(&self, route: Route, body: Bytes, within: &Within) -> Result<Response<InBody>> {
        let task = match route {
            Route::Chat => prompt::of_chat(&self.engine, &body).await?,
            Route::Completion => prompt::of_completion(&self.engine, &body).await?,
            Route::Generate { stream } => prompt::of_generate(&self.engine, &body, stream).await?,
            Route::Tokenize => return prompt::tokenize(&self.engine, &body).await.map(json),
            Route::Detokenize => return prompt::detokenize(&self.engine, &body).map(json),
            Route::Embeddings => {
                let text = format!("model '{}' generates text, and makes no embeddings", self.model);
                return Err(Error::invalid(text).with_param("model"));
            }
        };
        let (asked, choices) = task.submit(&self.engine, within)?;
        let head = self.head(within);
        if asked.stream {
            events::stream(&asked, choices, &head).await
        } else {
            events::whole(&asked, choices, &head).await
        }
    }

    fn head<'a>(&'a self, within: &'a Within) -> AnswerHead<'a> {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        AnswerHead {
            request_id: &within.head.request_id,
            created: since_1970.as_ref().map_or(0, Duration::as_secs),
            model: &self.model,
            fingerprint: Some(&self.revision),
        }
    }
}

impl Route {
    fn of(method: &Method, path: &str) -> Option<Route> {
        if method != Method::POST {
            return None;
        }
        match path {
            "/v1/chat/completions" => Some(Route::Chat),
            "/v1/completions" => Some(Route::Completion),
            "/v1/embeddings" => Some(Route::Embeddings),
            "/tokenize" => Some(Route::Tokenize),
            "/detokenize" => Some(Route::Detokenize),
            // The gateway has found the model by its name.
            _ => match path.strip_prefix("/v2/models/")?.rsplit('/').next()? {
                "generate" => Some(Route::Generate { stream: false }),
                "generate_stream" => Some(Route::Generate { stream: true }),
                _ => None,
            },
        }
    }
}

/// Whether another replica may still execute the call.
fn is_elsewheres(error: &Error) -> bool {
    matches!(error.code(), ErrorCode::Unavailable | ErrorCode::QueueFull)
        && error.retry_class() == RetryClass::NotExecuted
}

fn json(body: Bytes) -> Response<InBody> {
    let mut response = Response::new(InBody::Whole(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refuse(error: &Error, dialect: Dialect) -> Response<InBody> {
    let mut response = json(match dialect {
        Dialect::OpenAi => openai::error_body(error, None),
        Dialect::V2 => v2::error_body(error),
    });
    *response.status_mut() = status(error);
    if let Some(seconds) = error.retry_after_seconds() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn status(error: &Error) -> StatusCode {
    // The table holds valid statuses only.
    StatusCode::from_u16(error.row().http).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}
