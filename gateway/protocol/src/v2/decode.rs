//! Bodies to calls: requests for the serving side, responses for the calling side.
//!
//! Keys come in any order. A tensor whose `data` comes before its `datatype` is read in a second visit; all others are
//! read as they pass. Keys that nobody knows are skipped, as the protocol's extensions ask for.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::HEADER_LENGTH;
use super::elements::{self, Flat};
use crate::error::{Error, Result, Shown};
use crate::extras::{Extras, MOST_PARAMETERS, Parameter, Parameters};
use crate::infer::{InferRequest, InferResponse, RequestedOutput};
use crate::json::{Cursor, Fault, Parsed, owned_string, set, unless_null};
use crate::tensor::{self, Datatype, MAX_DIMENSIONS, Shape, Tensor};

/// Parameters that would change the answer, and are not acted on. Silence would be a wrong answer.
const REFUSED_PARAMETERS: [&str; 2] = ["classification", "shared_memory_region"];

/// Parameters that make a call part of a sequence: models keep no state between calls. Some clients send them on every
/// call, with values that ask for nothing.
const SEQUENCE_PARAMETERS: [&str; 3] = ["sequence_id", "sequence_start", "sequence_end"];

/// Reads an inference request. `header_length` is the value of `Inference-Header-Content-Length`, if there is one: the
/// length of the JSON that binary tensors follow. Those stay slices of `body`.
pub fn decode_request(body: &Bytes, header_length: Option<&str>) -> Result<InferRequest> {
    let (json, mut binary) = split(body, header_length)?;
    let request = read_request(&mut Cursor::new(&json), &mut binary)?;
    binary.end()?;
    Ok(request)
}

/// Reads another server's answer; the mirror of [`decode_request`]. What is wrong with it is that server's fault, never
/// the caller's.
pub fn decode_response(body: &Bytes, header_length: Option<&str>) -> Result<InferResponse> {
    let read = || {
        let (json, mut binary) = split(body, header_length)?;
        let response = read_response(&mut Cursor::new(&json), &mut binary)?;
        binary.end()?;
        Ok(response)
    };
    read().map_err(|error: Error| Error::engine(format!("the replica's answer can't be read: {error}")))
}

/// The JSON and the binary tensors behind it.
fn split(body: &Bytes, header_length: Option<&str>) -> Result<(Bytes, Binary)> {
    let Some(value) = header_length else { return Ok((body.clone(), Binary { rest: None })) };
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    // More digits than a u64 holds are more than any body holds, too.
    let length = digits.then(|| value.parse::<u64>().unwrap_or(u64::MAX)).ok_or_else(|| {
        Error::invalid(format!(
            "header {HEADER_LENGTH} is '{}': give the length in bytes of the JSON at the start of the body",
            Shown(value)
        ))
    })?;
    match usize::try_from(length).ok().filter(|length| *length <= body.len()) {
        Some(length) => Ok((body.slice(..length), Binary { rest: Some(body.slice(length..)) })),
        None => Err(Error::invalid(format!(
            "header {HEADER_LENGTH} is {}, the body has {} bytes: give the length in bytes of the JSON at its start",
            Shown(value),
            body.len()
        ))),
    }
}

/// The body behind the JSON, taken by the binary tensors in their order. `None` where the header is missing.
struct Binary {
    rest: Option<Bytes>,
}

impl Binary {
    fn take(&mut self, at: usize, size: u64) -> Parsed<Bytes> {
        let Some(rest) = &mut self.rest else {
            return Err(Fault::new(at, format!("binary_data_size needs the header {HEADER_LENGTH}, which is missing")));
        };
        match usize::try_from(size).ok().filter(|size| *size <= rest.len()) {
            Some(size) => Ok(rest.split_to(size)),
            None => {
                let left = rest.len();
                Err(Fault::new(at, format!("binary_data_size is {size}, and {left} bytes of the body are left for it")))
            }
        }
    }

    fn end(&self) -> Result<()> {
        match self.rest.as_ref().map_or(0, Bytes::len) {
            0 => Ok(()),
            left => Err(Error::invalid(format!(
                "body: {left} bytes are left behind the last binary tensor: check binary_data_size and {HEADER_LENGTH}"
            ))),
        }
    }
}

