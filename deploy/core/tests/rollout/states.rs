//! The status that is written at each step.

use weirgate_deploy_core::TrafficPlan;
use weirgate_deploy_core::rollout::{Fault, FaultKind, Health};
use weirgate_deploy_core::status::{ModelState, Observed, RevisionStatus, Status, TransitionStatus, status};

use crate::{Service, failed, fault, plan, ready};

/// Status of a service that was asked for something, at this time.
fn look(service: &mut Service, unsupported: Option<&str>, before: Option<&Status>, now: &str) -> Status {
    let decision = service.0.decide();
    let observed = Observed {
        rollout: &service.0,
        decision: &decision,
        unsupported,
        unloaded: false,
        generation: 3,
        namespace_url: "http://127.0.0.1:8080/default",
        name: "digits",
        deployment_mode: "Standard",
        revisions: &[],
        now,
    };
    status(&observed, before)
}

/// `type=status/reason`
fn conditions(status: &Status) -> Vec<String> {
    let shown = status.conditions.iter().map(|one| format!("{}={}/{}", one.kind, one.status, one.reason));
    shown.collect()
}

/// `revision:percent@tag`, the latest with a star.
fn traffic(status: &Status) -> Vec<String> {
    let targets = status.components["predictor"].traffic.iter();
    let shown = targets.map(|target| {
        let star = if target.latest_revision { "*" } else { "" };
        format!("{}{star}:{}@{}", target.revision_name, target.percent, target.tag.as_deref().unwrap_or(""))
    });
    shown.collect()
}

#[test]
fn complaint_16_nothing_is_ready_before_its_model_has_loaded() {
    let mut service = Service::default();
    service.percent("a", None);
    let loading = look(&mut service, None, None, "t1");
    assert_eq!(conditions(&loading), ["IngressReady=True/", "PredictorReady=False/Loading", "Ready=False/Loading"]);
    assert_eq!((&loading.url, traffic(&loading)), (&None, Vec::new()));
    assert_eq!(loading.model_status.transition_status, TransitionStatus::InProgress);

    service.sees("a", failed());
    let broken = look(&mut service, None, Some(&loading), "t2");
    assert_eq!(conditions(&broken)[2], "Ready=False/ModelLoadFailed");
    assert!(broken.conditions[2].message.contains("no such file"), "{broken:?}");
    assert_eq!(broken.conditions[2].last_transition_time, "t1", "it was not ready before either");
    let failure = broken.model_status.last_failure_info.clone().unwrap();
    assert_eq!((failure.reason.as_str(), failure.message.as_str()), ("ModelLoadFailed", "no such file"));
    assert_eq!((failure.model_revision_name.as_str(), failure.time.as_str()), ("a", "t2"));
    assert_eq!(broken.model_status.transition_status, TransitionStatus::BlockedByFailedLoad);
    let again = look(&mut service, None, Some(&broken), "t3");
    assert_eq!(again, broken, "nothing has changed, not even a time");

    service.sees("a", ready(1));
    let well = look(&mut service, None, Some(&broken), "t4");
    assert_eq!(conditions(&well), ["IngressReady=True/", "PredictorReady=True/", "Ready=True/"]);
    assert_eq!(well.conditions[2].last_transition_time, "t4");
    assert_eq!(well.url.as_deref(), Some("http://127.0.0.1:8080/default/digits"));
    assert_eq!((well.model_status.copies.total_copies, well.observed_generation), (1, 3));
}

#[test]
fn a_canary_and_its_tags() {
    let mut service = Service::rolled_out("a");
    service.percent("b", Some(20));
    let loading = look(&mut service, None, None, "t1");
    assert_eq!(traffic(&loading), ["b*:0@latest", "a:100@prev"]);
    assert_eq!(conditions(&loading)[1], "PredictorReady=False/Loading");
    assert_eq!(loading.model_status.states.active_model_state, ModelState::Loaded);
    assert_eq!(loading.model_status.states.target_model_state, ModelState::Loading);

    service.sees("b", ready(1));
    let split = look(&mut service, None, None, "t2");
    let predictor = &split.components["predictor"];
    assert_eq!(traffic(&split), ["b*:20@latest", "a:80@prev"]);
    assert_eq!(predictor.traffic[1].url.as_deref(), Some("http://127.0.0.1:8080/default/prev-digits"));
    assert_eq!(predictor.latest_ready_revision.as_deref(), Some("b"));
    assert_eq!(predictor.latest_rolledout_revision.as_deref(), Some("a"));

    // Back to where it was: what is asked for is the latest again, and the other one is not ready any more.
    service.percent("b", None);
    service.percent("a", None);
    service.sees("a", ready(1));
    let back = look(&mut service, None, None, "t3");
    let predictor = &back.components["predictor"];
    assert_eq!(traffic(&back), ["a*:100@"]);
    assert_eq!(predictor.latest_ready_revision.as_deref(), Some("a"));
    assert_eq!(predictor.latest_created_revision.as_deref(), Some("a"));
    assert_eq!(predictor.previous_rolledout_revision.as_deref(), Some("b"));
}

#[test]
fn canaries_have_their_own() {
    let mut service = Service::rolled_out("a");
    service.canaries("a", &[("b", 25), ("c", 0)]);
    service.sees("b", ready(1));
    service.sees("c", failed());
    let status = look(&mut service, None, None, "t1");
    assert_eq!(conditions(&status)[0], "CanaryPredictorReady=False/ModelLoadFailed");
    assert_eq!(conditions(&status)[3], "Ready=True/", "the predictor itself is");
    let canaries: Vec<_> =
        status.canary_statuses.iter().map(|one| (one.name.as_str(), one.ready, one.traffic_percent)).collect();
    assert_eq!(canaries, [("b", true, 25), ("c", false, 0)]);
}

