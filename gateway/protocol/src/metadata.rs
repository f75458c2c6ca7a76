//! What other servers say of their models, read with mistrust: whoever passes calls on must not come to harm by it.

use std::collections::HashSet;

use serde::Deserialize;

use crate::model::{Dim, ModelSpec, TensorSpec};
use crate::oip::ModelMetadataResponse;
use crate::oip::model_metadata_response::TensorMetadata;
use crate::tensor::{Datatype, MAX_DIMENSIONS};

/// [`ModelSpec::platform`] of a model that another server runs.
pub const PLATFORM: &str = "remote";

/// The most inputs, and outputs, that are believed.
const MOST_TENSORS: usize = 1_024;

/// Another server's metadata of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Metadata {
    /// The names of its versions; empty where it has none.
    pub versions: Vec<String>,
    /// What it takes and gives, or why that is not known: some servers leave tensors out, others tell half of them.
    pub tensors: Result<(Vec<TensorSpec>, Vec<TensorSpec>), String>,
}

impl Metadata {
    /// The specification of this version, if its tensors are known.
    pub fn spec(&self, version: Option<&str>) -> Option<ModelSpec> {
        let (inputs, outputs) = self.tensors.clone().ok()?;
        let version = version.map(Into::into);
        Some(ModelSpec { version, platform: PLATFORM, inputs, outputs, pads: false })
    }
}

#[derive(Deserialize)]
struct Json {
    name: Option<String>,
    versions: Option<Vec<String>>,
    inputs: Option<Vec<JsonTensor>>,
    outputs: Option<Vec<JsonTensor>>,
}

#[derive(Deserialize)]
struct JsonTensor {
    name: Option<String>,
    datatype: Option<String>,
    shape: Option<Vec<i64>>,
}

/// Reads the answer to `GET /v2/models/{name}`. An error where it is none: no JSON object that names a model.
pub fn from_json(body: &[u8]) -> Result<Metadata, String> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err("the metadata is no JSON object".to_owned());
    }
    let json: Json = serde_json::from_slice(body).map_err(|error| format!("the metadata can't be read: {error}"))?;
    if json.name.is_none() {
        return Err("the metadata names no model".to_owned());
    }
    let told = |tensors: Option<Vec<JsonTensor>>| {
        let tensors = tensors.unwrap_or_default().into_iter();
        tensors.map(|JsonTensor { name, datatype, shape }| Told { name, datatype, shape }).collect()
    };
    let tensors = tensors(told(json.inputs), told(json.outputs));
    Ok(Metadata { versions: json.versions.unwrap_or_default(), tensors })
}

/// The same of gRPC's message.
pub fn from_message(message: ModelMetadataResponse) -> Metadata {
    let told = |tensors: Vec<TensorMetadata>| {
        let tensors = tensors.into_iter();
        tensors
            .map(|TensorMetadata { name, datatype, shape }| Told {
                name: Some(name),
                datatype: Some(datatype),
                shape: Some(shape),
            })
            .collect()
    };
    Metadata { versions: message.versions, tensors: tensors(told(message.inputs), told(message.outputs)) }
}

/// A tensor, as far as the server told it.
struct Told {
    name: Option<String>,
    datatype: Option<String>,
    shape: Option<Vec<i64>>,
}

fn tensors(inputs: Vec<Told>, outputs: Vec<Told>) -> Result<(Vec<TensorSpec>, Vec<TensorSpec>), String> {
    Ok((specs("input", inputs)?, specs("output", outputs)?))
}

fn specs(role: &str, told: Vec<Told>) -> Result<Vec<TensorSpec>, String> {
    if told.is_empty() || told.len() > MOST_TENSORS {
        return Err(format!("the metadata has {} {role}s: 1 to {MOST_TENSORS} are expected", told.len()));
    }
    let specs = told.into_iter().map(|tensor| spec(role, tensor)).collect::<Result<Vec<_>, _>>()?;
    let mut names = HashSet::new();
    match specs.iter().find(|spec| !names.insert(&spec.name)) {
        Some(twice) => Err(format!("the metadata has {role} '{}' twice", twice.name)),
        None => Ok(specs),
    }
}

