//! What an answer says, the same for every way to write it.

use std::borrow::Cow;

use bytes::Bytes;
use half::{bf16, f16};
use serde_json::{Map, Value, json};
use weirgate_protocol::tensor::BytesElements;
use weirgate_protocol::{Datatype, InferResponse, Tensor, v2};

use crate::request::{Answer, Protocol};
use crate::workload::samples::cut;

/// Fields of a JSON answer that name the one answer, and say nothing of its content.
const VOLATILE: [&str; 4] = ["id", "created", "system_fingerprint", "usage"];
/// Characters of an answer that are shown.
const SHOWN: usize = 60;

/// What an answer says.
#[derive(Clone, Debug)]
pub enum Seen {
    /// Of V2.
    Tensors(InferResponse),
    /// Of V1, embeddings, and chat in one piece: with the text by itself, where there is one.
    Json { body: Value, text: Option<String> },
    /// Of streamed answers, and of a file with text.
    Text(String),
}

impl Seen {
    pub fn of(answer: &Answer) -> Result<Seen, String> {
        if let Some(stream) = &answer.stream {
            return Ok(Seen::Text(stream.text.clone()));
        }
        match answer.protocol {
            Protocol::V2 | Protocol::V2Binary | Protocol::Grpc => {
                answer.decode().map(Seen::Tensors).map_err(|error| error.to_string())
            }
            protocol => json_of(&answer.body, protocol),
        }
    }

    /// Its text, where that is what it is about.
    pub fn text(&self) -> Option<&str> {
        match self {
            Seen::Text(text) => Some(text),
            Seen::Json { text, .. } => text.as_deref(),
            Seen::Tensors(_) => None,
        }
    }

    /// Whether the text has this in it, or the JSON where there is no text.
    pub fn contains(&self, part: &str) -> bool {
        match self.text() {
            Some(text) => text.contains(part),
            None => self.json().to_string().contains(part),
        }
    }

    /// The JSON of the answer, for V2 with flat data.
    pub fn json(&self) -> Cow<'_, Value> {
        match self {
            Seen::Tensors(response) => Cow::Owned(tensors_json(response)),
            Seen::Json { body, .. } => Cow::Borrowed(body),
            Seen::Text(text) => Cow::Owned(Value::String(text.clone())),
        }
    }

    /// What two answers must have in common to be the same: of V2 the outputs, else all but what names the one answer.
    pub fn content(&self) -> Value {
        match self.json().into_owned() {
            Value::Object(mut fields) => {
                match self {
                    Seen::Tensors(_) => fields.retain(|key, _| key == "outputs"),
                    _ => fields.retain(|key, _| !VOLATILE.contains(&key.as_str())),
                }
                Value::Object(fields)
            }
            other => other,
        }
    }

    /// The beginning, for people.
    pub fn shown(&self) -> String {
        match self.text() {
            Some(text) => cut(text, SHOWN).into_owned(),
            None => cut(&self.json().to_string(), SHOWN).into_owned(),
        }
    }
}

/// What a file with an answer says. Text of chats and completions may stand by itself.
pub fn file(body: Bytes, protocol: Protocol, streams: bool) -> Result<Seen, String> {
    let is_text = matches!(protocol, Protocol::Chat | Protocol::Completions);
    if is_text && (streams || serde_json::from_slice::<Map<String, Value>>(&body).is_err()) {
        let text = std::str::from_utf8(&body).map_err(|_| "is not UTF-8".to_owned())?;
        return Ok(Seen::Text(text.trim_end_matches(['\n', '\r']).to_owned()));
    }
    let seen = match protocol {
        Protocol::V2 | Protocol::V2Binary | Protocol::Grpc => {
            v2::decode_response(&body, None).map(Seen::Tensors).map_err(|error| error.to_string())
        }
        protocol => json_of(&body, protocol),
    };
    let kind = match protocol {
        Protocol::V2Binary | Protocol::Grpc => Protocol::V2,
        other => other,
    };
    seen.map_err(|why| format!("is not an answer of {kind} in JSON: {why}"))
}

/// The text that a chat or a completion answered, streamed or not.
pub fn text_of(answer: &Answer) -> Option<Cow<'_, str>> {
    if let Some(stream) = &answer.stream {
        return Some(Cow::Borrowed(&stream.text));
    }
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    text_in(&body, answer.protocol).map(Cow::Owned)
}

fn json_of(body: &[u8], protocol: Protocol) -> Result<Seen, String> {
    let body: Value = serde_json::from_slice(body).map_err(|error| format!("it is not JSON: {error}"))?;
    let text = text_in(&body, protocol);
    Ok(Seen::Json { body, text })
}

