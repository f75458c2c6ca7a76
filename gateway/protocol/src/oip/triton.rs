//! Triton's extensions: a model's configuration, and which model a load request means.

use std::collections::HashMap;
use std::time::Duration;

use super::model_instance_group::Kind;
use super::model_version_policy::{Latest, Specific};
use super::{
    DataType, ModelConfig, ModelDynamicBatching, ModelInput, ModelInstanceGroup, ModelOutput, ModelRepositoryParameter,
    ModelTransactionPolicy, ModelVersionPolicy, RepositoryModelLoadRequest, RepositoryModelUnloadRequest,
};
use crate::error::{Error, Result, Shown};
use crate::model::{Dim, ModelSpec};
use crate::tensor::Datatype;
use crate::versions::LoadedModel;

/// How a model's calls share runs, and who runs them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batching {
    /// Rows of one batch.
    pub max_rows: usize,
    /// How long a batch that is not full waits for company.
    pub linger: Duration,
    /// Replicas that are ready.
    pub replicas: usize,
    /// A call may have any number of answers: its text comes in pieces.
    pub decoupled: bool,
}

/// The configuration of one of a model's versions in Triton's terms. A model that batches is shown without its first dimension, as Triton does.
pub fn model_config(name: &str, model: &LoadedModel, spec: &ModelSpec, batching: Batching) -> ModelConfig {
    let batches = spec.batchable();
    let whole = |value: usize| i32::try_from(value).unwrap_or(i32::MAX);
    let dims = |shape: &[Dim]| shape.iter().skip(usize::from(batches)).map(Dim::v2).collect();
    let delay = ModelDynamicBatching {
        max_queue_delay_microseconds: u64::try_from(batching.linger.as_micros()).unwrap_or(u64::MAX),
    };
    ModelConfig {
        name: name.to_owned(),
        platform: spec.platform.to_owned(),
        // Platforms are written `backend_format`.
        backend: spec.platform.split('_').next().unwrap_or_default().to_owned(),
        version_policy: Some(version_policy(model)),
        max_batch_size: if batches { whole(batching.max_rows) } else { 0 },
        input: spec
            .inputs
            .iter()
            .map(|input| ModelInput {
                name: input.name.to_string(),
                data_type: data_type(input.datatype).into(),
                dims: dims(&input.shape),
            })
            .collect(),
        output: spec
            .outputs
            .iter()
            .map(|output| ModelOutput {
                name: output.name.to_string(),
                data_type: data_type(output.datatype).into(),
                dims: dims(&output.shape),
            })
            .collect(),
        instance_group: vec![ModelInstanceGroup {
            name: name.to_owned(),
            count: whole(batching.replicas),
            kind: Kind::Cpu.into(),
        }],
        dynamic_batching: batches.then_some(delay),
        model_transaction_policy: batching.decoupled.then_some(ModelTransactionPolicy { decoupled: true }),
    }
}

/// Which versions are served. A model without version folders is what Triton calls its only version.
fn version_policy(model: &LoadedModel) -> ModelVersionPolicy {
    let versions: Vec<_> = model.versions().iter().filter_map(|version| version.parse().ok()).collect();
    match versions.is_empty() {
        true => ModelVersionPolicy { latest: Some(Latest { num_versions: 1 }), specific: None },
        false => ModelVersionPolicy { latest: None, specific: Some(Specific { versions }) },
    }
}

fn data_type(datatype: Datatype) -> DataType {
    match datatype {
        Datatype::Bool => DataType::TypeBool,
        Datatype::Uint8 => DataType::TypeUint8,
        Datatype::Uint16 => DataType::TypeUint16,
        Datatype::Uint32 => DataType::TypeUint32,
        Datatype::Uint64 => DataType::TypeUint64,
        Datatype::Int8 => DataType::TypeInt8,
        Datatype::Int16 => DataType::TypeInt16,
        Datatype::Int32 => DataType::TypeInt32,
        Datatype::Int64 => DataType::TypeInt64,
        Datatype::Fp16 => DataType::TypeFp16,
        Datatype::Bf16 => DataType::TypeBf16,
        Datatype::Fp32 => DataType::TypeFp32,
        Datatype::Fp64 => DataType::TypeFp64,
        Datatype::Bytes => DataType::TypeString,
    }
}

/// A request to load or unload a model, of either kind of client.
pub trait LoadRequest {
    /// The model's name, and the parameters.
    fn into_parts(self) -> Result<(String, HashMap<String, ModelRepositoryParameter>)>;
}

impl LoadRequest for RepositoryModelLoadRequest {
    fn into_parts(self) -> Result<(String, HashMap<String, ModelRepositoryParameter>)> {
        Ok((model_of(self.repository_name, self.model_name)?, self.parameters))
    }
}

impl LoadRequest for RepositoryModelUnloadRequest {
    fn into_parts(self) -> Result<(String, HashMap<String, ModelRepositoryParameter>)> {
        Ok((model_of(self.repository_name, self.model_name)?, self.parameters))
    }
}

/// KServe's clients put the model's name where Triton's put that of a repository.
fn model_of(first: String, second: String) -> Result<String> {
    match (first.is_empty(), second.is_empty()) {
        (true, true) => Err(Error::invalid("model_name is empty: name the model")),
        (false, true) => Ok(first),
        (true, false) => Ok(second),
        (false, false) => Err(Error::unsupported(format!(
            "repository_name is '{}', and repositories have no names here: leave it empty",
            Shown(&first)
        ))),
    }
}
