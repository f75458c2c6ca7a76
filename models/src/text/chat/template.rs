//! One model's chat template.

use std::error::Error as _;
use std::fmt;
use std::time::SystemTime;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Value};
use minijinja_contrib::pycompat::unknown_method_callback;
use serde::Deserialize;

use super::json::tojson;
use super::message::Message;
use super::source::without_generation_tags;
use super::time::strftime;
use crate::text::tokenizer::{Tokenizer, unsealed};

/// What a template may do for one prompt: about one for each step, and for each 64 bytes that it makes or looks through. It
/// bounds the time to a second or so, and what is made, the prompt included, to 256 MB.
const FUEL: u64 = 4_000_000;
/// How deep macros and loops may call each other.
const DEEPEST: usize = 200;
/// The most messages of a prompt.
const MOST_MESSAGES: usize = 16_384;
const NAME: &str = "chat_template";

/// A chat template, ready to write prompts.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    bos: String,
    eos: String,
}

/// What a prompt is made of besides its messages.
#[derive(Clone, Copy, Debug)]
pub struct RenderOptions<'a> {
    /// The prompt ends with what begins the assistant's answer.
    pub add_generation_prompt: bool,
    /// The prompt ends with the last message's own last letter, for the answer to go on from there.
    pub continue_final_message: bool,
    /// What `strftime_now` tells.
    pub now: SystemTime,
    /// Variables that this template knows besides, as `enable_thinking`. Those that every template has can't be set.
    pub variables: &'a [(String, Variable)],
}

/// A value for a template, read from JSON as any other; the keys of its objects keep their order.
#[derive(Clone, Debug, Deserialize)]
pub struct Variable(Value);

impl Variable {
    /// The value with each of its texts changed, but for keys.
    fn map(value: &Value, change: &impl Fn(&str) -> String) -> Value {
        let entries = || value.try_iter().into_iter().flatten();
        match value.kind() {
            ValueKind::String => Value::from(change(value.as_str().unwrap_or_default())),
            ValueKind::Seq => entries().map(|entry| Variable::map(&entry, change)).collect(),
            ValueKind::Map => Value::from_pairs(entries().map(|key| {
                let entry = value.get_item(&key).unwrap_or_default();
                (key, Variable::map(&entry, change))
            })),
            _ => value.clone(),
        }
    }
}

/// Why there is no prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChatError {
    /// The template refuses the messages, in its own words: the caller's fault.
    Refused(String),
    /// The template can't be run on these messages; the text names its line.
    Failed(String),
    /// The messages are too many, or the prompt takes more than the template's budget.
    TooLarge(String),
}

