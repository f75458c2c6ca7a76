//! Calls to bodies: responses for the serving side, requests for the calling side.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::extras::{self, Extras, Parameter, Parameters};
use crate::infer::{InferRequest, InferResponse};
use crate::json::write::{self, Unfit};
use crate::tensor::Tensor;

/// A body, ready to be sent part by part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The JSON, and behind it the binary tensors, which are not copied.
    pub parts: Vec<Bytes>,
    /// The value of `Inference-Header-Content-Length`; `None` where no tensor is binary.
    pub header_length: Option<usize>,
}

impl Encoded {
    /// The value of `Content-Type`.
    pub fn content_type(&self) -> &'static str {
        if self.header_length.is_some() { "application/octet-stream" } else { "application/json" }
    }

    /// The value of `Content-Length`.
    pub fn content_length(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// The whole body in one piece; a copy where there is more than one part.
    pub fn into_bytes(mut self) -> Bytes {
        match self.parts.len() {
            1 => self.parts.remove(0),
            _ => self.parts.concat().into(),
        }
    }
}

/// Writes the answer to `request`, which says what it wants in binary.
pub fn encode_response(response: &InferResponse, request: &InferRequest) -> Result<Encoded> {
    let mut body = Body::new("output", &response.outputs, |name| request.wants_binary(name));
    body.string_field("model_name", &response.model_name);
    if let Some(version) = &response.model_version {
        body.string_field("model_version", version);
    }
    if let Some(id) = response.id.as_ref().or(request.id.as_ref()) {
        body.string_field("id", id);
    }
    body.tensors("outputs", &response.outputs, |name| request.wants_binary(name), &[])?;
    Ok(body.finish())
}