#[test]
fn what_is_not_supported_is_said_while_the_rest_goes_on() {
    let mut service = Service::rolled_out("a");
    let status = look(&mut service, Some("spec.transformer is not supported yet"), None, "t1");
    assert_eq!(
        conditions(&status)[1..],
        ["PredictorReady=False/InvalidPredictorSpec", "Ready=False/InvalidPredictorSpec"]
    );
    assert_eq!(status.model_status.transition_status, TransitionStatus::InvalidSpec);
    assert_eq!(traffic(&status), ["a*:100@"]);

    let mut nothing = Service::default();
    let status = look(&mut nothing, Some("spec.transformer is not supported yet"), None, "t1");
    assert_eq!(conditions(&status)[0], "IngressReady=False/NoRevision");
}

#[test]
fn missing_replicas_are_counted() {
    let mut service = Service::default();
    let mut three = plan("a", TrafficPlan::Percent(None));
    three.predictor.replicas = 3.try_into().unwrap();
    service.asks(&three);
    service.sees("a", Health::failed(2, fault("no memory")));
    let status = look(&mut service, None, None, "t1");
    assert_eq!((status.model_status.copies.failed_copies, status.model_status.copies.total_copies), (1, 2));
    assert_eq!(conditions(&status)[2], "Ready=False/ModelLoadFailed");
}

#[test]
fn a_stopped_service_says_so() {
    let mut service = Service::rolled_out("a");
    let mut stopped = plan("a", TrafficPlan::Percent(None));
    stopped.settings.stopped = true;
    service.asks(&stopped);
    let status = look(&mut service, None, None, "t1");
    assert_eq!(conditions(&status)[2..], ["Ready=False/Stopped", "Stopped=True/"]);
    let model = &status.model_status;
    assert_eq!(
        (model.transition_status, model.states.target_model_state),
        (TransitionStatus::UpToDate, ModelState::Standby)
    );
}

/// A replica whose process has ended; another starts at once.
fn exited(code: i32, ready: usize) -> Health {
    let kind = FaultKind::ReplicaExited { code: Some(code) };
    let gone = Fault { kind, message: format!("its process exited with code {code}") };
    Health { ready, waits_for: Some(gone), ..Health::default() }
}

#[test]
fn a_process_that_is_gone_is_told_while_another_starts() {
    let mut service = Service::rolled_out("a");
    let well = look(&mut service, None, None, "t1");
    service.sees("a", exited(3, 0));
    let down = look(&mut service, None, Some(&well), "t2");
    assert_eq!(conditions(&down)[1..], ["PredictorReady=False/ReplicaExited", "Ready=False/ReplicaExited"]);
    let message = "revision a: 0 of 1 replicas are ready: its process exited with code 3";
    assert_eq!(down.conditions[2].message, message);
    let last = down.model_status.last_failure_info.unwrap();
    assert_eq!((last.reason.as_str(), last.exit_code), ("RuntimeUnhealthy", Some(3)), "KServe's list is closed");
    assert_eq!(down.model_status.transition_status, TransitionStatus::InProgress, "it is not given up");
    service.sees("a", ready(1));
    let again = look(&mut service, None, None, "t3");
    assert_eq!((again.conditions[2].status.as_str(), again.conditions[2].message.as_str()), ("True", ""));
}

#[test]
fn what_a_start_waits_for_is_no_failure() {
    let mut service = Service::default();
    service.percent("a", None);
    let waits_for = Fault { kind: FaultKind::ReplicaNotReady, message: "connection refused".to_owned() };
    service.sees("a", Health { waits_for: Some(waits_for), ..Health::default() });
    let status = look(&mut service, None, None, "t1");
    assert_eq!(conditions(&status)[2], "Ready=False/ReplicaNotReady");
    assert!(status.conditions[2].message.ends_with("replicas are ready: connection refused"), "{status:?}");
    assert_eq!(status.model_status.last_failure_info, None);
}

#[test]
fn a_service_that_answers_says_what_of_it_does_not() {
    let mut service = Service::default();
    let mut two = plan("a", TrafficPlan::Percent(None));
    two.predictor.replicas = 2.try_into().unwrap();
    service.asks(&two);
    service.sees("a", ready(2));
    let upstream = Fault { kind: FaultKind::UpstreamNotReady, message: "http://b: connection refused".to_owned() };
    service.sees("a", Health::failed(1, upstream.clone()));
    let status = look(&mut service, None, None, "t1");
    assert_eq!(conditions(&status)[2], "Ready=True/");
    let message = "revision a: 1 of 2 replicas are ready: http://b: connection refused";
    assert_eq!(status.conditions[1].message, message);
    assert_eq!(status.conditions[0].message, "", "calls are routed");
    service.sees("a", Health::failed(0, upstream));
    assert_eq!(conditions(&look(&mut service, None, None, "t2"))[2], "Ready=False/UpstreamNotReady");
}

#[test]
fn replicas_are_counted_by_what_they_are_at() {
    let mut service = Service::rolled_out("a");
    let decision = service.0.decide();
    let counted = [RevisionStatus { name: "a".to_owned(), ready: 1, starting: 2, restarts: 5, ..Default::default() }];
    let observed = Observed {
        rollout: &service.0,
        decision: &decision,
        unsupported: None,
        unloaded: false,
        generation: 1,
        namespace_url: "",
        name: "digits",
        deployment_mode: "Standard",
        revisions: &counted,
        now: "t1",
    };
    let written = serde_json::to_value(status(&observed, None)).unwrap();
    let expected = serde_json::json!([
        { "name": "a", "ready": 1, "starting": 2, "waiting": 0, "draining": 0, "restarts": 5 },
    ]);
    assert_eq!(written["revisions"], expected);
}
