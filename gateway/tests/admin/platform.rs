//! A small platform that only remembers.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use weirgate_deploy::control::{
    Applied, Change, Command, Event, Named, Owner, Refused, RevisionView, Rollout, ServiceView,
};

/// Answers as a platform does, for services that are ready at once. A file owns those in the namespace `files`.
pub async fn remember(mut asked: mpsc::Receiver<Command>, publish: watch::Sender<Arc<Vec<Arc<ServiceView>>>>) {
    let mut known: BTreeMap<Named, ServiceView> = BTreeMap::new();
    let owned = |named: &Named, write_back: bool| {
        let owned = named.namespace == "files" && !write_back;
        owned.then(|| Refused::Owned("the file m/files.yaml owns it: change that, or use --write-back".to_owned()))
    };
    while let Some(command) = asked.recv().await {
        // What an answer says is seen by whoever asks next.
        let show = |known: &BTreeMap<Named, ServiceView>| {
            publish.send_replace(Arc::new(known.values().cloned().map(Arc::new).collect()));
        };
        match command {
            Command::Apply(services, answer) => {
                let mut applied = Vec::new();
                for service in services {
                    let object = serde_json::to_value(&service.service).unwrap();
                    let metadata = &service.service.metadata;
                    let named = Named { namespace: metadata.namespace().to_owned(), name: metadata.name.clone() };
                    let view = view(&named, object);
                    let change = match known.insert(named.clone(), view.clone()) {
                        None => Change::Created,
                        Some(before) if before == view => Change::Unchanged,
                        Some(_) => Change::Configured,
                    };
                    applied.push(Applied { named, change, refused: None });
                }
                show(&known);
                let full = applied.iter().any(|applied| applied.named.name == "full");
                let full = full.then(|| Refused::NotStored("the disk is full".to_owned()));
                let _ = answer.send(full.map_or(Ok(applied), Err));
            }
            Command::Load(named, answer) | Command::Unload(named, answer) => {
                let _ = answer.send(Err(Refused::Failed(format!("nothing of {named} is here"))));
            }
            Command::Delete(named, answer) => {
                let refused = owned(&named, false);
                let removed = if refused.is_none() { known.remove(&named) } else { None };
                show(&known);
                let result = removed.map(|_| ()).ok_or(Refused::NotFound(named.to_string()));
                let _ = answer.send(refused.map_or(result, Err));
            }
            Command::Rollout { named, rollout, write_back, answer } => {
                let result = match (known.get_mut(&named), owned(&named, write_back)) {
                    (None, _) => Err(Refused::NotFound(named.to_string())),
                    (_, Some(refused)) => Err(refused),
                    (Some(view), None) => {
                        let event = |text| Event::new("2026-01-01T00:00:00Z".to_owned(), "Normal", "Asked", text);
                        view.events.push(event(format!("{rollout:?}")));
                        match rollout {
                            Rollout::Promote { canary: Some(canary) } => {
                                Err(Refused::Invalid(format!("there is no canary '{canary}'")))
                            }
                            _ => Ok(Applied { named, change: Change::Configured, refused: None }),
                        }
                    }
                };
                show(&known);
                let _ = answer.send(result);
            }
        }
    }
}

/// A service that is ready; one named `broken` has failed.
fn view(named: &Named, mut object: Value) -> ServiceView {
    let failed = named.name == "broken";
    let revision = format!("{}-predictor-1", named.name);
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    object["status"] = json!({
        "url": format!("http://{}-{}.example.com", named.name, named.namespace),
        "conditions": [{ "type": "Ready", "status": if failed { "False" } else { "True" } }],
        "components": { "predictor": {
            "latestCreatedRevision": revision, "latestReadyRevision": revision,
            "traffic": [{ "latestRevision": true, "percent": 100 }],
        }},
    });
    ServiceView {
        named: named.clone(),
        owner: Owner::State,
        object,
        written: None,
        revisions: vec![RevisionView {
            name: revision,
            variant: None,
            roles: vec!["latest".to_owned()],
            percent: 100,
            state: if failed { "Failed" } else { "Ready" }.to_owned(),
            message: failed.then(|| "the file is no model".to_owned()),
            ready_replicas: 1,
            starting_replicas: 0,
            waiting_replicas: 0,
            draining_replicas: 0,
            replicas: 1,
            restarts: 0,
            source: "file:///models/digits".to_owned(),
            created: "2026-01-01T00:00:00Z".to_owned(),
        }],
        events: Vec::new(),
    }
}
