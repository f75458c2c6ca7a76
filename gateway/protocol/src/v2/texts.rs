//! The generate extension by tensors: how V2's calls for tensors ask a model for texts, over gRPC and over HTTP.
//!
//! The inputs are those of Triton's vLLM backend: `text_input`, and beside it `stream`, `exclude_input_in_output` and
//! `sampling_parameters`, an object of JSON as text. The parameters of the request are those of the extension, too. All
//! of it becomes the body of `generate`, whose reader refuses what can't be by its name.

use std::sync::Arc;

use bytes::Bytes;

use crate::error::{Error, Result, Shown};
use crate::extras::Parameter;
use crate::infer::InferRequest;
use crate::json::{Cursor, Parsed, write};
use crate::tensor::{BytesElements, Datatype, Shape, Tensor, push_bytes_element};

const TEXT_INPUT: &str = "text_input";
const TEXT_OUTPUT: &str = "text_output";
const STREAM: &str = "stream";
const EXCLUDE_INPUT: &str = "exclude_input_in_output";
const SAMPLING: &str = "sampling_parameters";

/// What a request says to the gateway and not to the model: it asks for the mark of the last answer, which texts always have.
const WANTS_FINAL: &str = "triton_enable_empty_final_response";

/// The parameters that are numbers. Triton's own example writes them as strings.
const NUMBERS: [&str; 13] = [
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "max_tokens",
    "max_completion_tokens",
    "min_tokens",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
    "seed",
    "random_seed",
    "n",
];

