//! How far a rollout has come, and waiting for its end.

use std::time::{Duration, Instant};

use serde_json::Value;
use weirgate_deploy::control::{Named, RevisionView, ServiceView};

use super::object::{is_true, latest_percent, predictor, prev_percent, text};
use super::table::one_line;
use super::{Wrong, print};
use crate::admin::wire::service_path;
use crate::client::Client;

const POLL: Duration = Duration::from_millis(250);

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Ready, and calls are split as the manifest asks.
    Done(String),
    Going(String),
    /// It can't come to an end without another manifest or model.
    Failed(String),
}

pub fn view(client: &Client, named: &Named) -> Result<ServiceView, Wrong> {
    Ok(client.get(&format!("{}?view=full", service_path(named)))?)
}

/// When waiting ends.
#[derive(Clone, Copy, Debug)]
pub struct GiveUp {
    at: Instant,
    timeout: Duration,
}

impl GiveUp {
    pub fn after(timeout: Duration) -> GiveUp {
        GiveUp { at: Instant::now() + timeout, timeout }
    }
}

/// Follows one service after the other. What goes wrong with one is told at once, and the others are followed all the same.
pub fn follow_all<'a>(client: &Client, all: impl Iterator<Item = &'a Named>, give_up: GiveUp) -> Result<(), Wrong> {
    let mut failed = false;
    for named in all {
        match follow(client, named, give_up) {
            Ok(()) => {}
            Err(Wrong::Failed(lines)) => {
                lines.iter().for_each(|line| eprintln!("{line}"));
                failed = true;
            }
            Err(usage) => return Err(usage),
        }
    }
    if failed { Err(Wrong::Failed(Vec::new())) } else { Ok(()) }
}

/// Prints each state that a service goes through, until it is done or has failed. Looks at least once.
pub fn follow(client: &Client, named: &Named, give_up: GiveUp) -> Result<(), Wrong> {
    let mut told = String::new();
    loop {
        let going = match progress(&view(client, named)?) {
            Progress::Done(text) => {
                print(&format!("{named}: {text}\n"));
                return Ok(());
            }
            Progress::Failed(text) => return Err(Wrong::failed(format!("error: {named}: {text}"))),
            Progress::Going(text) => text,
        };
        if going != told {
            print(&format!("{named}: {going}\n"));
            told = going;
        }
        if Instant::now() >= give_up.at {
            let seconds = give_up.timeout.as_secs_f64();
            return Err(Wrong::failed(format!("error: {named}: not done after {seconds} s (--timeout)")));
        }
        std::thread::sleep(POLL);
    }
}

pub fn progress(view: &ServiceView) -> Progress {
    let object = &view.object;
    let generation = |pointer| object.pointer(pointer).and_then(Value::as_i64);
    if let (Some(wanted), Some(observed)) =
        (generation("/metadata/generation"), generation("/status/observedGeneration"))
        && observed < wanted
    {
        return Progress::Going("the change has not been taken up yet".to_owned());
    }
    if let Some(failure) = failure(view) {
        return Progress::Failed(failure);
    }
    if is_true(object, "Stopped") {
        return Progress::Done("stopped".to_owned());
    }
    let state = state(&view.revisions);
    let proven = predictor(object, "latestCreatedRevision") == predictor(object, "latestReadyRevision");
    if is_true(object, "Ready") && proven && is_split_as_asked(view) {
        Progress::Done(format!("rolled out: {state}"))
    } else {
        Progress::Going(state)
    }
}

/// Why the newest revision, or a canary, will take no calls.
fn failure(view: &ServiceView) -> Option<String> {
    let counts = |revision: &&RevisionView| {
        revision.state == "Failed" && revision.roles.iter().any(|role| role == "latest" || role == "canary")
    };
    if let Some(revision) = view.revisions.iter().find(counts) {
        let why = one_line(revision.message.as_deref().unwrap_or("no reason is known"));
        return Some(format!("revision {} failed: {why}", revision.name));
    }
    let model = |field: &str| text(&view.object, &format!("/status/modelStatus/{field}"));
    let transition = model("transitionStatus");
    matches!(transition, "BlockedByFailedLoad" | "InvalidSpec").then(|| {
        let (reason, message) = (model("lastFailureInfo/reason"), model("lastFailureInfo/message"));
        one_line(&format!("{transition}: {reason}: {message}"))
    })
}

fn is_split_as_asked(view: &ServiceView) -> bool {
    let spec = &view.object["spec"];
    if let Some(canaries) = spec["canary"].as_array().filter(|canaries| !canaries.is_empty()) {
        return canaries.iter().all(|canary| {
            let name = text(canary, "/predictor/name");
            let wanted = canary["trafficPercent"].as_u64().unwrap_or(0);
            let running = view.revisions.iter().find(|revision| revision.variant.as_deref() == Some(name));
            running.is_some_and(|revision| revision.state == "Ready" && u64::from(revision.percent) == wanted)
        });
    }
    let latest = latest_percent(&view.object);
    match spec["predictor"]["canaryTrafficPercent"].as_u64() {
        // The first revision of all has nothing that it could share the calls with.
        Some(wanted) => latest == Some(wanted) || (latest == Some(100) && prev_percent(&view.object).is_none()),
        None => latest == Some(100),
    }
}

