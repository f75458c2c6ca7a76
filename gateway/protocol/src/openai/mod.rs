//! OpenAI's objects: errors and the list of models.

mod bodies;

pub use bodies::error_body;
