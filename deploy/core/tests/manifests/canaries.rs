//! Canaries, in both of KServe's styles.

use serde_json::{Value, json};
use weirgate_deploy_core::{CanaryPlan, Severity, TrafficPlan};

use crate::{lay_over, load_patched, planned, predictor, texts};

/// A service with these canaries.
fn canaries(list: Value) -> Value {
    json!({ "spec": { "canary": list } })
}

fn canary(name: &str, percent: i64) -> Value {
    json!({ "trafficPercent": percent, "predictor": { "name": name, "model": { "storageUri": name } } })
}

#[track_caller]
fn plans(patch: &Value) -> Vec<CanaryPlan> {
    match planned(patch).traffic {
        TrafficPlan::Canaries(canaries) => canaries,
        TrafficPlan::Percent(percent) => panic!("{percent:?}"),
    }
}

#[test]
fn complaint_01_a_split_works_in_every_deployment_mode() {
    let modes = ["Standard", "Knative", "ModelMesh", "RawDeployment", "Serverless"];
    let modes = modes.map(|mode| json!({ "serving.kserve.io/deploymentMode": mode }));
    for annotations in modes.into_iter().chain([json!({})]) {
        let metadata = json!({ "metadata": { "annotations": annotations } });
        let mut percent = predictor(json!({ "canaryTrafficPercent": 20 }));
        lay_over(&mut percent, &metadata);
        assert_eq!(load_patched(&percent).problems, []);
        assert_eq!(planned(&percent).traffic, TrafficPlan::Percent(Some(20)));

        let mut list = canaries(json!([canary("v2", 20)]));
        lay_over(&mut list, &metadata);
        assert_eq!(load_patched(&list).problems, []);
        let canaries = plans(&list);
        assert_eq!((canaries.len(), canaries[0].percent), (1, 20));
        assert_ne!(canaries[0].revision.name, planned(&list).predictor.name);
    }
}

#[test]
fn a_canary_is_the_predictor_with_what_it_says_itself() {
    let patch = json!({ "spec": {
        "predictor": {
            "containerConcurrency": 8,
            "timeout": 20,
            "batcher": { "maxBatchSize": 16, "maxLatency": 5 },
            "model": { "protocolVersion": "v2", "resources": { "limits": { "cpu": 2, "memory": "1Gi" } } },
        },
        "canary": [{
            "trafficPercent": 10,
            "predictor": {
                "name": "v2",
                "containerConcurrency": 0,
                "batcher": { "maxLatency": 9 },
                "model": { "storageUri": "v2", "resources": { "limits": { "cpu": 4 } } },
            },
        }],
    }});
    let canary = &plans(&patch)[0].revision;
    let expected = json!({
        "name": "v2",
        "minReplicas": 1,
        "containerConcurrency": 8,
        "timeout": 20,
        "batcher": { "maxBatchSize": 16, "maxLatency": 9 },
        "model": {
            "modelFormat": { "name": "onnx" },
            "protocolVersion": "v2",
            "storageUri": "/manifests/v2",
            "resources": { "limits": { "cpu": "4", "memory": "1Gi" } },
        },
    });
    assert_eq!(serde_json::to_value(&canary.predictor).unwrap(), expected);
    assert_eq!(canary.variant.as_deref(), Some("v2"));
    assert_eq!(canary.cpu_limit.map(|cpus| cpus.get()), Some(4));
}

#[test]
fn a_canary_that_serves_what_another_predictor_serves_is_refused() {
    let same = |name: &str| json!({ "trafficPercent": 20, "predictor": { "name": name } });
    let cases = [
        (json!([same("v2")]), 0, "spec.predictor"),
        (json!([canary("v2", 20), same("v3")]), 1, "spec.predictor"),
        // Nothing of this is part of a revision.
        (
            json!([{ "trafficPercent": 0, "predictor": { "name": "v2", "minReplicas": 1, "labels": { "a": "b" } } }]),
            0,
            "spec.predictor",
        ),
        (
            json!([{ "predictor": { "name": "v2", "model": { "storageUri": "file:///manifests/digits" } } }]),
            0,
            "spec.predictor",
        ),
        (
            json!([canary("v2", 20), { "predictor": { "name": "v3", "model": { "storageUri": "v2" } } }]),
            1,
            "spec.canary[0].predictor",
        ),
    ];
    for (list, index, other) in cases {
        let loaded = load_patched(&canaries(list.clone()));
        let expected = format!(
            "service.yaml: inferenceservice default/digits: spec.canary[{index}].predictor is the same revision as \
             {other}: change what it serves, or remove it"
        );
        assert_eq!(texts(&loaded.problems, Severity::Error), [expected], "{list}");
        assert_eq!(loaded.services, []);
    }
}

#[test]
fn a_value_that_is_wrong_does_not_make_canaries_equal() {
    let mut wrong = canary("v2", 20);
    wrong["predictor"]["model"]["storageUri"] = json!(2);
    let errors = texts(&load_patched(&canaries(json!([wrong]))).problems, Severity::Error);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("storageUri is 2: allowed is text"), "{errors:?}");
}

