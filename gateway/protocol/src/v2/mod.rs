//! The Open Inference Protocol V2 over HTTP: JSON, and the binary tensor extension.
//!
//! In binary, the body is JSON and then the raw tensors, and a header says where the one ends. Requests and responses
//! hold tensors in one form, so both sides share one reader ([`decode_request`], [`decode_response`]) and one writer
//! ([`encode_request`], [`encode_response`]).

mod bodies;
mod decode;
mod elements;
mod encode;
pub(crate) mod generate;
mod generated;
mod texts;

pub use bodies::{error_body, live, model_metadata, model_ready, ready, server_metadata};
pub use decode::{decode_request, decode_response};
pub use encode::{Encoded, encode_request, encode_response};
pub use generate::{GenerateEvents, GenerateHead, GenerateRequest, generate_error_event, generate_response};
pub use generated::Generated;
pub use texts::{generate_body, text_output};

/// The header that says how long the JSON at the start of a body is.
pub const HEADER_LENGTH: &str = "Inference-Header-Content-Length";
