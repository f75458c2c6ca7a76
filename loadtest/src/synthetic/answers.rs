//! What is answered. Each kind of answer is the same every time: only the model's name is echoed.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use weirgate_protocol::tensor::raw_bytes;
use weirgate_protocol::{Datatype, Dim, InferResponse, ModelSpec, Shape, Tensor, TensorSpec};

/// The output of every model.
const RIGHT: [f32; 4] = [0.5, 1.5, 2.5, 3.5];
const WRONG: [f32; 4] = [0.5, 1.5, 2.5, -1.0];
/// By the server's own count, whatever the prompt.
const PROMPT_TOKENS: u32 = 7;

/// The one version of every model.
pub(super) const VERSION: &str = "1";

/// Takes any number of rows of four numbers, and gives one.
pub(super) fn spec() -> ModelSpec {
    let tensor = |name: &str, rows| TensorSpec {
        name: name.into(),
        datatype: Datatype::Fp32,
        shape: vec![rows, Dim::Fixed(RIGHT.len())],
    };
    ModelSpec {
        version: Some(VERSION.into()),
        platform: "synthetic",
        inputs: vec![tensor("x", Dim::Dynamic(Arc::from("")))],
        outputs: vec![tensor("y", Dim::Fixed(1))],
        pads: false,
    }
}

pub(super) fn tensors(model: &str, id: Option<String>, wrong: bool) -> InferResponse {
    let values = if wrong { WRONG } else { RIGHT };
    let shape = Shape::from_slice(&[1, RIGHT.len()]);
    let data = raw_bytes(values.to_vec());
    let outputs = vec![Tensor { name: "y".into(), datatype: Datatype::Fp32, shape, data }];
    InferResponse { model_name: model.into(), model_version: Some(VERSION.into()), id, outputs }
}

pub(super) fn predictions(wrong: bool) -> Value {
    json!({ "predictions": [if wrong { WRONG } else { RIGHT }] })
}

pub(super) fn embeddings(model: &Value, wrong: bool) -> Value {
    let embedding = if wrong { WRONG } else { RIGHT };
    json!({
        "object": "list",
        "data": [{ "object": "embedding", "index": 0, "embedding": embedding }],
        "model": model,
        "usage": { "prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS },
    })
}

/// An OpenAI completion, of chat or not.
pub(super) struct Completion<'a> {
    pub(super) chat: bool,
    pub(super) model: &'a Value,
    pub(super) tokens: u32,
    pub(super) wrong: bool,
}

impl Completion<'_> {
    fn token(&self, index: u32) -> String {
        let word = if self.wrong { "wrong" } else { "word" };
        if index == 0 { word.to_owned() } else { format!(" {word}") }
    }

    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": self.tokens,
            "total_tokens": PROMPT_TOKENS + self.tokens,
        })
    }

    /// The whole of it.
    pub(super) fn whole(&self) -> Value {
        let text: String = (0..self.tokens).map(|index| self.token(index)).collect();
        let (object, choice) = if self.chat {
            let message = json!({ "role": "assistant", "content": text });
            ("chat.completion", json!({ "index": 0, "message": message, "finish_reason": "stop" }))
        } else {
            ("text_completion", json!({ "index": 0, "text": text, "finish_reason": "stop" }))
        };
        json!({
            "id": "synthetic", "object": object, "created": 0, "model": self.model,
            "choices": [choice], "usage": self.usage(),
        })
    }

    fn chunk(&self, choices: &Value, usage: Option<Value>) -> Bytes {
        let object = if self.chat { "chat.completion.chunk" } else { "text_completion" };
        let mut chunk =
            json!({ "id": "synthetic", "object": object, "created": 0, "model": self.model, "choices": choices });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        event(&chunk)
    }

    fn part(&self, text: Option<&str>, finish: Option<&str>) -> Bytes {
        let choice = if self.chat {
            let delta = text.map_or_else(|| json!({}), |text| json!({ "content": text }));
            json!({ "index": 0, "delta": delta, "finish_reason": finish })
        } else {
            json!({ "index": 0, "text": text.unwrap_or_default(), "finish_reason": finish })
        };
        self.chunk(&json!([choice]), None)
    }

    /// What a chat begins with: a role, and no text, which must not count as the first token.
    pub(super) fn opening(&self) -> Option<Bytes> {
        let choice = json!({ "index": 0, "delta": { "role": "assistant", "content": "" }, "finish_reason": null });
        self.chat.then(|| self.chunk(&json!([choice]), None))
    }

    /// The event of one token.
    pub(super) fn event(&self, index: u32) -> Bytes {
        self.part(Some(&self.token(index)), None)
    }

    /// What comes with the last token: why it ends, usage where it was asked for, and the end itself.
    pub(super) fn closing(&self, with_usage: bool) -> Bytes {
        let mut closing = self.part(None, Some("stop")).to_vec();
        if with_usage {
            closing.extend_from_slice(&self.chunk(&json!([]), Some(self.usage())));
        }
        closing.extend_from_slice(b"data: [DONE]\n\n");
        closing.into()
    }
}

/// An error in the middle of a stream.
pub(super) fn error_event() -> Bytes {
    event(&json!({ "error": { "message": "synthetic", "type": "internal_error", "param": null, "code": 500 } }))
}

fn event(value: &Value) -> Bytes {
    format!("data: {value}\n\n").into()
}
