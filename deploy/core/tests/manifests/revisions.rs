//! Names of revisions, and making a revision again from what was stored.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use weirgate_deploy_core::{PredictorSpec, RevisionPlan, TrafficPlan, revision};

use crate::{manifest, model, planned, predictor};

fn name(patch: &Value) -> String {
    planned(patch).predictor.name
}

/// A predictor with something in every part of it.
fn full() -> Value {
    predictor(json!({
        "containerConcurrency": 4,
        "batcher": { "maxBatchSize": 8, "maxLatency": 5 },
        "nodeSelector": { "a": "1", "b": "2" },
        "model": {
            "protocolVersion": "v2",
            "env": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
            "resources": { "limits": { "cpu": "2", "memory": "1Gi" }, "requests": { "memory": "1Gi" } },
        },
    }))
}

/// Puts a change of the predictor into a manifest of it.
fn with(patch: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = manifest(patch);
    let (parents, last) = pointer.rsplit_once('/').unwrap();
    let mut at = &mut changed["spec"]["predictor"];
    for name in parents.split('/').filter(|name| !name.is_empty()) {
        at = &mut at[name];
    }
    at[last] = value;
    changed
}

#[test]
fn what_answers_differently_is_another_revision() {
    let changes = [
        ("/model/storageUri", json!("other")),
        ("/model/protocolVersion", json!("v1")),
        ("/model/modelFormat/version", json!("2")),
        ("/model/env", json!([{ "name": "B", "value": "2" }, { "name": "A", "value": "1" }])),
        ("/model/image", json!("other:1")),
        ("/model/resources/limits/cpu", json!("3")),
        ("/model/resources/requests/memory", json!("512Mi")),
        ("/batcher/maxBatchSize", json!(9)),
        ("/batcher/maxLatency", json!(0)),
        ("/containerConcurrency", json!(5)),
        ("/nodeSelector/a", json!("2")),
    ];
    let mut names: Vec<_> = changes.map(|(at, value)| name(&with(&full(), at, value))).into_iter().collect();
    names.push(name(&full()));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 12);
}

#[test]
fn spelling_and_defaults_do_not_matter() {
    let plain = name(&json!({}));
    let hash = plain.strip_prefix("digits-predictor-").unwrap();
    assert!(hash.len() == 10 && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{plain}");
    for (at, value) in [
        ("/batcher", json!({})),
        ("/batcher", json!({ "maxBatchSize": 0, "maxLatency": -1, "timeout": 9 })),
        ("/containerConcurrency", json!(0)),
        ("/model/protocolVersion", json!("v1")),
        ("/model/storageUri", json!("/manifests/digits")),
        ("/model/storageUri", json!("file:///manifests/./digits/")),
        ("/model/env", json!([])),
        ("/model/resources", json!({ "limits": {} })),
        ("/tolerations", json!([])),
        ("/affinity", json!({})),
        ("/volumes", json!(null)),
    ] {
        assert_eq!(name(&with(&json!({}), at, value.clone())), plain, "{at}: {value}");
    }
    let limit = |cpu: Value| name(&model(json!({ "resources": { "limits": { "cpu": cpu } } })));
    assert_eq!(limit(json!("1")), limit(json!("1000m")));
    assert_eq!(limit(json!(1)), limit(json!("1.0")));
    let onnx = json!({ "storageUri": "digits", "env": [{ "name": "A" }] });
    let new = model(json!({ "protocolVersion": "v2", "env": [{ "name": "A" }] }));
    assert_eq!(name(&predictor(json!({ "model": null, "onnx": onnx }))), name(&new));
}

#[test]
fn names_do_not_change_between_builds() {
    // A stored revision is found again by its name, so this value is part of the state folder's format.
    assert_eq!(name(&full()), EXPECTED);
}

const EXPECTED: &str = "digits-predictor-197edc3a53";

/// Everything in a plan can be made again from the predictor in it.
#[track_caller]
fn is_made_again(plan: &RevisionPlan) {
    let stored = serde_json::to_string(&plan.predictor).unwrap();
    let stored: PredictorSpec = serde_json::from_str(&stored).unwrap();
    assert_eq!(stored, plan.predictor);
    assert_eq!(revision("digits", &stored).unwrap(), *plan);
}

#[test]
fn a_stored_revision_is_made_again() {
    let canary =
        |name: &str| json!({ "trafficPercent": 10, "predictor": { "name": name, "model": { "storageUri": name } } });
    let mut list = full();
    list["spec"]["predictor"]["minReplicas"] = json!(7);
    list["spec"]["canary"] = json!([canary("v2"), canary("v3")]);
    for patch in [json!({}), full(), list, predictor(json!({ "minReplicas": 0, "canaryTrafficPercent": 5 }))] {
        let plan = planned(&patch);
        is_made_again(&plan.predictor);
        if let TrafficPlan::Canaries(canaries) = plan.traffic {
            canaries.iter().for_each(|canary| is_made_again(&canary.revision));
        }
    }
}

#[test]
fn a_stored_revision_that_can_not_run_says_why() {
    let mut stored = planned(&json!({})).predictor.predictor;
    stored.model.as_mut().unwrap().container.insert("args".to_owned(), json!(["--x"]));
    let problems = revision("digits", &stored).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].path, "spec.predictor.model.args");
    assert!(revision("digits", &PredictorSpec::default()).is_err());
}