impl fmt::Display for ChatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ChatError::Refused(text) | ChatError::Failed(text) | ChatError::TooLarge(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for ChatError {}

impl From<ChatError> for weirgate_protocol::Error {
    fn from(error: ChatError) -> Self {
        match error {
            // What a template can't be run on was most likely not meant for it.
            ChatError::Refused(text) | ChatError::Failed(text) => weirgate_protocol::Error::invalid(text),
            ChatError::TooLarge(text) => weirgate_protocol::Error::too_large(text),
        }
    }
}

/// The text of `raise_exception`.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

impl ChatTemplate {
    /// A template of this source, for a model whose texts begin and end with these tokens' texts. The error names the line.
    pub fn new(source: &str, bos: &str, eos: &str) -> Result<ChatTemplate, String> {
        let mut environment = environment()?;
        environment
            .add_template_owned(NAME, without_generation_tags(source))
            .map_err(|error| format!("the chat template {}", describe(&error)))?;
        Ok(ChatTemplate { environment, bos: bos.to_owned(), eos: eos.to_owned() })
    }

    /// The prompt of these messages.
    pub fn render(&self, messages: &[Message], options: RenderOptions<'_>) -> Result<String, ChatError> {
        if messages.len() > MOST_MESSAGES {
            let count = messages.len();
            return Err(ChatError::TooLarge(format!("there are {count} messages, the limit is {MOST_MESSAGES}")));
        }
        let template = self.environment.get_template(NAME).map_err(|error| failed(&error, messages))?;
        let now = options.now;
        let strftime_now = Value::from_function(move |format: &str| {
            strftime(now, format).map_err(|error| Error::new(ErrorKind::InvalidOperation, error))
        });
        let variables = options.variables.iter().map(|(name, Variable(value))| (&**name, value.clone()));
        // The later of two of one name counts.
        let own = [
            ("messages", messages.iter().map(Message::value).collect()),
            ("add_generation_prompt", Value::from(options.add_generation_prompt)),
            ("bos_token", Value::from(&*self.bos)),
            ("eos_token", Value::from(&*self.eos)),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("strftime_now", strftime_now),
        ];
        let context = Value::from_pairs(variables.chain(own));
        let mut prompt = template.render(context).map_err(|error| failed(&error, messages))?;
        if options.continue_final_message {
            prompt.truncate(end_of_last(&prompt, messages)?);
        }
        Ok(prompt)
    }

    /// The tokens of the prompt. What is in the messages and variables is text to the last letter: no control token is found in it.
    pub fn tokens(
        &self,
        tokenizer: &Tokenizer,
        messages: &[Message],
        options: RenderOptions<'_>,
    ) -> Result<Vec<u32>, ChatError> {
        let sealed: Vec<Message> = messages.iter().map(|one| one.map(|text| tokenizer.seal(text))).collect();
        let seal = |text: &str| tokenizer.seal(text).into_owned();
        let variables = options.variables.iter();
        let variables = variables.map(|(name, Variable(value))| (name.clone(), Variable(Variable::map(value, &seal))));
        let variables: Vec<_> = variables.collect();
        let options = RenderOptions { variables: &variables, ..options };
        self.render(&sealed, options).map(|prompt| tokenizer.encode_prompt(&prompt, true))
    }
}

/// Where the text of the last message ends in a prompt.
fn end_of_last(prompt: &str, messages: &[Message]) -> Result<usize, ChatError> {
    // Templates cut white space around it as a rule.
    let text = messages.last().and_then(|last| last.content.0.as_deref()).map(str::trim).unwrap_or_default();
    match prompt.rfind(text) {
        Some(at) if !text.is_empty() => Ok(at + text.len()),
        _ => {
            let text =
                "the last message can't be continued: it has no text, or the template does not write it as it is";
            Err(ChatError::Refused(text.to_owned()))
        }
    }
}

/// What templates find in Hugging Face's environment: white space is cut as there, nothing is escaped for HTML, and values
/// have Python's methods.
fn environment() -> Result<Environment<'static>, String> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(|error| error.to_string())?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(DEEPEST);
    environment.add_filter("tojson", tojson);
    // None is no list there, and many templates ask before they count their tools.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment.add_function("raise_exception", |text: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Raised(text)))
    });
    Ok(environment)
}

fn failed(error: &Error, messages: &[Message]) -> ChatError {
    if error.kind() == ErrorKind::OutOfFuel {
        let size: usize = messages.iter().map(Message::size).sum();
        return ChatError::TooLarge(format!(
            "the prompt of {} messages with {size} bytes takes more than the chat template's budget: send less",
            messages.len()
        ));
    }
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(Raised(text)) = inner.downcast_ref() {
            return ChatError::Refused(unsealed(text).into_owned());
        }
        source = inner.source();
    }
    ChatError::Failed(
        unsealed(&format!("the model's chat template can't write these messages: it {}", describe(error))).into_owned(),
    )
}

/// An error of the engine, in one line.
fn describe(error: &Error) -> String {
    let line = error.line().map_or(String::new(), |line| format!(" in line {line}"));
    let detail = error.detail().map_or(String::new(), |detail| format!(": {detail}"));
    let text = format!("fails{line}: {}{detail}", error.kind());
    let short: String = text.chars().take(500).collect();
    short.split_whitespace().collect::<Vec<_>>().join(" ")
}
