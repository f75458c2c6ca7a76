//! The component that answers the calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::component::ComponentExtensionSpec;
use super::model::ModelServerSpec;
use crate::annotations::is_of_a_revision;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PredictorSpec {
    /// Names this version among several of one service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(flatten)]
    pub component: ComponentExtensionSpec,
    /// What runs, unless `containers` say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelServerSpec>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub storage_uris: Vec<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_container_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_spec: Option<Value>,
    /// Fields of the pod, as written.
    #[serde(flatten)]
    pub pod: BTreeMap<String, Value>,
}

impl PredictorSpec {
    /// The same version under other circumstances: traffic, scale, timeout, logging, labels, and annotations that don't say
    /// who answers are taken from `other`.
    pub(crate) fn under(self, other: &ComponentExtensionSpec) -> PredictorSpec {
        let mut component = ComponentExtensionSpec {
            container_concurrency: self.component.container_concurrency,
            batcher: self.component.batcher,
            ..other.clone()
        };
        component.annotations.retain(|name, _| !is_of_a_revision(name));
        component.annotations.extend(self.component.annotations.into_iter().filter(|(name, _)| is_of_a_revision(name)));
        PredictorSpec { component, ..self }
    }
}
