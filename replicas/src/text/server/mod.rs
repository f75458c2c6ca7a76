//! A text engine as a server: a request of HTTP in, an answer of HTTP out, without leaving the process.

use std::sync::Arc;

use http::{Request, Response};

use super::engine::TextEngine;
use crate::remote::{Answering, InBody, OutBody, Server};

/// A text engine, as calls that are passed on reach it.
pub(super) struct TextServer {
    engine: Arc<TextEngine>,
    model: Arc<str>,
}

impl TextServer {
    pub fn new(engine: Arc<TextEngine>, model: Arc<str>) -> TextServer {
        TextServer { engine, model }
    }
}

impl Server for TextServer {
    fn call(&self, _request: Request<OutBody>) -> Answering<'_> {
        let _ = (&self.engine, &self.model);
        Box::pin(async move { Ok(Response::new(InBody::Whole("".into()))) })
    }
}
