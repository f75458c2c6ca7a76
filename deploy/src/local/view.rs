//! A service as people and their tools see it.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value};
use weirgate_deploy_core::rollout::Known;
use weirgate_deploy_core::{InferenceService, PredictorSpec};
use weirgate_protocol::remote_url::redacted;

use super::running::{Phase, Running};
use super::service::{Managed, timestamp};
use crate::control::{RevisionView, ServiceView};

pub(super) fn view<L>(service: &Managed<L>) -> ServiceView {
    let rollout = &service.record.rollout;
    let known = rollout.revisions().iter().rev().map(|known| known_revision(service, known));
    let leaving = service.running.iter().filter(|running| rollout.known(&running.plan.name).is_none());
    ServiceView {
        named: service.named.clone(),
        owner: service.record.owner.clone(),
        object: object(service),
        revisions: known.chain(leaving.map(leaving_revision)).collect(),
        events: service.events.iter().cloned().collect(),
    }
}

fn object<L>(service: &Managed<L>) -> Value {
    let mut object = serde_json::to_value(without_secrets(&service.record.manifest)).unwrap_or_default();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("namespace".to_owned(), service.named.namespace.clone().into());
        metadata.insert("creationTimestamp".to_owned(), created(service.record.created).into());
        metadata.insert("generation".to_owned(), service.record.generation.into());
    }
    let status = serde_json::to_value(&service.status).unwrap_or_else(|_| Value::Object(Map::new()));
    if let Some(object) = object.as_object_mut() {
        object.insert("status".to_owned(), status);
    }
    object
}

/// A manifest with no more of its URLs than may be seen, and without the values of variables, which may be secrets.
fn without_secrets(manifest: &InferenceService) -> InferenceService {
    let mut manifest = manifest.clone();
    // A copy of the manifest as it was applied.
    manifest.metadata.annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    let spec = &mut manifest.spec;
    let predictors =
        std::iter::once(&mut spec.predictor).chain(spec.canary.iter_mut().map(|canary| &mut canary.predictor));
    for predictor in predictors {
        if let Some(uri) = predictor.model.as_mut().and_then(|model| model.storage_uri.as_mut()) {
            *uri = redacted(uri);
        }
        let containers = predictor.pod.get_mut("containers").and_then(Value::as_array_mut).into_iter().flatten();
        let variables = containers.filter_map(|container| container.get_mut("env")?.as_array_mut()).flatten();
        for value in variables.filter_map(|variable| variable.get_mut("value")) {
            *value = "***".into();
        }
    }
    manifest
}

fn created(seconds: u64) -> String {
    timestamp(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn known_revision<L>(service: &Managed<L>, known: &Known) -> RevisionView {
    let decision = &service.decision;
    let share = decision.shares.iter().find(|share| share.revision == known.name);
    let is = |name: Option<&String>| name == Some(&known.name);
    let roles = [
        ("stable", is(decision.stable.as_ref())),
        ("latest", is(decision.latest.as_ref())),
        ("canary", share.is_some() && !is(decision.base.as_ref())),
        ("previous", service.record.rollout.previous().is_some_and(|previous| previous.name == known.name)),
    ];
    let running = service.running.iter().rev().find(|running| running.plan.name == known.name);
    let state = match running.map(|running| running.phase) {
        None if known.failure().is_some() => "Failed",
        None => "Stopped",
        Some(Phase::Waiting) => "Waiting",
        Some(Phase::Draining | Phase::Ending) => "Draining",
        Some(Phase::Running) if known.broken() => "Failed",
        Some(Phase::Running) if known.health.ready > 0 => "Ready",
        Some(Phase::Running) => "Loading",
    };
    RevisionView {
        name: known.name.clone(),
        variant: known.variant.clone(),
        roles: roles.iter().filter(|(_, has)| *has).map(|(role, _)| (*role).to_owned()).collect(),
        percent: share.map_or(0, |share| share.percent),
        state: state.to_owned(),
        message: known.failure().map(str::to_owned).or_else(|| running?.waits_for.as_deref().map(str::to_owned)),
        ready_replicas: known.health.ready,
        replicas: if running.is_some() { known.replicas.max(1) } else { 0 },
        storage_uri: storage_uri(&known.predictor),
        created: created(known.created),
    }
}

/// A revision that is not needed any more and finishes what it holds.
fn leaving_revision<L>(running: &Running<L>) -> RevisionView {
    RevisionView {
        name: running.plan.name.clone(),
        variant: running.plan.variant.clone(),
        roles: Vec::new(),
        percent: 0,
        state: "Draining".to_owned(),
        message: None,
        ready_replicas: running.health.ready,
        replicas: 0,
        storage_uri: storage_uri(&running.plan.predictor),
        created: String::new(),
    }
}

/// Where the model lies, or who answers for it.
fn storage_uri(predictor: &PredictorSpec) -> String {
    let upstream = predictor.component.annotations.get("weirgate.dev/upstream").filter(|urls| !urls.is_empty());
    if let Some(upstream) = upstream {
        return upstream.clone();
    }
    let command = predictor.pod.get("containers").and_then(|list| list.pointer("/0/command/0")).and_then(Value::as_str);
    if let (None, Some(command)) = (&predictor.model, command) {
        return command.to_owned();
    }
    let uri = predictor.model.as_ref().and_then(|model| model.storage_uri.as_deref());
    uri.map(redacted).unwrap_or_default()
}
