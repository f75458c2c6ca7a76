//! Messages to calls and back, for the serving and the calling side.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use super::contents;
use super::infer_parameter::ParameterChoice;
use super::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::model_infer_response::InferOutputTensor;
use super::model_metadata_response::TensorMetadata;
use super::{InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataResponse};
use crate::error::{Error, Result, Shown};
use crate::extras::{self, Extras, OF_THE_BODY, Parameter, Parameters};
use crate::infer::{InferRequest, InferResponse, RequestedOutput};
use crate::model::{ModelSpec, TensorSpec};
use crate::tensor::{Datatype, Shape, Tensor};

/// Parameters that would change the answer, and are not acted on. Silence would be a wrong answer.
const REFUSED_PARAMETERS: [&str; 2] = ["classification", "shared_memory_region"];

/// Parameters that make a call part of a sequence: models keep no state between calls.
const SEQUENCE_PARAMETERS: [&str; 3] = ["sequence_id", "sequence_start", "sequence_end"];

/// Reads a request, and whether it was raw, as its answer then should be.
pub fn decode_request(mut message: ModelInferRequest) -> Result<(InferRequest, bool)> {
    let raw = !message.raw_input_contents.is_empty();
    if let Some(name) = asked_for(&SEQUENCE_PARAMETERS, &message.parameters) {
        return Err(Error::invalid(format!(
            "parameter '{name}' is not supported: each call stands alone, so leave it out"
        )));
    }
    let mut extras = Extras { request: parameters(message.parameters), ..Extras::default() };
    for input in &mut message.inputs {
        check_parameters("input", &input.name, &input.parameters)?;
        note(&mut extras.inputs, &input.name, std::mem::take(&mut input.parameters));
    }
    let mut payloads = Payloads::new("input", message.inputs.len(), message.raw_input_contents)?;
    let inputs = message.inputs.into_iter().map(|InferInputTensor { name, datatype, shape, contents, .. }| {
        payloads.tensor(&name, &datatype, &shape, contents)
    });
    let inputs = inputs.collect::<Result<_>>()?;
    let outputs = message.outputs.into_iter().map(|output| {
        check_parameters("output", &output.name, &output.parameters)?;
        note(&mut extras.outputs, &output.name, output.parameters);
        Ok(RequestedOutput { name: output.name.into(), binary: None })
    });
    let outputs = outputs.collect::<Result<_>>()?;
    let extras = extras.boxed()?;
    let id = (!message.id.is_empty()).then_some(message.id);
    Ok((InferRequest { id, inputs, outputs, binary_outputs: false, extras }, raw))
}

/// Writes an answer: raw if asked for, or if an output is FP16 or BF16, which have no typed form. One raw output makes all raw.
pub fn encode_response(response: InferResponse, raw: bool) -> Result<ModelInferResponse> {
    let raw = raw || has_half(&response.outputs);
    let mut message = ModelInferResponse {
        model_name: response.model_name.to_string(),
        model_version: response.model_version.as_deref().unwrap_or_default().to_owned(),
        id: response.id.unwrap_or_default(),
        parameters: HashMap::new(),
        outputs: Vec::with_capacity(response.outputs.len()),
        raw_output_contents: Vec::new(),
    };
    for tensor in response.outputs {
        let contents = if raw { None } else { Some(contents::from_tensor(&tensor)?) };
        message.outputs.push(InferOutputTensor {
            name: tensor.name.to_string(),
            datatype: tensor.datatype.name().to_owned(),
            shape: wire_shape(&tensor.shape),
            parameters: HashMap::new(),
            contents,
        });
        if raw {
            message.raw_output_contents.push(tensor.data);
        }
    }
    Ok(message)
}

