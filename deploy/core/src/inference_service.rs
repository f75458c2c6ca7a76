//! The InferenceService as users write it: `serving.kserve.io/v1beta1`.
//!
//! These types hold what is acted on today. They keep what the user wrote (an absent field stays absent); defaults are
//! filled in by the plan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;

/// One model service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct InferenceService {
    pub api_version: ApiVersion,
    pub kind: Kind,
    pub metadata: Metadata,
    pub spec: InferenceServiceSpec,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiVersion {
    #[default]
    #[serde(rename = "serving.kserve.io/v1beta1")]
    V1Beta1,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    #[default]
    InferenceService,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// At most 63 of `a-z`, `0-9` and `-`, beginning with a letter. Also the name of the model on the wire.
    pub name: String,
    /// Absent: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Those below `weirgate.dev/` are acted on; all others belong to others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Metadata {
    pub fn namespace(&self) -> &str {
        self.namespace.as_deref().unwrap_or("default")
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct InferenceServiceSpec {
    pub predictor: PredictorSpec,
}

/// What answers the calls.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PredictorSpec {
    /// At least 0; absent: 1. 0 asks for scale to zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i64>,
    /// Calls that one replica may hold unfinished; absent or 0: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_concurrency: Option<i64>,
    /// Seconds from the arrival of a call to its answer, at least 1; absent: 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batcher: Option<BatcherSpec>,
    /// Required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelServerSpec>,
}

/// Limits for batching. Both may be left out: an engine takes what waits when it is free.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct BatcherSpec {
    /// The most rows of one batch; absent or below 1: what the engine can take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch_size: Option<i64>,
    /// Milliseconds that an idle engine waits for a batch to fill; absent or below 1: it does not wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_latency: Option<i64>,
}

/// The model, and what it runs with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ModelServerSpec {
    pub model_format: ModelFormatSpec,
    /// Kept for other platforms: every model here answers all protocols.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<ProtocolVersion>,
    /// Required: a path, absolute or from the manifest's folder, or `file:///` with an absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_uri: Option<String>,
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelFormatSpec {
    /// Required: `onnx`.
    pub name: String,
    /// The file itself says it too, and is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProtocolVersion {
    #[serde(rename = "v1")]
    V1,
    #[serde(rename = "v2")]
    V2,
    #[serde(rename = "grpc-v1")]
    GrpcV1,
    #[serde(rename = "grpc-v2")]
    GrpcV2,
}

/// Resources of each replica.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What a replica may use at most.
    #[serde(skip_serializing_if = "ResourceSpec::is_empty")]
    pub limits: ResourceSpec,
    /// What a replica needs to be placed.
    #[serde(skip_serializing_if = "ResourceSpec::is_empty")]
    pub requests: ResourceSpec,
}

impl Resources {
    fn is_empty(&self) -> bool {
        self.limits.is_empty() && self.requests.is_empty()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ResourceSpec {
    /// In CPUs: `2`, `500m`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// In bytes: `2Gi`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
}

impl ResourceSpec {
    fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none()
    }
}