fn text_in(body: &Value, protocol: Protocol) -> Option<String> {
    let place = match protocol {
        Protocol::Chat => "/choices/0/message/content",
        Protocol::Completions => "/choices/0/text",
        _ => return None,
    };
    // A chat that answers with a call of a tool has null there.
    Some(body.pointer(place)?.as_str().unwrap_or_default().to_owned())
}

fn tensors_json(response: &InferResponse) -> Value {
    let mut body = json!({ "model_name": &*response.model_name });
    if let Some(version) = &response.model_version {
        body["model_version"] = json!(&**version);
    }
    body["outputs"] = response.outputs.iter().map(tensor_json).collect();
    body
}

fn tensor_json(tensor: &Tensor) -> Value {
    let data = elements(tensor);
    json!({ "name": &*tensor.name, "datatype": tensor.datatype.name(), "shape": &tensor.shape[..], "data": data })
}

/// Each element of a tensor. Floats that JSON does not have are texts, as `NaN`; bytes that are no text are read as if.
fn elements(tensor: &Tensor) -> Vec<Value> {
    fn each<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> Value) -> Vec<Value> {
        data.as_chunks::<N>().0.iter().map(|&raw| value(raw)).collect()
    }
    let float = |value: f64| if value.is_finite() { json!(value) } else { json!(value.to_string()) };
    let data = &tensor.data;
    match tensor.datatype {
        Datatype::Bool => each::<1>(data, |[raw]| json!(raw != 0)),
        Datatype::Uint8 => each::<1>(data, |[raw]| json!(raw)),
        Datatype::Uint16 => each(data, |raw| json!(u16::from_le_bytes(raw))),
        Datatype::Uint32 => each(data, |raw| json!(u32::from_le_bytes(raw))),
        Datatype::Uint64 => each(data, |raw| json!(u64::from_le_bytes(raw))),
        Datatype::Int8 => each(data, |raw| json!(i8::from_le_bytes(raw))),
        Datatype::Int16 => each(data, |raw| json!(i16::from_le_bytes(raw))),
        Datatype::Int32 => each(data, |raw| json!(i32::from_le_bytes(raw))),
        Datatype::Int64 => each(data, |raw| json!(i64::from_le_bytes(raw))),
        Datatype::Fp16 => each(data, |raw| float(f16::from_le_bytes(raw).to_f64())),
        Datatype::Bf16 => each(data, |raw| float(bf16::from_le_bytes(raw).to_f64())),
        Datatype::Fp32 => each(data, |raw| float(f64::from(f32::from_le_bytes(raw)))),
        Datatype::Fp64 => each(data, |raw| float(f64::from_le_bytes(raw))),
        Datatype::Bytes => BytesElements::new(data)
            .map_while(Result::ok)
            .map(|element| Value::String(String::from_utf8_lossy(element).into_owned()))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::Shape;

    use super::*;
    use crate::workload::fixtures::{answer, chat, streamed};

    #[test]
    fn texts_are_found_in_every_kind_of_answer() {
        assert_eq!(text_of(&chat("hello")).as_deref(), Some("hello"));
        assert_eq!(text_of(&streamed("hello")).as_deref(), Some("hello"));
        let completion = answer(Protocol::Completions, 200, r#"{"choices":[{"text":"hello"}]}"#);
        assert_eq!(text_of(&completion).as_deref(), Some("hello"));
        let tool = answer(Protocol::Chat, 200, r#"{"choices":[{"message":{"content":null,"tool_calls":[]}}]}"#);
        assert_eq!(text_of(&tool).as_deref(), Some(""));
        assert_eq!(text_of(&answer(Protocol::Chat, 200, "{}")), None);
    }

    #[test]
    fn elements_of_every_datatype_have_a_value() {
        let one = |datatype, data: &[u8]| {
            let tensor = Tensor::new("x", datatype, Shape::from_slice(&[1]), Bytes::copy_from_slice(data)).unwrap();
            elements(&tensor).remove(0)
        };
        assert_eq!(one(Datatype::Bool, &[1]), json!(true));
        assert_eq!(one(Datatype::Int8, &[0xff]), json!(-1));
        assert_eq!(one(Datatype::Uint64, &[0xff; 8]), json!(u64::MAX));
        assert_eq!(one(Datatype::Fp16, &f16::from_f32(0.5).to_le_bytes()), json!(0.5));
        assert_eq!(one(Datatype::Bf16, &bf16::from_f32(-2.0).to_le_bytes()), json!(-2.0));
        assert_eq!(one(Datatype::Fp32, &f32::NAN.to_le_bytes()), json!("NaN"));
        assert_eq!(one(Datatype::Fp64, &f64::INFINITY.to_le_bytes()), json!("inf"));
        assert_eq!(one(Datatype::Bytes, &[2, 0, 0, 0, b'o', b'k']), json!("ok"));
    }
}
