//! What predictor, transformer and explainer have in common.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How a component is run, whatever runs in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ComponentExtensionSpec {
    /// At least 0. 0 asks for scale to zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_replicas: Option<i64>,
    /// 0: not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_replicas: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_metric: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_metric_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_target: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_scaling: Option<AutoScalingSpec>,
    /// Calls that one replica may hold unfinished; absent or 0: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_concurrency: Option<i64>,
    /// Seconds from the arrival of a call to its answer, at least 1; absent: 300.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// Share of the newest revision, 0 to 100; absent: all calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary_traffic_percent: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logger: Option<LoggerSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batcher: Option<BatcherSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_strategy: Option<DeploymentStrategy>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A transformer or an explainer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ComponentSpec {
    #[serde(flatten)]
    pub component: ComponentExtensionSpec,
    /// Fields of the pod, as written.
    #[serde(flatten)]
    pub pod: BTreeMap<String, Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutoScalingSpec {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricSpec>,
    /// As in HorizontalPodAutoscaler.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<Value>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MetricSpec {
    /// `Resource`, `External` or `PodMetric`.
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub podmetric: Option<Value>,
}

/// Where payloads are sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct LoggerSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// `all`, `request` or `response`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metadata_headers: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub metadata_annotations: Vec<String>,
    #[serde(flatten)]
    pub rest: BTreeMap<String, Value>,
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
    /// Nobody reads it, KServe included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
}

/// As of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DeploymentStrategy {
    /// Absent: `RollingUpdate`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<StrategyType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingUpdate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StrategyType {
    Recreate,
    RollingUpdate,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct RollingUpdate {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<IntOrPercent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrPercent>,
}

/// A number of replicas, or a share of them: `25%`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IntOrPercent {
    Int(u32),
    Percent(String),
}

impl IntOrPercent {
    /// What messages call an allowed value.
    pub(crate) const ALLOWED: &str = "a whole number of at least 0, or a percentage such as 25%";

    pub fn is_allowed(&self) -> bool {
        match self {
            IntOrPercent::Int(_) => true,
            IntOrPercent::Percent(text) => percentage(text).is_some(),
        }
    }

    pub fn is_zero(&self) -> bool {
        match self {
            IntOrPercent::Int(number) => *number == 0,
            IntOrPercent::Percent(text) => percentage(text) == Some(0),
        }
    }
}

fn percentage(text: &str) -> Option<u32> {
    let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok()
}
