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
use http::{Method, Response};
use weirgate_protocol::openai::AnswerHead;
use weirgate_protocol::{Error, Result};

use super::engine::TextEngine;
use crate::language::respond::{Dialect, answer, json, whole};
use crate::remote::{Answering, Fault, InBody, OutBody, RequestHead, Server, Within};

/// A text engine, as calls that are passed on reach it.
pub(crate) struct TextServer {
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

impl Server for TextServer {
    fn call(&self, within: Within, head: RequestHead, body: OutBody) -> Answering<'_> {
        Box::pin(self.answer(within, head, body))
    }
}

impl TextServer {
    pub fn new(engine: Arc<TextEngine>, model: Arc<str>, revision: Arc<str>) -> TextServer {
        TextServer { engine, model, revision }
    }

    async fn answer(&self, within: Within, head: RequestHead, body: OutBody) -> Result<Response<InBody>, Fault> {
        let path = head.target.path();
        let dialect = Dialect::of(path);
        let Some(route) = Route::of(&head.method, path) else {
            let text = format!("model '{}' generates text, and has no route {} {path}", self.model, head.method);
            return answer(Err(Error::not_found(text)), dialect);
        };
        let body = whole(body).await?;
        answer(self.execute(route, body, &within).await, dialect)
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
