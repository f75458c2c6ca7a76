//! Requests of OpenAI's routes, read from whole bodies for the gateway's own engines.
//!
//! What would change the answer and is not built is refused by name; what changes nothing is stepped over, and so are fields
//! that nobody here knows, as the servers that these clients are written for do. Servers elsewhere get bodies as they came.

mod chat;
mod completion;
mod embeddings;
pub(crate) mod fields;
pub(crate) mod generation;
mod message;
mod prompt;
mod routes;
mod tokenize;
pub(crate) mod values;

pub use chat::{Chat, ChatRequest};
pub use completion::{CompletionRequest, MOST_PROMPTS};
pub use embeddings::{EmbeddingsRequest, Encoding, MOST_INPUTS, Truncate};
pub use generation::{Generation, StreamOptions};
pub use message::{MOST_MESSAGES, Message, Role};
pub use prompt::Prompt;
pub use routes::{KnownField, KnownFields, known_fields};
pub use tokenize::{DetokenizeRequest, TokenizeInput, TokenizeRequest};