/// Writes a request for another server, with its inputs in binary or not. What it asks for its outputs stays as it is.
pub fn encode_request(request: &InferRequest, binary: bool) -> Result<Encoded> {
    let mut body = Body::new("input", &request.inputs, |_| binary);
    if let Some(id) = &request.id {
        body.string_field("id", id);
    }
    let nothing = Extras::default();
    let extras = request.extras.as_deref().unwrap_or(&nothing);
    extras.refuse_for_json()?;
    let own = request.binary_outputs.then_some(("binary_data_output", Own::Bool(true)));
    if own.is_some() || !extras.request.is_empty() {
        body.key("parameters");
        body.parameters(own, &extras.request);
    }
    body.tensors("inputs", &request.inputs, |_| binary, &extras.inputs)?;
    if !request.outputs.is_empty() {
        body.key("outputs");
        body.json.push(b'[');
        for (index, output) in request.outputs.iter().enumerate() {
            body.json.extend_from_slice(if index > 0 { br#",{"name":"# } else { br#"{"name":"# });
            write::string(&mut body.json, &output.name);
            let own = output.binary.map(|binary| ("binary_data", Own::Bool(binary)));
            let parameters = extras::of(&extras.outputs, &output.name);
            if own.is_some() || !parameters.is_empty() {
                body.json.extend_from_slice(br#","parameters":"#);
                body.parameters(own, parameters);
            }
            body.json.push(b'}');
        }
        body.json.push(b']');
    }
    Ok(body.finish())
}

/// The value of a parameter that says how this very body is written.
#[derive(Clone, Copy)]
enum Own {
    Bool(bool),
    Size(usize),
}

/// A body under construction.
struct Body {
    /// `input` or `output`.
    role: &'static str,
    json: Vec<u8>,
    binary: Vec<Bytes>,
    any_binary: bool,
}

impl Body {
    fn new(role: &'static str, tensors: &[Tensor], binary: impl Fn(&str) -> bool) -> Self {
        let size =
            |tensor: &Tensor| 64 + tensor.name.len() + if binary(&tensor.name) { 64 } else { write::estimate(tensor) };
        let size = 128 + tensors.iter().map(size).sum::<usize>();
        let mut json = Vec::with_capacity(size);
        json.push(b'{');
        Body { role, json, binary: Vec::new(), any_binary: false }
    }

    fn key(&mut self, key: &str) {
        if self.json.len() > 1 {
            self.json.push(b',');
        }
        write::string(&mut self.json, key);
        self.json.push(b':');
    }

    fn string_field(&mut self, key: &str, value: &str) {
        self.key(key);
        write::string(&mut self.json, value);
    }

    /// An object of parameters: one of the body itself, and those for the model.
    fn parameters(&mut self, own: Option<(&str, Own)>, parameters: &[(Arc<str>, Parameter)]) {
        self.json.push(b'{');
        if let Some((name, value)) = own {
            write::string(&mut self.json, name);
            self.json.push(b':');
            match value {
                Own::Bool(value) => self.json.extend_from_slice(if value { b"true" } else { b"false" }),
                Own::Size(size) => {
                    write::integer(&mut self.json, size);
                }
            }
        }
        for (index, (name, value)) in parameters.iter().enumerate() {
            if index > 0 || own.is_some() {
                self.json.push(b',');
            }
            write::string(&mut self.json, name);
            self.json.push(b':');
            match value {
                Parameter::Bool(value) => self.json.extend_from_slice(value.to_string().as_bytes()),
                Parameter::Integer(value) => self.json.extend_from_slice(value.to_string().as_bytes()),
                Parameter::Unsigned(value) => self.json.extend_from_slice(value.to_string().as_bytes()),
                // As Rust writes it, a finite number always has digits alone, or a point or an exponent among them.
                Parameter::Double(value) => self.json.extend_from_slice(format!("{value:?}").as_bytes()),
                Parameter::Text(text) => write::string(&mut self.json, text),
                Parameter::Json(text) => self.json.extend_from_slice(text.as_bytes()),
            }
        }
        self.json.push(b'}');
    }

    fn tensors(
        &mut self,
        key: &str,
        tensors: &[Tensor],
        binary: impl Fn(&str) -> bool,
        parameters: &[(Arc<str>, Parameters)],
    ) -> Result<()> {
        self.key(key);
        self.json.push(b'[');
        for (index, tensor) in tensors.iter().enumerate() {
            self.json.extend_from_slice(if index > 0 { br#",{"name":"# } else { br#"{"name":"# });
            write::string(&mut self.json, &tensor.name);
            self.json.extend_from_slice(br#","datatype":""#);
            self.json.extend_from_slice(tensor.datatype.name().as_bytes());
            self.json.extend_from_slice(br#"","shape":["#);
            for (axis, &size) in tensor.shape.iter().enumerate() {
                if axis > 0 {
                    self.json.push(b',');
                }
                write::integer(&mut self.json, size);
            }
            self.json.push(b']');
            let others = extras::of(parameters, &tensor.name);
            if binary(&tensor.name) {
                self.json.extend_from_slice(br#","parameters":"#);
                self.parameters(Some(("binary_data_size", Own::Size(tensor.data.len()))), others);
                self.any_binary = true;
                self.binary.push(tensor.data.clone());
            } else {
                if !others.is_empty() {
                    self.json.extend_from_slice(br#","parameters":"#);
                    self.parameters(None, others);
                }
                self.json.extend_from_slice(br#","data":"#);
                write::elements(&mut self.json, tensor).map_err(|unfit| self.unfit(tensor, &unfit))?;
            }
            self.json.push(b'}');
        }
        self.json.push(b']');
        Ok(())
    }

    /// The caller has the remedy in hand, so it is the caller's error.
    fn unfit(&self, tensor: &Tensor, unfit: &Unfit) -> Error {
        let remedy = match self.role {
            "input" => "send it in binary",
            _ => "ask for it in binary, with binary_data",
        };
        Error::invalid(format!(
            "{} '{}' element {} {}, which JSON can't carry: {remedy}",
            self.role, tensor.name, unfit.element, unfit.problem
        ))
    }

    fn finish(mut self) -> Encoded {
        self.json.push(b'}');
        let header_length = self.any_binary.then_some(self.json.len());
        let mut parts = Vec::with_capacity(1 + self.binary.len());
        parts.push(self.json.into());
        parts.extend(self.binary.into_iter().filter(|data| !data.is_empty()));
        Encoded { parts, header_length }
    }
}
