//! The protocol's small bodies.

use bytes::Bytes;
use serde::Serialize;

use crate::error::Error;

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}

/// `{"error": {…}}`, the body of every refusal on OpenAI's routes.
pub fn error_body(error: &Error) -> Bytes {
    let row = error.row();
    let error = ErrorObject { message: error.message(), r#type: row.openai_type, param: None, code: row.label };
    serde_json::to_vec(&ErrorBody { error }).expect("strings can be serialised").into()
}
