//! An embedding engine as a server in this process: OpenAI's embeddings.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Response};
use weirgate_models::embed::{EmbedTokenizer, TooLong, Truncation};
use weirgate_protocol::openai::{EmbeddingsRequest, Prompt, TokenizeInput, TokenizeRequest, Truncate};
use weirgate_protocol::openai::{embeddings, tokenized};
use weirgate_protocol::{Error, Result};

use super::engine::EmbedEngine;
use super::request::Embed;
use crate::language::respond::{Dialect, answer, aside, json, whole};
use crate::remote::{Answering, Fault, InBody, OutBody, RequestHead, Server, Within};

/// An embedding engine, as calls that are passed on reach it.
pub(crate) struct EmbedServer {
    engine: Arc<EmbedEngine>,
    model: Arc<str>,
}

impl Server for EmbedServer {
    fn call(&self, within: Within, head: RequestHead, body: OutBody) -> Answering<'_> {
        Box::pin(self.answer(within, head, body))
    }
}

impl EmbedServer {
    pub fn new(engine: Arc<EmbedEngine>, model: Arc<str>) -> EmbedServer {
        EmbedServer { engine, model }
    }

    async fn answer(&self, within: Within, head: RequestHead, body: OutBody) -> Result<Response<InBody>, Fault> {
        let (path, dialect) = (head.target.path(), Dialect::of(head.target.path()));
        if head.method != Method::POST {
            return answer(Err(self.no_route(&head.method, path)), dialect);
        }
        let body = whole(body).await?;
        let answered = match path {
            "/v1/embeddings" => self.embed(body, &within).await,
            "/tokenize" => self.tokenize(body).await,
            _ => Err(self.no_route(&head.method, path)),
        };
        answer(answered.map(json), dialect)
    }

    fn no_route(&self, method: &Method, path: &str) -> Error {
        let text = format!("model '{}' makes embeddings, and has no route {method} {path}", self.model);
        // The same model may be asked otherwise: it is the request that is wrong.
        Error::invalid(text).with_param("model")
    }

    async fn embed(&self, body: Bytes, within: &Within) -> Result<Bytes> {
        let tokenizer = self.engine.tokenizer().clone();
        let (request, texts) = aside(body.len(), move || {
            let request = EmbeddingsRequest::decode(&body)?;
            let texts: Result<Vec<Vec<u32>>> =
                request.inputs.iter().enumerate().map(|each| tokens(&tokenizer, each, request.truncate)).collect();
            Ok((request, texts?))
        })
        .await?;
        let (priority, deadline) = (within.head.priority, Some(within.deadline));
        let asked =
            Embed { dimensions: request.dimensions, priority, deadline, ..Embed::new(texts, within.head.arrived) };
        let embedded = self.engine.submit(asked)?.answer().await?;
        let vectors: Vec<&[f32]> = embedded.vectors().collect();
        embeddings(&self.model, &vectors, request.encoding, embedded.tokens)
    }

    async fn tokenize(&self, body: Bytes) -> Result<Bytes> {
        let (tokenizer, most) = (self.engine.tokenizer().clone(), self.engine.max_tokens());
        aside(body.len(), move || {
            let request = TokenizeRequest::decode(&body)?;
            let TokenizeInput::Prompt(text) = &request.input else {
                let text = "the model makes embeddings and takes no chats: give prompt";
                return Err(Error::invalid(text).with_param("messages"));
            };
            if request.return_token_strs {
                let text = "return_token_strs is not supported for embedders: leave it out";
                return Err(Error::invalid(text).with_param("return_token_strs"));
            }
            let tokens = tokenizer.encode(text, Truncation::Refuse).map_err(|error| too_long("prompt", error))?;
            Ok(tokenized(&tokens, None, most))
        })
        .await
    }
}

/// The tokens of one input.
fn tokens(
    tokenizer: &EmbedTokenizer,
    (index, input): (usize, &Prompt),
    truncate: Option<Truncate>,
) -> Result<Vec<u32>> {
    let truncation = if truncate.is_some() { Truncation::CutEnd } else { Truncation::Refuse };
    let tokens = match input {
        Prompt::Text(text) => tokenizer.encode(text, truncation),
        Prompt::Tokens(tokens) => tokenizer.fit(tokens.clone(), truncation),
    };
    let mut tokens = tokens.map_err(|error| too_long(&format!("input {index}"), error).with_param("input"))?;
    if let Some(Truncate::ToTokens(most)) = truncate
        && tokens.len() > most
    {
        // The one that ends a text stays its end.
        let last = tokens.pop();
        tokens.truncate(most.saturating_sub(1));
        tokens.extend(last);
    }
    Ok(tokens)
}

fn too_long(what: &str, TooLong { tokens, limit }: TooLong) -> Error {
    Error::invalid(format!(
        "{what} has {tokens} tokens, and the model takes {limit}; shorten it, or give truncate_prompt_tokens -1 to have its end \
         left out"
    ))
}
