//! OpenAI's protocol: requests and answers of the gateway's own engines, errors, the list of models, and which model a
//! request asks for.

mod answer;
mod bodies;
mod chat_answer;
mod completion_answer;
mod embeddings_answer;
mod peek;
pub(crate) mod request;
mod tokens_answer;

pub use answer::{AnswerHead, FinishReason, Usage, done_event, error_event};
pub use bodies::{Model, error_body, model, model_list};
pub use chat_answer::{ChatChunks, chat_completion};
pub use completion_answer::{Choice, CompletionChunks, text_completion};
pub use embeddings_answer::embeddings;
pub use peek::{Peeked, peek};
pub use request::{
    Chat, ChatRequest, CompletionRequest, DetokenizeRequest, EmbeddingsRequest, Encoding, Generation, KnownField,
    KnownFields, MOST_INPUTS, MOST_MESSAGES, MOST_PROMPTS, Message, Prompt, Role, StreamOptions, TokenizeInput,
    TokenizeRequest, Truncate, known_fields,
};
pub use tokens_answer::{detokenized, tokenized};
