//! The model, and what it runs with.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::quantity::Quantity;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ModelServerSpec {
    #[serde(skip_serializing_if = "ModelFormatSpec::is_empty")]
    pub model_format: ModelFormatSpec,
    /// Kept for other platforms: every model here answers all protocols. Absent: `v1`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol_version: Option<ProtocolVersion>,
    /// A path, absolute or from the manifest's folder, or `file:///` with an absolute path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_uri: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidential: Option<ConfidentialSpec>,
    #[serde(skip_serializing_if = "Resources::is_empty")]
    pub resources: Resources,
    /// Other fields of the container, as written.
    #[serde(flatten)]
    pub container: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelFormatSpec {
    /// Required: `onnx`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The file itself says it too, and is believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

impl ModelFormatSpec {
    fn is_empty(&self) -> bool {
        *self == ModelFormatSpec::default()
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProtocolVersion {
    #[default]
    #[serde(rename = "v1")]
    V1,
    #[serde(rename = "v2")]
    V2,
    #[serde(rename = "grpc-v1")]
    GrpcV1,
    #[serde(rename = "grpc-v2")]
    GrpcV2,
}

/// A model whose weights are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfidentialSpec {
    pub enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_id: Option<String>,
}

/// Resources of each replica: `cpu`, `memory`, devices such as `nvidia.com/gpu`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// What a replica may use at most.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Quantity>,
    /// What a replica needs to be placed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Quantity>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<Value>,
}

impl Resources {
    fn is_empty(&self) -> bool {
        *self == Resources::default()
    }
}