#[test]
fn replicas_are_shared() {
    // Wanted, then per canary its percentage and its own minReplicas; then what each gets, the stable one first.
    type Case = (i64, &'static [(i64, Option<i64>)], &'static [usize]);
    let cases: [Case; 7] = [
        (4, &[(25, None)], &[3, 1]),
        (4, &[(26, None)], &[2, 2]),
        (4, &[(25, None), (0, Some(1))], &[2, 1, 1]),
        (4, &[(0, None)], &[3, 1]),
        (1, &[(20, None)], &[1, 1]),
        (2, &[(100, None)], &[1, 2]),
        (4, &[(10, Some(4)), (10, Some(4))], &[1, 4, 4]),
    ];
    for (wanted, shares, expected) in cases {
        let list = shares.iter().enumerate().map(|(index, (percent, replicas))| {
            let mut canary = canary(&format!("v{index}"), *percent);
            if let Some(replicas) = replicas {
                canary["predictor"]["minReplicas"] = json!(replicas);
            }
            canary
        });
        let patch = json!({ "spec": { "predictor": { "minReplicas": wanted }, "canary": list.collect::<Value>() } });
        let stable = planned(&patch).predictor.replicas.get();
        let canaries = plans(&patch).into_iter().map(|canary| canary.revision.replicas.get());
        assert_eq!([stable].into_iter().chain(canaries).collect::<Vec<_>>(), expected, "{patch}");
    }
    // With a percentage alone every revision runs all of them: either may become the only one.
    assert_eq!(
        planned(&predictor(json!({ "minReplicas": 4, "canaryTrafficPercent": 25 }))).predictor.replicas.get(),
        4
    );
}

#[test]
fn rules() {
    let first = |predictor: Value| {
        let mut canary = canary("v2", 20);
        lay_over(&mut canary, &json!({ "predictor": predictor }));
        canaries(json!([canary]))
    };
    let never = |name: &str| {
        (
            first(json!({ name: 1 })),
            format!(
                "spec.canary[0].predictor.{name} is not allowed in a canary: remove it, what spec.predictor says holds"
            ),
        )
    };
    let cases = [
        never("maxReplicas"),
        never("scaleMetric"),
        never("scaleTarget"),
        never("autoScaling"),
        never("workerSpec"),
        (
            first(json!({ "canaryTrafficPercent": 5 })),
            "spec.canary[0].predictor.canaryTrafficPercent is not allowed in a canary: use its trafficPercent"
                .to_owned(),
        ),
        (
            first(json!({ "name": null })),
            "spec.canary[0].predictor.name is missing: write a name that tells it from the others".to_owned(),
        ),
        (
            first(json!({ "name": "V2" })),
            "spec.canary[0].predictor.name is 'V2': allowed are at most 63 of a-z, 0-9 and '-', from a letter to a \
             letter or digit"
                .to_owned(),
        ),
        (
            first(json!({ "minReplicas": 2 })),
            "spec.canary[0].predictor.minReplicas is 2: allowed is at most that of spec.predictor, which is 1"
                .to_owned(),
        ),
        (
            first(json!({ "model": { "storageUri": "file:v2" } })),
            "spec.canary[0].predictor.model.storageUri is 'file:v2': a file URI names no host and no relative path, \
             write file:///absolute/path"
                .to_owned(),
        ),
        (
            canaries(json!([canary("v2", 20), canary("v2", 10)])),
            "spec.canary[1].predictor.name is 'v2', as that of spec.canary[0].predictor: give each its own".to_owned(),
        ),
        (
            json!({ "spec": { "predictor": { "name": "v2" }, "canary": [canary("v2", 20)] } }),
            "spec.canary[0].predictor.name is 'v2', as that of spec.predictor: give each its own".to_owned(),
        ),
        (
            canaries(json!([canary("v2", 101)])),
            "spec.canary[0].trafficPercent is 101: allowed is a whole number from 0 to 100".to_owned(),
        ),
        (
            canaries(json!([canary("v2", -1)])),
            "spec.canary[0].trafficPercent is -1: allowed is a whole number from 0 to 100".to_owned(),
        ),
        (
            canaries(json!([canary("v2", 60), canary("v3", 41)])),
            "spec.canary takes 101 % of the calls: allowed are 100, lower some trafficPercent".to_owned(),
        ),
        (
            json!({ "spec": { "predictor": { "canaryTrafficPercent": 5 }, "canary": [canary("v2", 20)] } }),
            "spec.predictor.canaryTrafficPercent is not allowed with spec.canary: remove one of them".to_owned(),
        ),
        (canaries(json!([null])), "spec.canary[0] is null: allowed is a mapping".to_owned()),
        (canaries(json!({})), "spec.canary is a mapping: allowed is a list".to_owned()),
    ];
    for (patch, expected) in cases {
        let loaded = load_patched(&patch);
        let expected = format!("service.yaml: inferenceservice default/digits: {expected}");
        assert_eq!(texts(&loaded.problems, Severity::Error), [expected], "{patch}");
        assert_eq!(loaded.services, []);
    }
}

#[test]
fn what_holds_for_the_service_has_no_effect_in_a_canary() {
    let mut list = canary("v2", 20);
    lay_over(&mut list, &json!({ "predictor": { "timeout": 5, "deploymentStrategy": { "type": "Recreate" } } }));
    let loaded = load_patched(&canaries(json!([list])));
    let expected = ["deploymentStrategy", "timeout"].map(|name| {
        format!(
            "service.yaml: inferenceservice default/digits: spec.canary[0].predictor.{name} has no effect in a canary: \
             what spec.predictor says holds for the service"
        )
    });
    assert_eq!(texts(&loaded.problems, Severity::Warning), expected);
    let plan = loaded.services[0].plan.as_ref().unwrap();
    assert_eq!(plan.settings.timeout.as_secs(), 300);
}

#[test]
fn what_canaries_inherit_is_said_once() {
    let patch = json!({ "spec": {
        "predictor": { "model": { "modelFormat": { "name": "sklearn" }, "resources": { "limits": { "cpu": 0 } } } },
        "canary": [canary("v2", 20), canary("v3", 20)],
    }});
    let paths: Vec<_> = load_patched(&patch).problems.into_iter().map(|problem| problem.path).collect();
    assert_eq!(paths, ["spec.predictor.model.modelFormat.name", "spec.predictor.model.resources.limits.cpu"]);
}