/// The same value with the keys of every mapping in another order, as text.
fn shuffled(value: &Value, seed: &mut u64) -> String {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().map(|(name, value)| (name, shuffled(value, seed))).collect();
            for last in (1..fields.len()).rev() {
                *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                fields.swap(last, (*seed >> 33) as usize % (last + 1));
            }
            let fields: Vec<_> = fields.iter().map(|(name, value)| format!("{}: {value}", json!(name))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(list) => {
            let list: Vec<_> = list.iter().map(|value| shuffled(value, seed)).collect();
            format!("[{}]", list.join(", "))
        }
        value => value.to_string(),
    }
}

/// Fields that say nothing about the answers.
fn circumstances() -> impl Strategy<Value = Map<String, Value>> {
    let field = prop_oneof![
        (0..9).prop_map(|count| ("minReplicas", json!(count))),
        (9..20).prop_map(|count| ("maxReplicas", json!(count))),
        prop::sample::select(vec!["concurrency", "rps"]).prop_map(|metric| ("scaleMetric", json!(metric))),
        (1..9).prop_map(|target| ("scaleTarget", json!(target))),
        Just(("scaleMetricType", json!("Value"))),
        Just(("autoScaling", json!({ "metrics": [{ "type": "Resource" }] }))),
        (0..=100).prop_map(|percent| ("canaryTrafficPercent", json!(percent))),
        (1..900).prop_map(|timeout| ("timeout", json!(timeout))),
        Just(("logger", json!({ "url": "http://sink", "mode": "request" }))),
        "[a-z]{1,8}".prop_map(|value| ("labels", json!({ "team": value }))),
        "[a-z]{1,8}".prop_map(|value| ("annotations", json!({ "team": value }))),
        Just(("deploymentStrategy", json!({ "type": "Recreate" }))),
        "[a-z]{1,8}".prop_map(|name| ("name", json!(name))),
    ];
    prop::collection::vec(field, 0..8)
        .prop_map(|fields| fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

proptest! {
    #[test]
    fn circumstances_and_the_order_of_fields_keep_the_name(fields in circumstances(), mut seed in any::<u64>()) {
        let mut document = manifest(&full());
        document["spec"]["predictor"].as_object_mut().unwrap().extend(fields);
        let loaded = crate::load_text(&shuffled(&document, &mut seed));
        let plan = loaded.services[0].plan.clone().unwrap();
        prop_assert_eq!(&plan.predictor.name, &name(&full()));
        let again = revision("digits", &plan.predictor.predictor);
        prop_assert_eq!(again.unwrap(), plan.predictor);
    }
}
