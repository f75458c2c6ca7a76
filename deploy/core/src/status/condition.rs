//! `status.conditions`.

use serde::{Deserialize, Serialize};

use super::Observed;
use crate::rollout::{AskedTraffic, Fault, Known};

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// RFC 3339.
    pub last_transition_time: String,
}

/// Why something is not ready; nothing: it is.
type Wrong = Option<(&'static str, String)>;

/// `Ready` holds when the newest predictor is ready and calls are routed to one that answers.
pub(super) fn conditions(
    observed: &Observed<'_>,
    base: Option<&Known>,
    newest: Option<&Known>,
    before: &[Condition],
) -> Vec<Condition> {
    let predictor = predictor_fault(observed, base, newest);
    let ingress = ingress_fault(observed, base);
    let ready = predictor.clone().or_else(|| ingress.clone());
    let mut conditions = vec![("IngressReady", ingress), ("PredictorReady", predictor), ("Ready", ready)];
    if let Some(canary) = canary_fault(observed) {
        conditions.push(("CanaryPredictorReady", canary));
    }
    let mut conditions: Vec<_> = conditions.into_iter().map(|(kind, fault)| made(kind, fault)).collect();
    // It answers, and not all of it does.
    let missing = [newest, base].into_iter().flatten().find_map(missing).unwrap_or_default();
    for condition in &mut conditions {
        if condition.status == "True" && ["PredictorReady", "Ready"].contains(&condition.kind.as_str()) {
            condition.message.clone_from(&missing);
        }
    }
    if stopped(observed) {
        conditions.push(Condition { kind: "Stopped".to_owned(), status: "True".to_owned(), ..Condition::default() });
    }
    for condition in &mut conditions {
        let same = before.iter().find(|one| one.kind == condition.kind && one.status == condition.status);
        let since = same.map_or(observed.now, |one| one.last_transition_time.as_str());
        condition.last_transition_time = since.to_owned();
    }
    conditions.sort_by(|a, b| a.kind.cmp(&b.kind));
    conditions
}

fn made(kind: &str, fault: Wrong) -> Condition {
    let kind = kind.to_owned();
    match fault {
        None => Condition { kind, status: "True".to_owned(), ..Condition::default() },
        Some((reason, message)) => {
            let (status, reason) = ("False".to_owned(), reason.to_owned());
            Condition { kind, status, reason, message, ..Condition::default() }
        }
    }
}

/// Whether it is to take no calls, and runs nothing.
pub(super) fn stopped(observed: &Observed<'_>) -> bool {
    observed.rollout.asked().is_some_and(|asked| asked.stopped)
}

fn predictor_fault(observed: &Observed<'_>, base: Option<&Known>, newest: Option<&Known>) -> Wrong {
    if let Some(text) = observed.unsupported {
        return Some(("InvalidPredictorSpec", text.to_owned()));
    }
    if stopped(observed) {
        let text = match observed.unloaded {
            true => "the model is unloaded by request",
            false => "the annotation serving.kserve.io/stop is \"true\"",
        };
        return Some(("Stopped", text.to_owned()));
    }
    [newest, base].into_iter().flatten().find_map(revision_fault)
}

pub(super) fn revision_fault(known: &Known) -> Wrong {
    if let Some(Fault { kind, message }) = known.failure().filter(|_| !known.usable()) {
        return Some((kind.reason(), format!("revision {}: {message}", known.name)));
    }
    if known.proven && known.health.ready > 0 {
        return None;
    }
    let reason = known.health.waits_for.as_ref().map_or("Loading", |waits_for| waits_for.kind.reason());
    Some((reason, of_replicas(known)))
}

/// Why not all replicas of a revision that answers are there.
fn missing(known: &Known) -> Option<String> {
    known.trouble().filter(|_| known.health.ready < known.replicas.max(1)).map(|_| of_replicas(known))
}

/// How many are ready, and why others are not.
fn of_replicas(known: &Known) -> String {
    let (name, ready, replicas) = (&known.name, known.health.ready, known.replicas.max(1));
    let why = known.trouble().map(|Fault { message, .. }| format!(": {message}")).unwrap_or_default();
    format!("revision {name}: {ready} of {replicas} replicas are ready{why}")
}

fn ingress_fault(observed: &Observed<'_>, base: Option<&Known>) -> Wrong {
    match base {
        _ if stopped(observed) => Some(("Stopped", "calls are refused".to_owned())),
        None => Some(("NoRevision", "no revision takes calls".to_owned())),
        Some(_) => None,
    }
}

/// What is wrong with the first canary that is not ready; nothing where there is no `spec.canary`.
fn canary_fault(observed: &Observed<'_>) -> Option<Wrong> {
    match observed.rollout.asked().map(|asked| &asked.traffic) {
        Some(AskedTraffic::Canaries(canaries)) if !canaries.is_empty() => {
            let known = canaries.iter().filter_map(|(name, _)| observed.rollout.known(name));
            Some(known.into_iter().find_map(revision_fault))
        }
        _ => None,
    }
}
