//! OpenAI's objects: errors, the list of models, and which model a request asks for.

mod bodies;
mod peek;

pub use bodies::{Model, error_body, model, model_list};
pub use peek::{Peeked, peek};
