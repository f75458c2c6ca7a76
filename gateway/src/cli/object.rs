//! What the commands read of an InferenceService's `status`, by the paths that KServe's printer columns read.

use serde_json::Value;
use weirgate_deploy::control::{Owner, RevisionView, ServiceView};

use super::table::one_line;

/// The text at a path, or nothing.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub fn conditions(object: &Value) -> &[Value] {
    object.pointer("/status/conditions").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    conditions(object).iter().find(|condition| text(condition, "/type") == kind)
}

/// Whether a condition is `True`.
pub fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|condition| text(condition, "/status") == "True")
}

pub fn traffic(object: &Value) -> &[Value] {
    object.pointer("/status/components/predictor/traffic").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

pub fn percent(target: &Value) -> Option<u64> {
    target.get("percent").and_then(Value::as_u64)
}

/// The share of the newest ready revision.
pub fn latest_percent(object: &Value) -> Option<u64> {
    traffic(object).iter().find(|target| target["latestRevision"] == true).and_then(percent)
}

pub fn prev_percent(object: &Value) -> Option<u64> {
    traffic(object).iter().find(|target| target["tag"] == "prev").and_then(percent)
}

pub fn predictor<'a>(object: &'a Value, field: &str) -> &'a str {
    text(object, &format!("/status/components/predictor/{field}"))
}

/// Replicas of all revisions that can answer, and all there are.
pub fn replicas(view: &ServiceView) -> String {
    let ready: usize = view.revisions.iter().map(|revision| revision.ready_replicas).sum();
    let all: usize = view.revisions.iter().map(|revision| revision.replicas).sum();
    format!("{ready}/{all}")
}

/// A revision's replicas: those that are ready, of how many, and what others are at.
pub fn counts(revision: &RevisionView) -> String {
    let RevisionView { ready_replicas: ready, replicas: all, .. } = revision;
    let others = [
        (revision.starting_replicas, "starting"),
        (revision.waiting_replicas, "waiting"),
        (revision.draining_replicas, "draining"),
    ];
    let others = others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!(", {count} {what}"));
    format!("{ready}/{all}{}", others.collect::<String>())
}

pub fn owner(view: &ServiceView) -> String {
    match &view.owner {
        Owner::File { path, document: 1 } => one_line(path),
        Owner::File { path, document } => one_line(&format!("{path} (document {document})")),
        Owner::State => "state folder".to_owned(),
    }
}