/// Writes a request for `model`, raw if asked for, or if an input is FP16 or BF16.
pub fn encode_request(
    model: &str,
    version: Option<&str>,
    request: InferRequest,
    raw: bool,
) -> Result<ModelInferRequest> {
    let raw = raw || has_half(&request.inputs);
    let extras = request.extras.map(|extras| *extras).unwrap_or_default();
    let output = |output: &RequestedOutput| {
        let parameters = wire_parameters(extras::of(&extras.outputs, &output.name))?;
        Ok(InferRequestedOutputTensor { name: output.name.to_string(), parameters })
    };
    let mut message = ModelInferRequest {
        model_name: model.to_owned(),
        model_version: version.unwrap_or_default().to_owned(),
        id: request.id.unwrap_or_default(),
        parameters: wire_parameters(&extras.request)?,
        inputs: Vec::with_capacity(request.inputs.len()),
        outputs: request.outputs.iter().map(output).collect::<Result<_>>()?,
        raw_input_contents: Vec::new(),
    };
    for tensor in request.inputs {
        let contents = if raw { None } else { Some(contents::from_tensor(&tensor)?) };
        message.inputs.push(InferInputTensor {
            name: tensor.name.to_string(),
            datatype: tensor.datatype.name().to_owned(),
            shape: wire_shape(&tensor.shape),
            parameters: wire_parameters(extras::of(&extras.inputs, &tensor.name))?,
            contents,
        });
        if raw {
            message.raw_input_contents.push(tensor.data);
        }
    }
    Ok(message)
}

/// Reads another server's answer. What is wrong with it is that server's fault, never the caller's.
pub fn decode_response(message: ModelInferResponse) -> Result<InferResponse> {
    let unreadable = |error: Error| Error::engine(format!("the replica's answer can't be read: {error}"));
    let mut payloads =
        Payloads::new("output", message.outputs.len(), message.raw_output_contents).map_err(unreadable)?;
    let outputs = message.outputs.into_iter().map(|InferOutputTensor { name, datatype, shape, contents, .. }| {
        payloads.tensor(&name, &datatype, &shape, contents)
    });
    let outputs = outputs.collect::<Result<_>>().map_err(unreadable)?;
    Ok(InferResponse {
        model_name: message.model_name.into(),
        model_version: (!message.model_version.is_empty()).then(|| message.model_version.into()),
        id: (!message.id.is_empty()).then_some(message.id),
        outputs,
    })
}

/// What a model takes and gives.
pub fn model_metadata(name: &str, versions: &[impl AsRef<str>], spec: &ModelSpec) -> ModelMetadataResponse {
    let tensors = |specs: &[TensorSpec]| {
        let tensor = |spec: &TensorSpec| TensorMetadata {
            name: spec.name.to_string(),
            datatype: spec.datatype.name().to_owned(),
            shape: spec.shape.iter().map(|dim| dim.v2()).collect(),
        };
        specs.iter().map(tensor).collect()
    };
    ModelMetadataResponse {
        name: name.to_owned(),
        versions: versions.iter().map(|version| version.as_ref().to_owned()).collect(),
        platform: spec.platform.to_owned(),
        inputs: tensors(&spec.inputs),
        outputs: tensors(&spec.outputs),
    }
}

/// The payloads of a message's tensors, handed out in order: all raw, or all typed.
struct Payloads {
    /// `input` or `output`.
    role: &'static str,
    raw: Option<std::vec::IntoIter<Bytes>>,
}

impl Payloads {
    fn new(role: &'static str, tensors: usize, raw: Vec<Bytes>) -> Result<Self> {
        if !raw.is_empty() && raw.len() != tensors {
            return Err(Error::invalid(format!(
                "raw_{role}_contents has {} entries for {tensors} {role}s: give one for each {role}",
                raw.len()
            )));
        }
        Ok(Payloads { role, raw: (!raw.is_empty()).then(|| raw.into_iter()) })
    }

    fn tensor(
        &mut self,
        name: &str,
        datatype: &str,
        shape: &[i64],
        contents: Option<InferTensorContents>,
    ) -> Result<Tensor> {
        let role = self.role;
        let in_tensor = |error: Error| Error::invalid(format!("{role} '{}': {error}", Shown(name)));
        let datatype = Datatype::parse(datatype).map_err(in_tensor)?;
        let shape = read_shape(shape).map_err(in_tensor)?;
        let data = match self.raw.as_mut() {
            Some(_) if contents.as_ref().is_some_and(|contents| *contents != InferTensorContents::default()) => {
                return Err(in_tensor(Error::invalid(format!(
                    "has contents beside raw_{role}_contents: send every tensor raw, or none"
                ))));
            }
            Some(raw) => raw.next().unwrap_or_default(),
            None => contents::into_raw(name, datatype, contents.unwrap_or_default())?,
        };
        Tensor::new(name, datatype, shape, data)
    }
}

