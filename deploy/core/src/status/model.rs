//! `status.modelStatus`.

use serde::{Deserialize, Serialize};

use super::Observed;
use super::condition::stopped;
use crate::rollout::{Fault, Known};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    pub transition_status: TransitionStatus,
    pub states: ModelStates,
    pub copies: Copies,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure_info: Option<FailureInfo>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransitionStatus {
    UpToDate,
    #[default]
    InProgress,
    BlockedByFailedLoad,
    InvalidSpec,
}

/// The model that answers, and the one that shall.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ModelStates {
    pub active_model_state: ModelState,
    pub target_model_state: ModelState,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelState {
    #[default]
    Pending,
    Standby,
    Loading,
    Loaded,
    FailedToLoad,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Copies {
    pub failed_copies: usize,
    /// Replicas that are ready.
    pub total_copies: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureInfo {
    pub reason: String,
    pub message: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub model_revision_name: String,
    /// RFC 3339.
    pub time: String,
    /// Of a process that ended by itself: 128 and the signal's number where one ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
}

pub(super) fn model_status(
    observed: &Observed<'_>,
    base: Option<&Known>,
    newest: Option<&Known>,
    before: Option<&FailureInfo>,
) -> ModelStatus {
    let target = newest.or(base);
    let mut status = target.map(|known| of_revision(known, observed.now)).unwrap_or_default();
    status.states.active_model_state = base.map_or(ModelState::Pending, state);
    if stopped(observed) {
        // Nothing is loading, and nothing is wrong.
        let states = ModelStates { active_model_state: ModelState::Standby, target_model_state: ModelState::Standby };
        status = ModelStatus { transition_status: TransitionStatus::UpToDate, states, ..ModelStatus::default() };
    }
    if let Some(text) = observed.unsupported {
        status.transition_status = TransitionStatus::InvalidSpec;
        status.last_failure_info = Some(FailureInfo {
            reason: "InvalidPredictorSpec".to_owned(),
            message: text.to_owned(),
            model_revision_name: String::new(),
            time: observed.now.to_owned(),
            exit_code: None,
        });
    }
    // A failure keeps the time at which it was first seen.
    if let (Some(now), Some(before)) = (&mut status.last_failure_info, before)
        && (&now.message, &now.model_revision_name) == (&before.message, &before.model_revision_name)
    {
        now.time.clone_from(&before.time);
    }
    status
}

pub(super) fn of_revision(known: &Known, now: &str) -> ModelStatus {
    let state = state(known);
    let transition_status = match state {
        ModelState::FailedToLoad => TransitionStatus::BlockedByFailedLoad,
        ModelState::Loaded if known.proven => TransitionStatus::UpToDate,
        _ => TransitionStatus::InProgress,
    };
    let gone = known.health.waits_for.as_ref().filter(|waits_for| waits_for.kind.is_failure());
    let last = known.failure().or(gone);
    let failed = known.failure().map_or(0, |_| known.replicas.max(1).saturating_sub(known.health.ready));
    ModelStatus {
        transition_status,
        states: ModelStates { active_model_state: state, target_model_state: state },
        copies: Copies { failed_copies: failed, total_copies: known.health.ready },
        last_failure_info: last.map(|Fault { kind, message }| FailureInfo {
            reason: kind.failure_reason().to_owned(),
            message: message.clone(),
            model_revision_name: known.name.clone(),
            time: now.to_owned(),
            exit_code: kind.exit_code(),
        }),
    }
}

fn state(known: &Known) -> ModelState {
    match () {
        () if known.health.ready > 0 => ModelState::Loaded,
        () if known.failure().is_some() => ModelState::FailedToLoad,
        () => ModelState::Loading,
    }
}
