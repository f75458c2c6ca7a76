//! A model of which nobody says what it takes: a V2 call says itself what its tensors are, and is believed.
//!
//! So it can be translated between V2 over HTTP and over gRPC, and for a server of V1, which then says itself what is wrong
//! with it. Such a call shares no batch: nobody knows whether its rows can be told apart.

use std::collections::HashSet;
use std::sync::Arc;

use crate::call::{Payload, Work};
use crate::error::{Error, Result, Shown};
use crate::infer::InferRequest;
use crate::model::{Dim, ModelSpec, TensorSpec};
use crate::tensor::{Datatype, Tensor};

/// [`ModelSpec::platform`] of such a model, which no model that is known has.
const PLATFORM: &str = "as_given";

/// The specification of such a model. `version` is what its caller asks for; an empty text asks for none.
pub fn spec(version: &str) -> Arc<ModelSpec> {
    let version = (!version.is_empty()).then(|| version.into());
    Arc::new(ModelSpec { version, platform: PLATFORM, inputs: Vec::new(), outputs: Vec::new(), pads: false })
}

/// Whether a specification is that of such a model.
pub fn is_spec(spec: &ModelSpec) -> bool {
    spec.platform == PLATFORM
}

/// Takes a request as it is. The payload's specification names the outputs that are asked for; none: whatever comes.
pub(crate) fn bind(spec: &ModelSpec, request: &mut InferRequest, pinned: bool) -> Result<(Work, Payload)> {
    let inputs = std::mem::take(&mut request.inputs);
    check_names("input", inputs.iter().map(|input| &*input.name))?;
    check_names("output", request.outputs.iter().map(|output| &*output.name))?;
    let given = |input: &Tensor| TensorSpec {
        name: input.name.clone(),
        datatype: input.datatype,
        shape: input.shape.iter().map(|&size| Dim::Fixed(size)).collect(),
    };
    // Of an output its name alone is known.
    let asked = |name: &Arc<str>| TensorSpec { name: name.clone(), datatype: Datatype::Bytes, shape: Vec::new() };
    let of_call = ModelSpec {
        version: spec.version.clone(),
        platform: PLATFORM,
        inputs: inputs.iter().map(given).collect(),
        outputs: request.outputs.iter().map(|output| asked(&output.name)).collect(),
        pads: false,
    };
    let bytes = inputs.iter().map(|input| input.data.len()).sum();
    let outputs = (0..of_call.outputs.len()).collect();
    let payload = Payload::Infer { spec: Arc::new(of_call), pinned, inputs, outputs };
    Ok((Work { rows: 1, bytes, signature: None, length: None }, payload))
}

fn check_names<'a>(role: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = HashSet::new();
    let mut names = names;
    match names.find(|name| !seen.insert(*name)) {
        None => Ok(()),
        Some(twice) => Err(Error::invalid(format!("{role} '{}' is given twice", Shown(twice)))),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::infer::RequestedOutput;
    use crate::tensor::Shape;

    fn request(inputs: &[&str], outputs: &[&str]) -> InferRequest {
        let input = |name: &&str| {
            Tensor::new(*name, Datatype::Int8, Shape::from_slice(&[2, 1]), Bytes::from_static(&[1, 2])).unwrap()
        };
        let output = |name: &&str| RequestedOutput { name: (*name).into(), binary: None };
        let (inputs, outputs) = (inputs.iter().map(input).collect(), outputs.iter().map(output).collect());
        InferRequest { inputs, outputs, ..InferRequest::default() }
    }

    #[test]
    fn a_call_is_taken_as_it_is_and_shares_nothing() {
        let (work, payload) = spec("3").bind(&mut request(&["b", "a"], &["y"]), true).unwrap();
        assert_eq!(work, Work { rows: 1, bytes: 4, signature: None, length: None });
        let Payload::Infer { spec, pinned, inputs, outputs } = payload;
        assert!(is_spec(&spec) && pinned && spec.version.as_deref() == Some("3"));
        assert_eq!(inputs.iter().map(|input| &*input.name).collect::<Vec<_>>(), ["b", "a"]);
        assert_eq!((outputs, &*spec.outputs[0].name), (vec![0], "y"));
        let (_, Payload::Infer { spec, outputs, .. }) = super::spec("").bind(&mut request(&[], &[]), false).unwrap();
        assert!(spec.inputs.is_empty() && spec.outputs.is_empty() && outputs.is_empty() && spec.version.is_none());
    }

    #[test]
    fn a_name_stands_for_one_tensor() {
        let text = |inputs: &[&str], outputs: &[&str]| {
            spec("").bind(&mut request(inputs, outputs), false).unwrap_err().message().to_owned()
        };
        assert_eq!(text(&["a", "b", "a"], &[]), "input 'a' is given twice");
        assert_eq!(text(&["a"], &["y", "y"]), "output 'y' is given twice");
    }
}