/// What parameters say to the model, in the order of their names.
fn parameters(wire: HashMap<String, InferParameter>) -> Parameters {
    let said = wire.into_iter().filter_map(|(name, parameter)| {
        let of_the_body = OF_THE_BODY.contains(&&*name) || SEQUENCE_PARAMETERS.contains(&&*name);
        let value = match parameter.parameter_choice? {
            ParameterChoice::BoolParam(value) => Parameter::Bool(value),
            ParameterChoice::Int64Param(value) => Parameter::Integer(value),
            ParameterChoice::StringParam(text) => Parameter::Text(text),
            ParameterChoice::DoubleParam(value) => Parameter::Double(value),
            ParameterChoice::Uint64Param(value) => Parameter::Unsigned(value),
        };
        (!of_the_body).then(|| (name.into(), value))
    });
    let mut said: Parameters = said.collect();
    said.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    said
}

/// Notes what the parameters of a tensor say.
fn note(tensors: &mut Vec<(Arc<str>, Parameters)>, name: &str, wire: HashMap<String, InferParameter>) {
    let said = if wire.is_empty() { Parameters::new() } else { parameters(wire) };
    if !said.is_empty() {
        tensors.push((name.into(), said));
    }
}

fn wire_parameters(said: &[(Arc<str>, Parameter)]) -> Result<HashMap<String, InferParameter>> {
    let choice = |name: &str, value: &Parameter| {
        Ok(match value {
            Parameter::Bool(value) => ParameterChoice::BoolParam(*value),
            Parameter::Integer(value) => ParameterChoice::Int64Param(*value),
            Parameter::Unsigned(value) => ParameterChoice::Uint64Param(*value),
            Parameter::Double(value) => ParameterChoice::DoubleParam(*value),
            Parameter::Text(text) => ParameterChoice::StringParam(text.clone()),
            Parameter::Json(_) => {
                return Err(Error::unsupported(format!(
                    "parameter '{}' is no bool, text or number of 64 bits, which is all that V2 over gRPC has, and that the \
                     model's server speaks: leave it out",
                    Shown(name)
                )));
            }
        })
    };
    let wire = said.iter().map(|(name, value)| {
        let parameter_choice = Some(choice(name, value)?);
        Ok((name.to_string(), InferParameter { parameter_choice }))
    });
    wire.collect()
}

fn check_parameters(role: &str, name: &str, parameters: &HashMap<String, InferParameter>) -> Result<()> {
    match asked_for(&REFUSED_PARAMETERS, parameters) {
        None => Ok(()),
        Some(refused) => Err(Error::invalid(format!(
            "{role} '{}': parameter '{refused}' is not supported: leave it out",
            Shown(name)
        ))),
    }
}

/// The first of these parameters that is set to anything but what it has where it is left out.
fn asked_for(names: &[&'static str], parameters: &HashMap<String, InferParameter>) -> Option<&'static str> {
    let asks = |parameter: &InferParameter| match &parameter.parameter_choice {
        None | Some(ParameterChoice::Int64Param(0) | ParameterChoice::BoolParam(false)) => false,
        Some(ParameterChoice::StringParam(text)) => !text.is_empty(),
        Some(_) => true,
    };
    names.iter().copied().find(|name| parameters.get(*name).is_some_and(asks))
}

fn read_shape(dimensions: &[i64]) -> Result<Shape> {
    let read = |(index, &dimension): (usize, &i64)| {
        usize::try_from(dimension)
            .map_err(|_| Error::invalid(format!("shape[{index}] is {dimension}: give a whole number of 0 or more")))
    };
    dimensions.iter().enumerate().map(read).collect()
}

fn wire_shape(shape: &Shape) -> Vec<i64> {
    shape.iter().map(|&size| i64::try_from(size).unwrap_or(i64::MAX)).collect()
}

fn has_half(tensors: &[Tensor]) -> bool {
    tensors.iter().any(|tensor| matches!(tensor.datatype, Datatype::Fp16 | Datatype::Bf16))
}
