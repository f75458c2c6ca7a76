//! `weirgate describe`.

use std::time::SystemTime;

use clap::Args;
use weirgate_deploy::control::{Event, ServiceView};

use super::age::age;
use super::args::{NamespaceArgs, ServerArgs};
use super::object::{condition, conditions, counts, owner, percent, replicas, text, traffic};
use super::progress::view;
use super::table::{indented, one_line, table};
use super::{Wrong, print};

#[derive(Args, Clone, Debug)]
pub struct Describe {
    /// Name of the service, as NAME or isvc/NAME
    #[arg(value_name = "NAME", required = true)]
    name: Vec<String>,

    #[command(flatten)]
    namespace: NamespaceArgs,

    #[command(flatten)]
    server: ServerArgs,
}

impl Describe {
    pub fn run(&self) -> Result<(), Wrong> {
        let named = self.namespace.one(&self.name)?;
        let view = view(&self.server.client()?, &named)?;
        print(&described(&view, SystemTime::now()));
        Ok(())
    }
}

fn described(view: &ServiceView, now: SystemTime) -> String {
    let object = &view.object;
    let created = text(object, "/metadata/creationTimestamp");
    let head = [
        ("Name:", view.named.name.clone()),
        ("Namespace:", view.named.namespace.clone()),
        ("Owner:", owner(view)),
        ("URL:", text(object, "/status/url").to_owned()),
        ("Address:", text(object, "/status/address/url").to_owned()),
        ("Replicas:", format!("{} ready", replicas(view))),
        ("Created:", format!("{created} ({} ago)", age(created, now))),
    ];
    let mut described: String = head.iter().map(|(label, value)| format!("{label:<12}{value}\n")).collect();
    for (title, part) in [
        ("Conditions", conditions_table(view, now)),
        ("Revisions", revisions_table(view, now)),
        ("Traffic", traffic_table(view)),
        ("Events", events_table(view, now)),
    ] {
        match part {
            Some(part) => described.push_str(&format!("{title}:\n{}", indented(&part, 2))),
            None => described.push_str(&format!("{title}: none\n")),
        }
    }
    described
}

fn conditions_table(view: &ServiceView, now: SystemTime) -> Option<String> {
    let all = conditions(&view.object);
    // That a service is not ready is mostly said of its predictor in the same words.
    let predictor = condition(&view.object, "PredictorReady").map(|predictor| text(predictor, "/message"));
    let rows = all.iter().map(|condition| {
        let of = |pointer| one_line(text(condition, pointer));
        let same = text(condition, "/type") == "Ready" && Some(text(condition, "/message")) == predictor;
        vec![
            of("/type"),
            of("/status"),
            age(text(condition, "/lastTransitionTime"), now),
            of("/reason"),
            if same && !of("/message").is_empty() { "as PredictorReady".to_owned() } else { of("/message") },
        ]
    });
    table_of(&["TYPE", "STATUS", "SINCE", "REASON", "MESSAGE"], rows.collect())
}

fn revisions_table(view: &ServiceView, now: SystemTime) -> Option<String> {
    let rows = view.revisions.iter().map(|revision| {
        vec![
            revision.name.clone(),
            revision.variant.clone().unwrap_or_default(),
            revision.roles.join(","),
            revision.state.clone(),
            format!("{} %", revision.percent),
            counts(revision),
            revision.restarts.to_string(),
            age(&revision.created, now),
            one_line(&revision.source),
            one_line(revision.message.as_deref().unwrap_or_default()),
        ]
    });
    let headings = ["NAME", "VARIANT", "ROLES", "STATE", "CALLS", "REPLICAS", "RESTARTS", "AGE", "SOURCE", "MESSAGE"];
    table_of(&headings, rows.collect())
}

fn traffic_table(view: &ServiceView) -> Option<String> {
    let rows = traffic(&view.object).iter().map(|target| {
        let latest = if target["latestRevision"] == true { "yes" } else { "" };
        vec![
            text(target, "/revisionName").to_owned(),
            format!("{} %", percent(target).unwrap_or(0)),
            latest.to_owned(),
            text(target, "/tag").to_owned(),
            text(target, "/url").to_owned(),
        ]
    });
    table_of(&["REVISION", "CALLS", "LATEST", "TAG", "URL"], rows.collect())
}

fn events_table(view: &ServiceView, now: SystemTime) -> Option<String> {
    let rows = view
        .events
        .iter()
        .map(|event| vec![when(event, now), event.kind.clone(), event.reason.clone(), one_line(&event.message)]);
    table_of(&["AGE", "TYPE", "REASON", "MESSAGE"], rows.collect())
}

/// The last time, and how often since when: `3m (x5 over 10m)`.
fn when(event: &Event, now: SystemTime) -> String {
    let last = age(&event.time, now);
    match &event.first_time {
        Some(first) => format!("{last} (x{} over {})", event.count, age(first, now)),
        None => last,
    }
}

