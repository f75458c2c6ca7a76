//! A service as people and their tools see it.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Map, Value};
use weirgate_deploy_core::rollout::{Counts, Known};
use weirgate_deploy_core::{PredictorSpec, secrets};
use weirgate_protocol::remote_url::redacted;

use super::running::{Phase, Running};
use super::service::{Managed, timestamp};
use crate::control::{RevisionView, ServiceView};

/// Characters of a command that a view has.
const LONGEST_COMMAND: usize = 80;

pub(super) fn view<L>(service: &Managed<L>) -> ServiceView {
    let rollout = &service.record.rollout;
    let known = rollout.revisions().iter().rev().map(|known| known_revision(service, known));
    let leaving = service.running.iter().filter(|running| rollout.known(&running.plan.name).is_none());
    let manifest = serde_json::to_value(&service.record.manifest).unwrap_or_default();
    let mut shown = manifest.clone();
    secrets::hide(&mut shown);
    ServiceView {
        named: service.named.clone(),
        owner: service.record.owner.clone(),
        object: with_status(service, shown),
        written: Some(with_status(service, manifest)),
        revisions: known.chain(leaving.map(leaving_revision)).collect(),
        events: service.events.all().cloned().collect(),
    }
}

/// The object in full.
fn with_status<L>(service: &Managed<L>, mut object: Value) -> Value {
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
    let Counts { starting, waiting, draining, restarts } =
        running.map(|running| running.health.counts).unwrap_or_default();
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
        message: known.trouble().map(|trouble| trouble.message.clone()),
        ready_replicas: known.health.ready,
        starting_replicas: starting,
        waiting_replicas: waiting,
        draining_replicas: draining,
        replicas: if running.is_some() { known.replicas.max(1) } else { 0 },
        restarts,
        source: source(&known.predictor),
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
        starting_replicas: running.health.counts.starting,
        waiting_replicas: running.health.counts.waiting,
        draining_replicas: running.health.counts.draining,
        replicas: 0,
        restarts: running.health.counts.restarts,
        source: source(&running.plan.predictor),
        created: String::new(),
    }
}

/// Who answers: servers elsewhere, a command, or a model where it lies.
fn source(predictor: &PredictorSpec) -> String {
    let upstream = predictor.component.annotations.get("weirgate.dev/upstream").filter(|urls| !urls.trim().is_empty());
    if let Some(upstream) = upstream {
        return upstream.clone();
    }
    match &predictor.model {
        Some(model) => model.storage_uri.as_deref().map(redacted).unwrap_or_default(),
        None => predictor.pod.get("containers").map(command).unwrap_or_default(),
    }
}

/// The command of the container that answers, as far as it fits into a table.
fn command(containers: &Value) -> String {
    let serves = |container: &&Value| container["name"] == "kserve-container";
    let containers = containers.as_array().map(Vec::as_slice).unwrap_or_default();
    let Some(container) = containers.iter().find(serves).or(containers.first()) else { return String::new() };
    let words = ["command", "args"].into_iter().filter_map(|field| container[field].as_array()).flatten();
    let words: Vec<String> = words.filter_map(|word| word.as_str().map(str::to_owned)).collect();
    // A script has lines.
    let line = secrets::shown_words(&words).join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST_COMMAND {
        return line;
    }
    line.chars().take(LONGEST_COMMAND).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(predictor: Value) -> String {
        source(&serde_json::from_value(predictor).unwrap())
    }

    #[test]
    fn who_answers_in_a_few_words() {
        let url = "http://a:1,http://b:2";
        let upstream = json!({ "annotations": { "weirgate.dev/upstream": url }, "model": { "storageUri": "/m" } });
        assert_eq!(shown(upstream), url);
        assert_eq!(shown(json!({ "model": { "storageUri": "https://u:p@h/m?s" } })), "https://***@h/m?***");
        let others = json!({ "name": "logger", "image": "a", "command": ["log"] });
        let command = ["python3", "server.py"];
        let args = ["--api-key", "hush", "--http_port=$(PORT)"];
        let container = json!({ "name": "kserve-container", "command": command, "args": args });
        let containers = json!({ "containers": [others, container] });
        assert_eq!(shown(containers), "python3 server.py --api-key *** --http_port=$(PORT)");
        let script = format!("set -e\n  {}", "serve ".repeat(40));
        let shown = shown(json!({ "containers": [{ "command": ["sh", "-c", script] }] }));
        assert!(shown.starts_with("sh -c set -e serve serve") && shown.ends_with('…'), "{shown}");
        assert_eq!(shown.chars().count(), LONGEST_COMMAND + 1);
    }
}
