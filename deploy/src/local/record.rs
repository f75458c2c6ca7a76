//! What is kept of a service in the state folder.

use serde::{Deserialize, Serialize};
use weirgate_deploy_core::InferenceService;
use weirgate_deploy_core::rollout::Rollout;

use crate::control::Owner;

/// One service. For one that a file owns, the manifest is only what was last seen of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub owner: Owner,
    pub manifest: InferenceService,
    /// The last manifest that could be acted on, where the present one can't.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runnable: Option<InferenceService>,
    /// Counts changes of the manifest.
    pub generation: u64,
    /// Seconds since 1970.
    pub created: u64,
    /// Since when no file holds it, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent_since: Option<u64>,
    pub rollout: Rollout,
}
