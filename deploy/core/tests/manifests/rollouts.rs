//! What `rollout` makes of a service.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weirgate_deploy_core::rollout_edit::{promote, rollback, set};
use weirgate_deploy_core::{InferenceService, TrafficPlan};

use crate::{lay_over, load_patched, load_text, planned, predictor};

fn service(patch: &Value) -> InferenceService {
    load_patched(patch).services.remove(0).service
}

fn with_canaries() -> Value {
    let canary = |name: &str, percent: i64| json!({ "trafficPercent": percent, "predictor": { "name": name, "model": { "storageUri": name } } });
    json!({ "spec": {
        "predictor": { "name": "v1", "minReplicas": 4, "timeout": 20, "batcher": { "maxBatchSize": 4 } },
        "canary": [canary("v2", 25), canary("v3", 5)],
    }})
}

fn percent(service: &InferenceService) -> Option<i64> {
    service.spec.predictor.component.canary_traffic_percent
}

/// Whatever was changed, it is still a service that can run.
#[track_caller]
fn plan(service: &InferenceService) -> weirgate_deploy_core::ServicePlan {
    let loaded = load_text(&serde_json::to_string(service).unwrap());
    assert_eq!(loaded.services[0].service, *service, "{:?}", loaded.problems);
    loaded.services[0].plan.clone().unwrap()
}

#[test]
fn a_percentage() {
    let mut service = service(&json!({}));
    let before = service.clone();
    set(&mut service, 20, None).unwrap();
    assert_eq!(plan(&service).traffic, TrafficPlan::Percent(Some(20)));
    set(&mut service, 40, None).unwrap();
    assert_eq!(percent(&service), Some(40));
    promote(&mut service, None).unwrap();
    assert_eq!(service, before);
    let nothing = promote(&mut service, None);
    assert_eq!(nothing, Err("there is no canary to promote: canaryTrafficPercent is not set".to_owned()));

    set(&mut service, 40, None).unwrap();
    rollback(&mut service, None, true).unwrap();
    assert_eq!(percent(&service), Some(0));
    assert!(set(&mut service, 101, None).unwrap_err().contains("0 to 100"));
    let unknown = "there is no canary v2: the service has no spec.canary";
    assert_eq!(set(&mut service, 1, Some("v2")), Err(unknown.to_owned()));
    assert_eq!(promote(&mut service, Some("v2")), Err(unknown.to_owned()));
}

#[test]
fn back_to_what_was_before() {
    let old = planned(&predictor(json!({ "minReplicas": 9, "timeout": 5, "batcher": { "maxLatency": 3 } }))).predictor;
    let new = json!({ "minReplicas": 2, "timeout": 60, "canaryTrafficPercent": 100, "model": { "storageUri": "new" } });
    let mut service = service(&predictor(new));
    rollback(&mut service, Some(&old.predictor), false).unwrap();
    let plan = plan(&service);
    assert_eq!(plan.predictor.name, old.name);
    assert_eq!((plan.predictor.replicas.get(), plan.settings.timeout.as_secs()), (2, 60));
    assert_eq!(plan.traffic, TrafficPlan::Percent(None), "else it would be a canary");

    let nothing = rollback(&mut service, None, false).unwrap_err();
    assert_eq!(nothing, "there is nothing to roll back to: only one revision has been rolled out so far");
}

#[test]
fn a_list_of_canaries() {
    let original = service(&with_canaries());
    let TrafficPlan::Canaries(before) = plan(&original).traffic else { panic!() };

    let mut changed = original.clone();
    set(&mut changed, 50, Some("v3")).unwrap();
    let percents: Vec<_> = changed.spec.canary.iter().map(|canary| canary.traffic_percent).collect();
    assert_eq!(percents, [25, 50]);
    plan(&changed);
    let too_much = "76 % can't be set: other canaries take 25 %, together 100 are allowed";
    assert_eq!(set(&mut changed, 76, Some("v3")), Err(too_much.to_owned()));
    assert_eq!(set(&mut changed, 5, None), Err("there are several canaries: say which of v2, v3".to_owned()));
    assert_eq!(set(&mut changed, 5, Some("v4")), Err("there is no canary v4: there are v2, v3".to_owned()));

    let mut promoted = original.clone();
    promote(&mut promoted, Some("v2")).unwrap();
    let after = plan(&promoted);
    assert_eq!(after.predictor.name, before[0].revision.name, "promoting starts nothing");
    let TrafficPlan::Canaries(left) = &after.traffic else { panic!() };
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].revision.name, before[1].revision.name);
    assert_eq!(promoted.spec.predictor.component.min_replicas, Some(4), "it takes all calls, so it takes the scale");
    promote(&mut promoted, None).unwrap();
    assert_eq!(plan(&promoted).predictor.name, before[1].revision.name);
    assert_eq!(plan(&promoted).predictor.replicas.get(), 4);

    let mut back = original.clone();
    rollback(&mut back, None, true).unwrap();
    assert_eq!(plan(&back).predictor.name, plan(&original).predictor.name);
    assert_eq!(back.spec.canary, []);
}

/// The names of the canaries' revisions, by their own names.
#[track_caller]
fn canary_revisions(service: &InferenceService) -> BTreeMap<String, String> {
    let TrafficPlan::Canaries(canaries) = plan(service).traffic else { return BTreeMap::new() };
    canaries.into_iter().map(|canary| (canary.revision.variant.unwrap(), canary.revision.name)).collect()
}

#[test]
fn promoting_one_canary_leaves_the_others_the_revisions_they_are() {
    let canary = |name: &str, predictor: Value| {
        let mut canary = json!({ "trafficPercent": 10, "predictor": { "name": name } });
        lay_over(&mut canary["predictor"], &predictor);
        canary
    };
    let before = service(&json!({ "spec": {
        "predictor": {
            "minReplicas": 4,
            "maxReplicas": 8,
            "scaleMetric": "cpu",
            "timeout": 20,
            "batcher": { "maxBatchSize": 4 },
            "nodeSelector": { "disk": "fast" },
            "model": { "resources": { "limits": { "cpu": "1000m" } } },
        },
        "canary": [
            canary("model", json!({ "model": { "storageUri": "other" } })),
            canary("batcher", json!({ "batcher": { "maxLatency": 5 }, "minReplicas": 2 })),
            canary("cpu", json!({ "model": { "resources": { "limits": { "cpu": 2 } } } })),
        ],
    }}));
    let mut revisions = canary_revisions(&before);
    let replicas = |service: &InferenceService| match plan(service).traffic {
        TrafficPlan::Canaries(canaries) => canaries.last().map(|canary| canary.revision.replicas.get()),
        TrafficPlan::Percent(_) => None,
    };

    let mut promoted = before.clone();
    promote(&mut promoted, Some("model")).unwrap();
    assert_eq!(Some(plan(&promoted).predictor.name), revisions.remove("model"));
    assert_eq!(canary_revisions(&promoted), revisions);
    assert_eq!(replicas(&promoted), replicas(&before), "a share stays one");
    promote(&mut promoted, Some("cpu")).unwrap();
    assert_eq!(Some(plan(&promoted).predictor.name), revisions.remove("cpu"));
    assert_eq!(canary_revisions(&promoted), revisions);

    // What a canary leaves open can't be kept open once spec.predictor says it.
    let mut kept = before.clone();
    let refused = promote(&mut kept, Some("batcher"));
    let reason = "canary batcher can't be promoted: canary model would take over its batcher.maxLatency, give model one \
                  of its own or remove it";
    assert_eq!(refused, Err(reason.to_owned()));
    assert_eq!(kept, before);
}