#[derive(Default)]
struct RequestFields {
    id: Option<Option<String>>,
    inputs: Option<Vec<Tensor>>,
    outputs: Option<Vec<RequestedOutput>>,
    parameters: Option<KnownParameters>,
}

fn read_request(cursor: &mut Cursor<'_>, binary: &mut Binary) -> Parsed<InferRequest> {
    let mut fields = RequestFields::default();
    let mut extras = Extras::default();
    cursor.object(|cursor, key| {
        let at = cursor.at();
        match key {
            "id" => set(&mut fields.id, at, unless_null(cursor, owned_string)?),
            "inputs" => set(&mut fields.inputs, at, read_tensors(cursor, binary, &mut extras)?),
            "outputs" => {
                let outputs = unless_null(cursor, |cursor| read_outputs(cursor, &mut extras))?;
                set(&mut fields.outputs, at, outputs.unwrap_or_default())
            }
            "parameters" => set(&mut fields.parameters, at, read_parameters(cursor, &mut extras.request)?),
            _ => {
                extras.unknown = true;
                cursor.skip().map(drop)
            }
        }
    })?;
    cursor.end()?;
    let extras = extras.boxed().map_err(|error| Fault::new(cursor.at(), error.message().to_owned()))?;
    // Which of them are missing is the model's to say: some take none.
    let inputs = fields
        .inputs
        .ok_or_else(|| Fault::new(cursor.at(), "is missing: give the model's inputs").in_field("inputs"))?;
    Ok(InferRequest {
        id: fields.id.flatten(),
        inputs,
        outputs: fields.outputs.unwrap_or_default(),
        binary_outputs: fields.parameters.and_then(|parameters| parameters.binary_data_output).unwrap_or(false),
        extras,
    })
}

#[derive(Default)]
struct ResponseFields {
    model_name: Option<Arc<str>>,
    model_version: Option<Option<Arc<str>>>,
    id: Option<Option<String>>,
    outputs: Option<Vec<Tensor>>,
}

fn read_response(cursor: &mut Cursor<'_>, binary: &mut Binary) -> Parsed<InferResponse> {
    let mut fields = ResponseFields::default();
    cursor.object(|cursor, key| {
        let at = cursor.at();
        match key {
            "model_name" => set(&mut fields.model_name, at, cursor.string()?.into()),
            "model_version" => set(&mut fields.model_version, at, unless_null(cursor, owned_string)?.map(Arc::from)),
            "id" => set(&mut fields.id, at, unless_null(cursor, owned_string)?),
            // What another server's answer says besides is not read.
            "outputs" => set(&mut fields.outputs, at, read_tensors(cursor, binary, &mut Extras::default())?),
            _ => cursor.skip().map(drop),
        }
    })?;
    cursor.end()?;
    let outputs = fields.outputs.ok_or_else(|| Fault::new(cursor.at(), "is missing").in_field("outputs"))?;
    Ok(InferResponse {
        model_name: fields.model_name.unwrap_or_default(),
        model_version: fields.model_version.flatten(),
        id: fields.id.flatten(),
        outputs,
    })
}

/// What is known among `parameters`. The rest is for others, of whatever type.
#[derive(Default)]
struct KnownParameters {
    binary_data: Option<bool>,
    binary_data_output: Option<bool>,
    binary_data_size: Option<u64>,
}