fn table_of(headings: &[&str], rows: Vec<Vec<String>>) -> Option<String> {
    (!rows.is_empty()).then(|| table(headings, &rows))
}

#[cfg(test)]
pub mod tests {
    use serde_json::json;
    use weirgate_deploy::control::{Named, Owner, RevisionView};

    use super::*;

    /// A canary at 20 %.
    pub fn digits() -> ServiceView {
        let revision = |name: &str, role: &str, percent, ready_replicas, replicas| RevisionView {
            name: format!("digits-predictor-{name}"),
            variant: None,
            roles: vec![role.to_owned()],
            percent,
            state: "Ready".to_owned(),
            message: None,
            ready_replicas,
            starting_replicas: replicas - ready_replicas,
            waiting_replicas: 0,
            draining_replicas: 0,
            replicas,
            restarts: 3 * (replicas - ready_replicas) as u64,
            source: format!("file:///models/{name}"),
            created: "2026-01-01T00:00:00Z".to_owned(),
        };
        ServiceView {
            named: Named { namespace: "default".to_owned(), name: "digits".to_owned() },
            owner: Owner::File { path: "m/all.yaml".to_owned(), document: 2 },
            object: json!({
                "apiVersion": "serving.kserve.io/v1beta1",
                "kind": "InferenceService",
                "metadata": { "name": "digits", "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z" },
                "spec": { "predictor": { "model": {
                    "modelFormat": { "name": "onnx" }, "storageUri": "file:///models/b",
                }}},
                "status": {
                    "url": "http://digits-default.example.com",
                    "address": { "url": "http://127.0.0.1:8080" },
                    "conditions": [
                        {
                            "type": "PredictorReady", "status": "True", "message": "a\nb",
                            "lastTransitionTime": "2026-01-01T00:04:00Z",
                        },
                        {
                            "type": "Ready", "status": "True", "reason": "Rolling", "message": "a\nb",
                            "lastTransitionTime": "2026-01-01T00:04:00Z",
                        },
                    ],
                    "components": { "predictor": {
                        "latestCreatedRevision": "digits-predictor-b",
                        "latestReadyRevision": "digits-predictor-b",
                        "previousRolledoutRevision": "digits-predictor-a",
                        "traffic": [
                            { "latestRevision": true, "revisionName": "digits-predictor-b", "percent": 20 },
                            {
                                "revisionName": "digits-predictor-a", "tag": "prev", "percent": 80,
                                "url": "http://prev-digits",
                            },
                        ],
                    }},
                },
            }),
            revisions: vec![revision("b", "latest", 20, 1, 1), revision("a", "stable", 80, 1, 2)],
            written: None,
            events: vec![
                Event::new("2026-01-01T00:04:30Z".to_owned(), "Normal", "TrafficChanged", "20 % to b".to_owned()),
                Event {
                    count: 3,
                    first_time: Some("2026-01-01T00:03:00Z".to_owned()),
                    ..Event::new("2026-01-01T00:04:50Z".to_owned(), "Warning", "ReplicaExited", "code 3".to_owned())
                },
            ],
        }
    }

    #[test]
    fn a_service_in_full() {
        let now = humantime::parse_rfc3339("2026-01-01T00:05:00Z").unwrap();
        assert_eq!(
            described(&digits(), now),
            "\
Name:       digits
Namespace:  default
Owner:      m/all.yaml (document 2)
URL:        http://digits-default.example.com
Address:    http://127.0.0.1:8080
Replicas:   2/3 ready
Created:    2026-01-01T00:00:00Z (5m ago)
Conditions:
  TYPE             STATUS   SINCE   REASON    MESSAGE
  PredictorReady   True     60s               a b
  Ready            True     60s     Rolling   as PredictorReady
Revisions:
  NAME                 VARIANT   ROLES    STATE   CALLS   REPLICAS          RESTARTS   AGE   SOURCE             MESSAGE
  digits-predictor-b             latest   Ready   20 %    1/1               0          5m    file:///models/b
  digits-predictor-a             stable   Ready   80 %    1/2, 1 starting   3          5m    file:///models/a
Traffic:
  REVISION             CALLS   LATEST   TAG    URL
  digits-predictor-b   20 %    yes
  digits-predictor-a   80 %             prev   http://prev-digits
Events:
  AGE                TYPE      REASON           MESSAGE
  30s                Normal    TrafficChanged   20 % to b
  10s (x3 over 2m)   Warning   ReplicaExited    code 3
"
        );
    }

    #[test]
    fn a_service_of_which_nothing_is_known_yet() {
        let view = ServiceView { object: json!({}), revisions: Vec::new(), events: Vec::new(), ..digits() };
        let text = described(&view, SystemTime::now());
        assert!(text.ends_with("Conditions: none\nRevisions: none\nTraffic: none\nEvents: none\n"), "{text}");
        assert!(text.contains("Created:     (<unknown> ago)\n"), "{text}");
    }
}