/// Every revision that runs or should, the newest first.
fn state(revisions: &[RevisionView]) -> String {
    let running = revisions.iter().filter(|revision| revision.state != "Stopped");
    let each = running.map(|revision| {
        let RevisionView { name, state, ready_replicas, replicas, percent, message, .. } = revision;
        let why = message.as_ref().filter(|_| state == "Loading").map(|why| format!(" ({})", one_line(why)));
        let why = why.unwrap_or_default();
        format!("{name} {state}{why}, {ready_replicas}/{replicas} replicas, {percent} % of the calls")
    });
    let each: Vec<_> = each.collect();
    if each.is_empty() { "no revision runs yet".to_owned() } else { each.join("; ") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use weirgate_deploy::control::Owner;

    use super::*;

    fn revision(name: &str, role: &str, state: &str, percent: u8) -> RevisionView {
        RevisionView {
            name: name.to_owned(),
            variant: None,
            roles: vec![role.to_owned()],
            percent,
            state: state.to_owned(),
            message: (state == "Failed").then(|| "no such\nfile".to_owned()),
            ready_replicas: usize::from(state == "Ready"),
            starting_replicas: 0,
            waiting_replicas: 0,
            draining_replicas: 0,
            replicas: 1,
            restarts: 0,
            source: "file:///m".to_owned(),
            created: "2026-01-01T00:00:00Z".to_owned(),
        }
    }

    /// A service whose stable revision is `a` and whose newest one is `b`.
    fn service(wanted: Value, state: &str, percent: u8) -> ServiceView {
        let ready = if state == "Ready" { "True" } else { "False" };
        let latest_ready = if state == "Ready" { "b" } else { "a" };
        ServiceView {
            named: Named { namespace: "default".to_owned(), name: "digits".to_owned() },
            owner: Owner::State,
            object: json!({
                "metadata": { "generation": 2 },
                "spec": { "predictor": { "canaryTrafficPercent": wanted } },
                "status": {
                    "observedGeneration": 2,
                    "conditions": [{ "type": "Ready", "status": ready }],
                    "components": { "predictor": {
                        "latestCreatedRevision": "b", "latestReadyRevision": latest_ready,
                        "traffic": [
                            { "latestRevision": true, "percent": percent },
                            { "revisionName": "a", "tag": "prev", "percent": 100 - percent },
                        ],
                    }},
                },
            }),
            revisions: vec![revision("b", "latest", state, percent), revision("a", "stable", "Ready", 100 - percent)],
            written: None,
            events: Vec::new(),
        }
    }

    #[test]
    fn it_is_done_when_ready_and_split_as_asked() {
        let done = progress(&service(json!(20), "Ready", 20));
        let text = "rolled out: b Ready, 1/1 replicas, 20 % of the calls; a Ready, 1/1 replicas, 80 % of the calls";
        assert_eq!(done, Progress::Done(text.to_owned()));
        assert!(matches!(progress(&service(json!(0), "Ready", 0)), Progress::Done(_)));
        assert!(matches!(progress(&service(Value::Null, "Ready", 100)), Progress::Done(_)));
        for (wanted, state, percent) in
            [(json!(20), "Loading", 0), (json!(20), "Ready", 0), (Value::Null, "Ready", 20), (json!(0), "Loading", 0)]
        {
            let going = progress(&service(wanted.clone(), state, percent));
            assert!(matches!(going, Progress::Going(_)), "{wanted} {state} {percent}: {going:?}");
        }
    }

    #[test]
    fn a_failed_newest_revision_ends_it_and_an_old_one_does_not() {
        let failed = progress(&service(json!(20), "Failed", 0));
        assert_eq!(failed, Progress::Failed("revision b failed: no such file".to_owned()));
        let mut old = service(json!(20), "Ready", 20);
        old.revisions[1].state = "Failed".to_owned();
        assert!(matches!(progress(&old), Progress::Done(_)));
        let mut invalid = service(json!(20), "Loading", 0);
        invalid.object["status"]["modelStatus"] = json!({
            "transitionStatus": "InvalidSpec", "lastFailureInfo": { "reason": "NoSupportingRuntime", "message": "no" },
        });
        assert_eq!(progress(&invalid), Progress::Failed("InvalidSpec: NoSupportingRuntime: no".to_owned()));
    }

    #[test]
    fn the_first_revision_of_all_ignores_the_canarys_share() {
        let mut first = service(json!(20), "Ready", 100);
        first.object["status"]["components"]["predictor"]["traffic"] =
            json!([{ "latestRevision": true, "percent": 100 }]);
        assert!(matches!(progress(&first), Progress::Done(_)));
    }

    #[test]
    fn a_change_that_nobody_has_looked_at_is_not_done() {
        let mut changed = service(json!(20), "Ready", 20);
        changed.object["metadata"]["generation"] = json!(3);
        assert!(matches!(progress(&changed), Progress::Going(_)));
    }

    #[test]
    fn every_canary_of_the_list_must_have_its_share() {
        let mut view = service(Value::Null, "Ready", 70);
        view.object["spec"]["canary"] = json!([
            { "predictor": { "name": "fast" }, "trafficPercent": 30 }, { "predictor": { "name": "dark" } },
        ]);
        assert!(matches!(progress(&view), Progress::Going(_)));
        let canary = |name: &str, percent| {
            let variant = Some(name.to_owned());
            RevisionView { variant, ..revision(name, "canary", "Ready", percent) }
        };
        view.revisions.extend([canary("fast", 30), canary("dark", 0)]);
        assert!(matches!(progress(&view), Progress::Done(_)));
        view.revisions[2].percent = 0;
        assert!(matches!(progress(&view), Progress::Going(_)));
    }
}
