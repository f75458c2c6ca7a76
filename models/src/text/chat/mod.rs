//! Chat templates: messages to the text that a model was trained to go on with.
//!
//! They are written in Jinja, for Hugging Face's way of running them, and come with the model. So they run here as they do
//! there (its filters and functions, Python's methods, how it cuts white space), under a budget: what a template may do and
//! make is bounded, whoever wrote it.

mod json;
mod message;
mod source;
mod template;
mod time;

pub use message::{Content, Message};
pub use template::{ChatError, ChatTemplate, RenderOptions, Variable};