fn spec(role: &str, told: Told) -> Result<TensorSpec, String> {
    let name = told.name.filter(|name| !name.is_empty()).ok_or_else(|| format!("an {role} has no name"))?;
    let lacks = |what: &str| format!("{role} '{name}' has no {what}");
    let datatype = told.datatype.ok_or_else(|| lacks("datatype"))?;
    let datatype = Datatype::parse(&datatype).map_err(|error| format!("{role} '{name}': {error}"))?;
    let shape = told.shape.ok_or_else(|| lacks("shape"))?;
    if shape.len() > MAX_DIMENSIONS {
        return Err(format!("{role} '{name}' has {} dimensions: the limit is {MAX_DIMENSIONS}", shape.len()));
    }
    let dim = |&size: &i64| match usize::try_from(size) {
        Ok(size) => Ok(Dim::Fixed(size)),
        Err(_) if size == -1 => Ok(Dim::Dynamic("".into())),
        Err(_) => Err(format!("{role} '{name}' has a dimension of {size}")),
    };
    let shape = shape.iter().map(dim).collect::<Result<_, _>>()?;
    Ok(TensorSpec { name: name.into(), datatype, shape })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{oip, v2};

    fn iris() -> ModelSpec {
        let tensor = |name: &str, shape: &[Dim]| TensorSpec {
            name: name.into(),
            datatype: Datatype::Fp32,
            shape: shape.to_vec(),
        };
        let any = || Dim::Dynamic("".into());
        ModelSpec {
            version: Some("3".into()),
            platform: PLATFORM,
            inputs: vec![tensor("x", &[any(), Dim::Fixed(4)])],
            outputs: vec![tensor("y", &[any()])],
            pads: false,
        }
    }

    #[test]
    fn what_we_say_of_a_model_reads_back_in_both_protocols() {
        let (spec, versions) = (iris(), ["1", "3"]);
        let json = from_json(&v2::model_metadata("iris", &versions, &spec)).unwrap();
        let message = from_message(oip::model_metadata("iris", &versions, &spec));
        assert_eq!(json, message);
        assert_eq!(json.versions, versions);
        assert_eq!(json.spec(Some("3")), Some(spec));
    }

    #[test]
    fn what_tells_half_has_no_specification() {
        for (tensors, why) in [
            (r#""inputs":[],"outputs":[]"#, "0 inputs"),
            (r#""platform":"""#, "0 inputs"),
            (r#""inputs":[{"name":"x","datatype":"FP32"}]"#, "no shape"),
            (r#""inputs":[{"name":"x","shape":[1]}]"#, "no datatype"),
            (r#""inputs":[{"datatype":"FP32","shape":[1]}]"#, "no name"),
            (r#""inputs":[{"name":"x","datatype":"object","shape":[1]}]"#, "'object'"),
            (r#""inputs":[{"name":"x","datatype":"FP32","shape":[-2]}]"#, "-2"),
            (r#""inputs":[{"name":"x","datatype":"FP32","shape":[1]}]"#, "0 outputs"),
            (
                r#""inputs":[{"name":"x","datatype":"FP32","shape":[1]},{"name":"x","datatype":"FP32","shape":[1]}]"#,
                "twice",
            ),
        ] {
            let metadata = from_json(format!(r#"{{"name":"m",{tensors}}}"#).as_bytes()).unwrap();
            let error = metadata.tensors.unwrap_err();
            assert!(error.contains(why), "{tensors}: {error}");
        }
    }

    #[test]
    fn what_is_no_metadata_says_so() {
        for body in ["", "[]", "<html>", r#"{"detail":"Not Found"}"#, r#"{"name":7}"#, r#"{"name":"m","inputs":7}"#] {
            assert!(from_json(body.as_bytes()).is_err(), "{body}");
        }
    }
}
