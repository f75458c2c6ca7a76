//! From a request to the tokens that the model goes on from.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use weirgate_models::text::Tokenizer;
use weirgate_models::text::chat::{ChatTemplate, Content, Message, RenderOptions, Variable};
use weirgate_protocol::openai::{
    Chat, ChatRequest, CompletionRequest, DetokenizeRequest, Prompt, TokenizeInput, TokenizeRequest, detokenized,
    tokenized,
};
use weirgate_protocol::v2::GenerateRequest;
use weirgate_protocol::{Error, Result};

use super::form::Form;
use super::task::Task;
use crate::language::respond::aside;
use crate::text::engine::TextEngine;
use crate::text::request::check_known;

pub(super) async fn of_chat(engine: &TextEngine, body: &Bytes) -> Result<Task> {
    let (body, texts) = (body.clone(), Texts::of(engine));
    aside(body.len(), move || {
        let ChatRequest { chat, generation, .. } = ChatRequest::decode(&body)?;
        Ok(Task { prompts: vec![texts.chat(&chat)?], generation, form: Form::Chat })
    })
    .await
}

pub(super) async fn of_completion(engine: &TextEngine, body: &Bytes) -> Result<Task> {
    let (body, texts) = (body.clone(), Texts::of(engine));
    aside(body.len(), move || {
        let request = CompletionRequest::decode(&body)?;
        let echoed = |prompt: &Prompt| match prompt {
            Prompt::Text(text) => text.clone(),
            Prompt::Tokens(tokens) => texts.tokenizer.decode(tokens),
        };
        let given = |prompt: &Prompt| match prompt {
            Prompt::Tokens(tokens) => texts.check(tokens, "prompt"),
            Prompt::Text(_) => Ok(()),
        };
        request.prompts.iter().try_for_each(given)?;
        let echo: Vec<String> = if request.echo { request.prompts.iter().map(echoed).collect() } else { Vec::new() };
        let prompts: Vec<Vec<u32>> = request
            .prompts
            .into_iter()
            .map(|prompt| match prompt {
                Prompt::Text(text) => texts.tokens(&text, request.add_special_tokens),
                Prompt::Tokens(tokens) => tokens,
            })
            .collect();
        Ok(Task { prompts, generation: request.generation, form: Form::Completion { echo } })
    })
    .await
}

pub(super) async fn of_generate(engine: &TextEngine, body: &Bytes, stream: bool) -> Result<Task> {
    let (body, texts) = (body.clone(), Texts::of(engine));
    aside(body.len(), move || {
        let GenerateRequest { id, text_input, echo, generation } = GenerateRequest::decode(&body, stream)?;
        let prompts = vec![texts.tokens(&text_input, true)];
        let form = Form::Generate { id, echo: echo.then_some(text_input) };
        Ok(Task { prompts, generation, form })
    })
    .await
}

pub(super) async fn tokenize(engine: &TextEngine, body: &Bytes) -> Result<Bytes> {
    let (body, texts, context) = (body.clone(), Texts::of(engine), engine.context());
    aside(body.len(), move || {
        let request = TokenizeRequest::decode(&body)?;
        let tokens = match &request.input {
            TokenizeInput::Prompt(text) => texts.tokens(text, request.add_special_tokens),
            TokenizeInput::Chat(chat) => texts.chat(chat)?,
        };
        let each = || tokens.iter().map(|token| texts.tokenizer.decode(&[*token])).collect::<Vec<_>>();
        let told = request.return_token_strs.then(each);
        Ok(tokenized(&tokens, told.as_deref(), context))
    })
    .await
}

pub(super) fn detokenize(engine: &TextEngine, body: &Bytes) -> Result<Bytes> {
    let (texts, request) = (Texts::of(engine), DetokenizeRequest::decode(body)?);
    texts.check(&request.tokens, "tokens")?;
    Ok(detokenized(&texts.tokenizer.decode(&request.tokens)))
}

/// What makes tokens of texts.
struct Texts {
    tokenizer: Arc<Tokenizer>,
    template: Option<Arc<ChatTemplate>>,
}

impl Texts {
    fn of(engine: &TextEngine) -> Texts {
        Texts { tokenizer: engine.tokenizer().clone(), template: engine.template().cloned() }
    }

    /// Of a text as it is given: whoever writes a prompt in full writes its control tokens, too.
    fn tokens(&self, text: &str, begins: bool) -> Vec<u32> {
        if begins { self.tokenizer.encode_prompt(text, true) } else { self.tokenizer.encode(text, true) }
    }

    fn chat(&self, chat: &Chat) -> Result<Vec<u32>> {
        let Some(template) = &self.template else {
            let text = "the model has no chat template: ask completions, with the whole prompt";
            return Err(Error::invalid(text).with_param("messages"));
        };
        let messages: Vec<Message> = chat.messages.iter().map(message).collect();
        let variable = |(name, json): &(String, String)| {
            let value: Result<Variable, _> = serde_json::from_str(json);
            value.map(|value| (name.clone(), value)).map_err(|error| {
                Error::invalid(format!("chat_template_kwargs.{name} can't be read: {error}"))
                    .with_param("chat_template_kwargs")
            })
        };
        let variables: Vec<_> = chat.variables.iter().map(variable).collect::<Result<_>>()?;
        let options = RenderOptions {
            add_generation_prompt: chat.add_generation_prompt,
            continue_final_message: chat.continue_final_message,
            now: SystemTime::now(),
            variables: &variables,
        };
        let tokens = template.tokens(&self.tokenizer, &messages, options);
        tokens.map_err(|error| Error::from(error).with_param("messages"))
    }

    fn check(&self, tokens: &[u32], field: &'static str) -> Result<()> {
        check_known(field, tokens, self.tokenizer.size()).map_err(|error| error.with_param(field))
    }
}

fn message(given: &weirgate_protocol::openai::Message) -> Message {
    Message {
        role: given.role.name().to_owned(),
        content: Content(given.content.clone()),
        name: given.name.clone(),
        reasoning_content: given.reasoning_content.clone(),
    }
}