/// Reads what is known, and leaves the rest in `others`.
fn read_parameters(cursor: &mut Cursor<'_>, others: &mut Parameters) -> Parsed<KnownParameters> {
    let mut known = KnownParameters::default();
    if cursor.literal("null") {
        return Ok(known);
    }
    cursor.object(|cursor, key| {
        let at = cursor.at();
        let flag = |cursor: &mut Cursor<'_>| cursor.bool("true or false");
        match key {
            "binary_data" => set(&mut known.binary_data, at, flag(cursor)?),
            "binary_data_output" => set(&mut known.binary_data_output, at, flag(cursor)?),
            "binary_data_size" => set(&mut known.binary_data_size, at, whole_number(cursor)?),
            refused if REFUSED_PARAMETERS.contains(&refused) => Err(Fault::new(at, "is not supported: leave it out")),
            sequence if SEQUENCE_PARAMETERS.contains(&sequence) => match asks_for_nothing(cursor) {
                true => cursor.skip().map(drop),
                false => Err(Fault::new(at, "is not supported: each call stands alone, so leave it out")),
            },
            _ => {
                let value = read_parameter(cursor)?;
                if others.len() == MOST_PARAMETERS {
                    let text = format!("is one more than the {MOST_PARAMETERS} parameters that are taken");
                    return Err(Fault::new(at, text));
                }
                others.extend(value.map(|value| (key.into(), value)));
                Ok(())
            }
        }
    })?;
    Ok(known)
}

/// A parameter's value; none for null, which says nothing.
fn read_parameter(cursor: &mut Cursor<'_>) -> Parsed<Option<Parameter>> {
    if cursor.literal("null") {
        return Ok(None);
    }
    if cursor.peek() == Some(b'"') {
        return owned_string(cursor).map(|text| Some(Parameter::Text(text)));
    }
    let skipped = cursor.skip()?;
    let text = String::from_utf8_lossy(cursor.text(skipped));
    let number = |text: &str| {
        let finite = |number: &f64| number.is_finite();
        let integer = text.parse().ok().map(Parameter::Integer);
        let integer = integer.or_else(|| text.parse().ok().map(Parameter::Unsigned));
        integer.or_else(|| text.parse().ok().filter(finite).map(Parameter::Double))
    };
    Ok(Some(match &*text {
        "true" => Parameter::Bool(true),
        "false" => Parameter::Bool(false),
        // A number that no double holds stays what it is in JSON.
        text => number(text).unwrap_or_else(|| Parameter::Json(text.into())),
    }))
}