/// The body of `generate` or `generate_stream` that asks for what a request for tensors asks for.
pub fn generate_body(request: &InferRequest) -> Result<Bytes> {
    if let Some(other) = request.outputs.iter().find(|output| &*output.name != TEXT_OUTPUT) {
        let text = format!("output '{}' is not there: the model gives {TEXT_OUTPUT}", Shown(&other.name));
        return Err(Error::invalid(text));
    }
    let mut text = None;
    let mut parameters = Members::default();
    for (index, input) in request.inputs.iter().enumerate() {
        if request.inputs[..index].iter().any(|before| before.name == input.name) {
            return Err(wrong(input, "is given twice"));
        }
        match &*input.name {
            TEXT_INPUT => text = Some(text_of(input)?),
            STREAM | EXCLUDE_INPUT => {
                let value: &[u8] = if flag_of(input)? { b"true" } else { b"false" };
                parameters.add(&input.name).extend_from_slice(value);
            }
            SAMPLING => {
                let object = text_of(input)?;
                let read = add_all(&mut parameters, &mut Cursor::without_tensors(object.as_bytes()));
                read.map_err(|fault| wrong(input, &format!("is no object of JSON: {}", Error::from(fault))))?;
            }
            _ => {
                let known = format!("is not known: give {TEXT_INPUT}, and {STREAM}, {EXCLUDE_INPUT} or {SAMPLING}");
                return Err(wrong(input, &known));
            }
        }
    }
    let missing = || Error::invalid(format!("input '{TEXT_INPUT}' is missing: give a text")).with_param(TEXT_INPUT);
    let text = text.ok_or_else(missing)?;
    if let Some(extras) = &request.extras {
        extras.refuse_for_json()?;
        for (name, value) in extras.request.iter().filter(|(name, _)| **name != *WANTS_FINAL) {
            add_parameter(&mut parameters, name, value);
        }
    }
    let mut out = Vec::with_capacity(text.len() + parameters.0.len() + 64);
    out.extend_from_slice(br#"{"text_input":"#);
    write::string(&mut out, text);
    out.extend_from_slice(br#","parameters":{"#);
    out.extend_from_slice(&parameters.0);
    out.extend_from_slice(b"}}");
    Ok(out.into())
}

/// A text, or the next piece of one, as the output that V2 gives it as.
pub fn text_output(text: &str) -> Result<Tensor> {
    let mut data = Vec::with_capacity(text.len() + 4);
    push_bytes_element(&mut data, text.as_bytes())?;
    Tensor::new(TEXT_OUTPUT, Datatype::Bytes, Shape::from_slice(&[1]), data.into())
}

/// The members of an object, as they are written one after the other.
#[derive(Default)]
struct Members(Vec<u8>);

impl Members {
    /// Writes a name, behind which its value goes.
    fn add(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.0.is_empty() {
            self.0.push(b',');
        }
        write::string(&mut self.0, name);
        self.0.push(b':');
        &mut self.0
    }
}

/// Adds all members of an object.
fn add_all(members: &mut Members, cursor: &mut Cursor<'_>) -> Parsed<()> {
    cursor.object(|cursor, key| {
        cursor.peek();
        let skipped = cursor.skip()?;
        let value = cursor.text(skipped);
        let inner = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
        let number = inner.filter(|inner| NUMBERS.contains(&key) && is_number(inner));
        members.add(key).extend_from_slice(number.unwrap_or(value));
        Ok(())
    })?;
    cursor.end()
}

fn add_parameter(members: &mut Members, name: &Arc<str>, value: &Parameter) {
    let out = members.add(name);
    match value {
        Parameter::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
        Parameter::Integer(value) => drop(write::integer(out, *value)),
        Parameter::Unsigned(value) => drop(write::integer(out, *value)),
        // That it is finite was checked.
        Parameter::Double(value) => drop(write::float(out, *value)),
        Parameter::Text(text) if NUMBERS.contains(&&**name) && is_number(text.as_bytes()) => {
            out.extend_from_slice(text.as_bytes());
        }
        Parameter::Text(text) => write::string(out, text),
        Parameter::Json(text) => out.extend_from_slice(text.as_bytes()),
    }
}

fn is_number(text: &[u8]) -> bool {
    let mut cursor = Cursor::without_tensors(text);
    let is_one = text.first().is_some_and(|byte| !byte.is_ascii_whitespace());
    is_one && cursor.number(String::new, |number| number.to_f64()).is_ok() && cursor.end().is_ok()
}

/// The one text of an input.
fn text_of(input: &Tensor) -> Result<&str> {
    if input.datatype != Datatype::Bytes {
        return Err(wrong(input, &format!("is {}: send BYTES", input.datatype)));
    }
    one_alone(input)?;
    let element = BytesElements::new(&input.data).next().transpose()?.unwrap_or_default();
    std::str::from_utf8(element).map_err(|error| wrong(input, &format!("is not UTF-8: {error}")))
}

fn flag_of(input: &Tensor) -> Result<bool> {
    if input.datatype != Datatype::Bool {
        return Err(wrong(input, &format!("is {}: send BOOL", input.datatype)));
    }
    one_alone(input)?;
    Ok(input.data.first().is_some_and(|byte| *byte != 0))
}

fn one_alone(input: &Tensor) -> Result<()> {
    match input.elements() {
        1 => Ok(()),
        count => Err(wrong(input, &format!("has {count} elements: send one with each call"))),
    }
}

fn wrong(input: &Tensor, what: &str) -> Error {
    Error::invalid(format!("input '{}' {what}", Shown(&input.name))).with_param(&*input.name)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::extras::Extras;
    use crate::infer::RequestedOutput;
    use crate::v2::GenerateRequest;

    fn text(name: &str, texts: &[&str]) -> Tensor {
        let mut data = Vec::new();
        for text in texts {
            push_bytes_element(&mut data, text.as_bytes()).unwrap();
        }
        Tensor::new(name, Datatype::Bytes, Shape::from_slice(&[texts.len()]), data.into()).unwrap()
    }

    fn flag(name: &str, value: bool) -> Tensor {
        Tensor::new(name, Datatype::Bool, Shape::from_slice(&[1, 1]), Bytes::from(vec![u8::from(value)])).unwrap()
    }

    fn asked(inputs: Vec<Tensor>, parameters: &[(&str, Parameter)]) -> InferRequest {
        let request = parameters.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        let extras = Extras { request, ..Extras::default() };
        InferRequest { inputs, extras: Some(Box::new(extras)), ..InferRequest::default() }
    }

    #[test]
    fn inputs_and_parameters_become_those_of_the_extension() {
        let sampling = r#" {"top_p": "0.5", "stop": ["7"], "seed":3} "#;
        let inputs = vec![
            text(TEXT_INPUT, &["say \"\u{e9}\"\n"]),
            flag(STREAM, false),
            text(SAMPLING, &[sampling]),
            flag(EXCLUDE_INPUT, false),
        ];
        let parameters = [
            ("max_tokens", Parameter::Integer(7)),
            ("min_tokens", Parameter::Unsigned(2)),
            ("temperature", Parameter::Double(0.25)),
            ("ignore_eos", Parameter::Bool(true)),
            ("top_k", Parameter::Text("5".to_owned())),
            ("cache_salt", Parameter::Text("12".to_owned())),
            ("stop_token_ids", Parameter::Json("[1,2]".into())),
            (WANTS_FINAL, Parameter::Bool(true)),
        ];
        let body = generate_body(&asked(inputs, &parameters)).unwrap();
        let expected = json!({
            "text_input": "say \"\u{e9}\"\n",
            "parameters": {
                "stream": false, "top_p": 0.5, "stop": ["7"], "seed": 3, "exclude_input_in_output": false,
                "max_tokens": 7, "min_tokens": 2, "temperature": 0.25, "ignore_eos": true, "top_k": 5,
                "cache_salt": "12", "stop_token_ids": [1, 2],
            },
        });
        assert_eq!(serde_json::from_slice::<Value>(&body).unwrap(), expected);
        let request = GenerateRequest::decode(&body, true).unwrap();
        assert!(request.echo && !request.generation.stream);
        assert_eq!((request.generation.max_tokens, request.generation.top_k), (Some(7), Some(5)));
    }

    #[test]
    fn what_is_said_twice_is_refused_by_its_name() {
        let inputs = vec![text(TEXT_INPUT, &["a"]), text(SAMPLING, &[r#"{"max_tokens":1}"#])];
        let body = generate_body(&asked(inputs, &[("max_tokens", Parameter::Integer(2))])).unwrap();
        let error = GenerateRequest::decode(&body, true).unwrap_err();
        assert_eq!(error.param(), Some("parameters.max_tokens"), "{error}");
    }

    #[test]
    fn inputs_that_cant_be_are_refused_by_their_names() {
        let number =
            Tensor::new(TEXT_INPUT, Datatype::Int8, Shape::from_slice(&[1]), Bytes::from_static(&[1])).unwrap();
        let mut bytes = Vec::new();
        push_bytes_element(&mut bytes, &[0xff]).unwrap();
        let binary = Tensor::new(TEXT_INPUT, Datatype::Bytes, Shape::from_slice(&[1]), bytes.into()).unwrap();
        let given = || text(TEXT_INPUT, &["a"]);
        for (inputs, message) in [
            (vec![], "input 'text_input' is missing: give a text"),
            (vec![text(TEXT_INPUT, &["a", "b"])], "input 'text_input' has 2 elements: send one with each call"),
            (vec![text(TEXT_INPUT, &[])], "input 'text_input' has 0 elements: send one with each call"),
            (vec![given(), given()], "input 'text_input' is given twice"),
            (vec![number], "input 'text_input' is INT8: send BYTES"),
            (vec![binary], "input 'text_input' is not UTF-8: invalid utf-8 sequence of 1 bytes from index 0"),
            (vec![given(), text(STREAM, &["yes"])], "input 'stream' is BYTES: send BOOL"),
            (
                vec![given(), text("image", &["x"])],
                "input 'image' is not known: give text_input, and stream, exclude_input_in_output or sampling_parameters",
            ),
        ] {
            let error = generate_body(&asked(inputs, &[])).unwrap_err();
            assert_eq!(error.message(), message);
        }
        for sampling in ["", "[1]", r#"{"top_p":}"#, r#"{"a":1} {"b":2}"#, r#"{"a":1"#] {
            let error = generate_body(&asked(vec![given(), text(SAMPLING, &[sampling])], &[])).unwrap_err();
            assert!(error.message().starts_with("input 'sampling_parameters' is no object of JSON: "), "{error}");
        }
        let endless =
            generate_body(&asked(vec![given()], &[("temperature", Parameter::Double(f64::NAN))])).unwrap_err();
        assert!(endless.message().contains("'temperature' is no finite number"), "{endless}");
        let outputs = vec![RequestedOutput { name: "logits".into(), binary: None }];
        let error = generate_body(&InferRequest { inputs: vec![given()], outputs, ..InferRequest::default() });
        assert_eq!(error.unwrap_err().message(), "output 'logits' is not there: the model gives text_output");
    }

    #[test]
    fn numbers_are_told_from_what_only_begins_like_one() {
        for (text, is) in [("1", true), ("-0.5e3", true), ("", false), (" 1", false), ("1 2", false), ("NaN", false)] {
            assert_eq!(is_number(text.as_bytes()), is, "{text:?}");
        }
    }

    #[test]
    fn a_text_is_one_element() {
        let output = text_output("h\u{e9}").unwrap();
        assert_eq!((output.elements(), &output.data[..]), (1, &b"\x03\0\0\0h\xc3\xa9"[..]));
    }
}
