//! The InferenceService as users write it: `serving.kserve.io/v1beta1`.
//!
//! Fields that someone here reads have a type of their own. All others, those of pods and containers, are kept as they
//! were written, so that nothing is lost when an object is stored or printed.

mod component;
mod model;
mod predictor;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use component::{
    AutoScalingSpec, BatcherSpec, ComponentExtensionSpec, ComponentSpec, DeploymentStrategy, IntOrPercent, LoggerSpec,
    MetricSpec, RollingUpdate, StrategyType,
};
pub use model::{ConfidentialSpec, ModelFormatSpec, ModelServerSpec, ProtocolVersion, Resources};
pub use predictor::PredictorSpec;

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
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// At most 63 of `a-z`, `0-9` and `-`, beginning with a letter. Also the name of the model on the wire.
    pub name: String,
    /// For API servers that find names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generate_name: Option<String>,
    /// Absent: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transformer: Option<ComponentSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explainer: Option<ComponentSpec>,
    /// Other versions of the predictor, and their shares of the calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub canary: Vec<CanarySpec>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CanarySpec {
    /// 0 to 100.
    pub traffic_percent: i64,
    /// What differs from `spec.predictor`.
    pub predictor: PredictorSpec,
}
