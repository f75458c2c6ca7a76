//! The protocol's small bodies. Those about models serve V1's clients, too: each finds the fields it knows.

use bytes::Bytes;
use serde::Serialize;

use crate::error::{Error, ErrorCode};

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

/// `{"error": {…}}`, the body of every refusal on OpenAI's routes. `param` names the field at fault, where the error itself
/// does not.
pub fn error_body(error: &Error, param: Option<&str>) -> Bytes {
    let param = error.param().or(param);
    let row = error.row();
    let code = match (error.code(), param) {
        (ErrorCode::NotFound, Some("model")) => "model_not_found",
        _ => row.label,
    };
    body(&ErrorBody { error: ErrorObject { message: error.message(), r#type: row.openai_type, param, code } })
}

/// A model, as the list has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'a str,
}

impl<'a> Model<'a> {
    /// `created` is in seconds since 1970.
    pub fn new(id: &'a str, created: u64, owned_by: &'a str) -> Self {
        Model { id, object: "model", created, owned_by }
    }
}

#[derive(Serialize)]
struct ModelList<'a> {
    models: Vec<&'a str>,
    object: &'static str,
    data: &'a [Model<'a>],
}

#[derive(Serialize)]
struct ReadyModel<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
    #[serde(flatten)]
    model: Model<'a>,
}

/// `GET /v1/models`.
pub fn model_list(models: &[Model<'_>]) -> Bytes {
    body(&ModelList { models: models.iter().map(|model| model.id).collect(), object: "list", data: models })
}

/// `GET /v1/models/{name}` of a model that is ready. With `v1` it is ready for V1's calls, as V1's clients ask.
pub fn model(model: Model<'_>, v1: bool) -> Bytes {
    body(&ReadyModel { name: v1.then_some(model.id), ready: v1.then_some(true), model })
}

fn body(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("strings, numbers and bools can be serialised").into()
}