/// Whether a parameter's value is the one that it has where it is left out.
fn asks_for_nothing(cursor: &Cursor<'_>) -> bool {
    ["null", "false", "0", r#""""#].into_iter().any(|nothing| cursor.clone().literal(nothing))
}

fn read_outputs(cursor: &mut Cursor<'_>, extras: &mut Extras) -> Parsed<Vec<RequestedOutput>> {
    let mut outputs = Vec::new();
    cursor.array(|cursor, _| {
        let mut name: Option<Arc<str>> = None;
        let mut parameters = None;
        let mut others = Parameters::new();
        let start = cursor.at();
        cursor.object(|cursor, key| {
            let at = cursor.at();
            match key {
                "name" => set(&mut name, at, cursor.string()?.into()),
                "parameters" => set(&mut parameters, at, read_parameters(cursor, &mut others)?),
                _ => {
                    extras.unknown = true;
                    cursor.skip().map(drop)
                }
            }
        })?;
        let name = name.ok_or_else(|| missing(start, "name"))?;
        if !others.is_empty() {
            extras.outputs.push((name.clone(), others));
        }
        let binary = parameters.and_then(|parameters: KnownParameters| parameters.binary_data);
        outputs.push(RequestedOutput { name, binary });
        Ok(())
    })?;
    Ok(outputs)
}

fn read_tensors(cursor: &mut Cursor<'_>, binary: &mut Binary, extras: &mut Extras) -> Parsed<Vec<Tensor>> {
    let mut tensors = Vec::new();
    cursor.array(|cursor, _| {
        tensors.push(read_tensor(cursor, binary, extras)?);
        Ok(())
    })?;
    Ok(tensors)
}

#[derive(Default)]
struct TensorFields {
    name: Option<Arc<str>>,
    shape: Option<Shape>,
    datatype: Option<Datatype>,
    parameters: Option<KnownParameters>,
    data: Option<Data>,
}

/// `data`, or where to find it once the datatype is known.
enum Data {
    Read { at: usize, elements: Flat },
    Skipped(Range<usize>),
}

fn read_tensor(cursor: &mut Cursor<'_>, binary: &mut Binary, extras: &mut Extras) -> Parsed<Tensor> {
    let mut fields = TensorFields::default();
    let mut others = Parameters::new();
    let start = cursor.at();
    cursor.object(|cursor, key| {
        let at = cursor.at();
        match key {
            "name" => set(&mut fields.name, at, cursor.string()?.into()),
            "shape" => set(&mut fields.shape, at, read_shape(cursor)?),
            "datatype" => set(&mut fields.datatype, at, read_datatype(cursor)?),
            "parameters" => set(&mut fields.parameters, at, read_parameters(cursor, &mut others)?),
            "data" => {
                let data = match fields.datatype {
                    Some(datatype) => {
                        let expected = fields.shape.as_deref().and_then(tensor::elements);
                        Data::Read { at, elements: elements::read(cursor, datatype, expected)? }
                    }
                    None => Data::Skipped(cursor.skip()?),
                };
                set(&mut fields.data, at, data)
            }
            _ => {
                extras.unknown = true;
                cursor.skip().map(drop)
            }
        }
    })?;
    let tensor = fields.finish(cursor, start, binary)?;
    if !others.is_empty() {
        extras.inputs.push((tensor.name.clone(), others));
    }
    Ok(tensor)
}

impl TensorFields {
    fn finish(self, cursor: &Cursor<'_>, start: usize, binary: &mut Binary) -> Parsed<Tensor> {
        let name = self.name.ok_or_else(|| missing(start, "name"))?;
        let shape = self.shape.ok_or_else(|| missing(start, "shape"))?;
        let datatype = self.datatype.ok_or_else(|| missing(start, "datatype"))?;
        let wanted = tensor::elements(&shape).ok_or_else(|| {
            Fault::new(start, "has more elements than can be addressed: give smaller dimensions").in_field("shape")
        })?;
        let size = self.parameters.and_then(|parameters| parameters.binary_data_size);
        let (at, elements) = match (self.data, size) {
            (Some(Data::Read { at, elements }), None) => (at, elements),
            (Some(Data::Skipped(range)), None) => {
                let again = elements::read(&mut cursor.revisit(&range), datatype, Some(wanted));
                (range.start, again.map_err(|fault| fault.in_field("data"))?)
            }
            (None, Some(size)) => {
                let data = binary.take(start, size)?;
                return Tensor::new(name, datatype, shape, data)
                    .map_err(|error| Fault::new(start, error.message().to_owned()));
            }
            (Some(_), Some(_)) => {
                return Err(Fault::new(start, "has both data and binary_data_size: give one of them"));
            }
            (None, None) => return Err(Fault::new(start, "has neither data nor binary_data_size: give one of them")),
        };
        if elements.count != wanted {
            let text = format!(
                "element count {} does not match shape {:?}, which asks for {wanted}",
                elements.count,
                &shape[..]
            );
            return Err(Fault::new(at, text).in_field("data"));
        }
        // Counted and written here, so that the check of Tensor::new would find nothing.
        Ok(Tensor { name, datatype, shape, data: elements.data })
    }
}

fn missing(at: usize, field: &str) -> Fault {
    Fault::new(at, "is missing").in_field(field)
}

fn read_datatype(cursor: &mut Cursor<'_>) -> Parsed<Datatype> {
    let at = cursor.at();
    let name = cursor.string()?;
    Datatype::parse(&name).map_err(|error| Fault::new(at, error.message().to_owned()))
}

fn read_shape(cursor: &mut Cursor<'_>) -> Parsed<Shape> {
    let mut shape = Shape::new();
    cursor.array(|cursor, index| {
        if index == MAX_DIMENSIONS {
            return Err(Fault::new(cursor.at(), format!("a tensor has at most {MAX_DIMENSIONS} dimensions")));
        }
        let at = cursor.at();
        let size = usize::try_from(whole_number(cursor)?);
        shape.push(size.map_err(|_| Fault::new(at, "is more than can be addressed"))?);
        Ok(())
    })?;
    Ok(shape)
}

/// A number of things: 0 or more.
fn whole_number(cursor: &mut Cursor<'_>) -> Parsed<u64> {
    cursor.number(
        || "a whole number of 0 or more".to_owned(),
        |number| number.to_integer().and_then(|number| u64::try_from(number).ok()),
    )
}
