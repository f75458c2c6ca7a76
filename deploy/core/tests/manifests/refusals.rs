//! Every refusal of a field or a value, with its exact text.

use serde_json::{Value, json};
use weirgate_deploy_core::Severity;

use crate::{load_patched, model, predictor, texts};

/// Each patch makes the manifest wrong in one way, and the error says so.
#[track_caller]
fn refused(cases: impl IntoIterator<Item = (Value, &'static str)>) {
    for (patch, expected) in cases {
        let loaded = load_patched(&patch);
        let expected = format!("service.yaml: inferenceservice default/digits: {expected}");
        assert_eq!(texts(&loaded.problems, Severity::Error), [expected], "{patch}");
        assert!(loaded.services.is_empty(), "{patch}");
    }
}

#[test]
fn known_fields_that_are_not_supported_yet() {
    let predictor_fields = [
        "canaryTrafficPercent",
        "maxReplicas",
        "scaleMetric",
        "scaleTarget",
        "autoScaling",
        "logger",
        "deploymentStrategy",
        "storageUris",
        "workerSpec",
        "nodeSelector",
        "tolerations",
        "serviceAccountName",
        "volumes",
    ];
    let model_fields = ["args", "env", "image", "ports", "runtime", "storage", "runtimeVersion", "readinessProbe"];
    let spec_fields = ["transformer", "explainer", "canary"];
    let cases = (spec_fields.map(|name| (json!({ "spec": { name: 1 } }), format!("spec.{name}"))).into_iter())
        .chain(predictor_fields.map(|name| (predictor(json!({ name: 1 })), format!("spec.predictor.{name}"))))
        .chain(model_fields.map(|name| (model(json!({ name: 1 })), format!("spec.predictor.model.{name}"))))
        .chain([(predictor(json!({ "batcher": { "timeout": 1 } })), "spec.predictor.batcher.timeout".to_owned())])
        .chain([(json!({ "metadata": { "generateName": "a" } }), "metadata.generateName".to_owned())]);
    for (patch, path) in cases {
        let expected = format!("service.yaml: inferenceservice default/digits: {path} is not supported yet: remove it");
        assert_eq!(texts(&load_patched(&patch).problems, Severity::Error), [expected]);
    }
}

#[test]
fn other_ways_to_name_a_model() {
    for name in ["sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "containers"] {
        let expected = format!(
            "service.yaml: inferenceservice default/digits: spec.predictor.{name} is not supported yet: \
             use spec.predictor.model"
        );
        for patch in [json!({ name: {} }), json!({ name: {}, "model": null })] {
            let problems = load_patched(&predictor(patch)).problems;
            assert_eq!(texts(&problems, Severity::Error), [expected.as_str()]);
        }
    }
    refused([(
        model(json!({ "name": "digits" })),
        "spec.predictor.model.name is not allowed here: remove it, metadata.name names the model",
    )]);
}

#[test]
fn unknown_fields() {
    refused([
        (
            predictor(json!({ "minReplica": 1 })),
            "spec.predictor.minReplica is not a field of InferenceService: did you mean minReplicas",
        ),
        (
            predictor(json!({ "maxreplica": 1 })),
            "spec.predictor.maxreplica is not a field of InferenceService: did you mean maxReplicas",
        ),
        (
            model(json!({ "modelformat": {} })),
            "spec.predictor.model.modelformat is not a field of InferenceService: did you mean modelFormat",
        ),
        (json!({ "spek": {} }), "spek is not a field of InferenceService: did you mean spec"),
        // Misplaced rather than mistyped.
        (
            json!({ "spec": { "minReplicas": 1 } }),
            "spec.minReplicas is not a field of InferenceService: did you mean spec.predictor.minReplicas",
        ),
        (
            predictor(json!({ "storageUri": "digits" })),
            "spec.predictor.storageUri is not a field of InferenceService: did you mean spec.predictor.model.storageUri",
        ),
        (
            predictor(json!({ "batcher": { "gpu": true } })),
            "spec.predictor.batcher.gpu is not a field of InferenceService: remove it",
        ),
        (json!({ "a.b\u{7}": 1 }), r"['a.b\u{7}'] is not a field of InferenceService: remove it"),
    ]);
}

#[test]
fn names() {
    const NAME: &str = "allowed are at most 63 of a-z, 0-9 and '-', from a letter to a letter or digit";
    let named = |name: &str| load_patched(&json!({ "metadata": { "name": name } }));
    for name in ["Digits", "1digits", "-digits", "digits-", "dig_its", "dig its", "dïgits", &"d".repeat(64)] {
        let expected = format!("service.yaml: inferenceservice default/'{name}': metadata.name is '{name}': {NAME}");
        assert_eq!(texts(&named(name).problems, Severity::Error), [expected]);
    }
    for name in ["d", "d1", "d-1", "d--1", &"d".repeat(63)] {
        assert_eq!(named(name).services.len(), 1, "{name}");
    }
    let missing = load_patched(&json!({ "metadata": { "name": null } })).problems;
    assert_eq!(
        texts(&missing, Severity::Error),
        ["service.yaml: document 1: metadata.name is missing: write the name of the service"]
    );
    let namespace = load_patched(&json!({ "metadata": { "namespace": "Team" } })).problems;
    assert_eq!(
        texts(&namespace, Severity::Error),
        ["service.yaml: inferenceservice 'Team'/digits: metadata.namespace is 'Team': allowed are at most 63 of a-z, \
          0-9 and '-', not '-' at either end"]
    );
}

#[test]
fn values_of_the_wrong_type() {
    refused([
        (
            predictor(json!({ "minReplicas": "2" })),
            "spec.predictor.minReplicas is '2': allowed is a whole number: take it out of its quotes",
        ),
        (predictor(json!({ "minReplicas": "two" })), "spec.predictor.minReplicas is 'two': allowed is a whole number"),
        (predictor(json!({ "minReplicas": 1.5 })), "spec.predictor.minReplicas is 1.5: allowed is a whole number"),
        (predictor(json!({ "timeout": true })), "spec.predictor.timeout is true: allowed is a whole number"),
        (predictor(json!({ "timeout": [5] })), "spec.predictor.timeout is a list: allowed is a whole number"),
        (predictor(json!({ "batcher": 16 })), "spec.predictor.batcher is 16: allowed is a mapping"),
        (predictor(json!({ "model": "digits" })), "spec.predictor.model is 'digits': allowed is a mapping"),
        (json!({ "spec": [] }), "spec is a list: allowed is a mapping"),
        (
            model(json!({ "modelFormat": { "version": 1 } })),
            "spec.predictor.model.modelFormat.version is 1: allowed is text: put it in quotes",
        ),
        (model(json!({ "storageUri": {} })), "spec.predictor.model.storageUri is a mapping: allowed is text"),
        (
            model(json!({ "protocolVersion": "v3" })),
            "spec.predictor.model.protocolVersion is 'v3': allowed is v1, v2, grpc-v1, grpc-v2",
        ),
        (
            model(json!({ "resources": { "requests": { "memory": "lots" } } })),
            "spec.predictor.model.resources.requests.memory is 'lots': allowed is a quantity such as 2, 1.5, 500m or 512Mi",
        ),
        (
            json!({ "metadata": { "labels": { "tier": 1 } } }),
            "metadata.labels.tier is 1: allowed is text: put it in quotes",
        ),
        (
            json!({ "metadata": { "annotations": { "example.org/on": true } } }),
            "metadata.annotations['example.org/on'] is true: allowed is text: put it in quotes",
        ),
    ]);
    let metadata = load_patched(&json!({ "metadata": "digits" })).problems;
    assert_eq!(
        texts(&metadata, Severity::Error),
        ["service.yaml: document 1: metadata is 'digits': allowed is a mapping"]
    );
}

#[test]
fn numbers_out_of_range() {
    refused([
        (
            predictor(json!({ "minReplicas": -1 })),
            "spec.predictor.minReplicas is -1: allowed is a whole number from 0 to 2147483647",
        ),
        (
            predictor(json!({ "containerConcurrency": -5 })),
            "spec.predictor.containerConcurrency is -5: allowed is a whole number from 0 to 2147483647",
        ),
        (
            predictor(json!({ "timeout": 0 })),
            "spec.predictor.timeout is 0: allowed is a whole number from 1 to 2147483647",
        ),
        (
            predictor(json!({ "timeout": i64::MAX })),
            "spec.predictor.timeout is 9223372036854775807: allowed is a whole number from 1 to 2147483647",
        ),
        (
            predictor(json!({ "batcher": { "maxBatchSize": 1_u64 << 40 } })),
            "spec.predictor.batcher.maxBatchSize is 1099511627776: allowed is a whole number from 1 to 2147483647",
        ),
        (
            predictor(json!({ "minReplicas": u64::MAX })),
            "spec.predictor.minReplicas is 18446744073709551615: allowed is a whole number",
        ),
        (
            model(json!({ "resources": { "limits": { "cpu": "0" } } })),
            "spec.predictor.model.resources.limits.cpu is '0': allowed is a quantity of CPUs above 0, such as 2 or 500m",
        ),
        (
            model(json!({ "resources": { "limits": { "cpu": "-1" } } })),
            "spec.predictor.model.resources.limits.cpu is '-1': allowed is a quantity such as 2, 1.5, 500m or 512Mi",
        ),
        (
            model(json!({ "resources": { "limits": { "nvidia.com/gpu": 1 } } })),
            "spec.predictor.model.resources.limits['nvidia.com/gpu'] is not supported yet: remove it",
        ),
        (
            model(json!({ "resources": { "limits": { "memry": "1Gi" } } })),
            "spec.predictor.model.resources.limits.memry is not a field of InferenceService: did you mean memory",
        ),
    ]);
}

#[test]
fn models() {
    refused([
        (predictor(json!({ "model": null })), "spec.predictor.model is missing: write its modelFormat and storageUri"),
        (json!({ "spec": null }), "spec.predictor.model is missing: write its modelFormat and storageUri"),
        (
            model(json!({ "modelFormat": { "name": "sklearn" } })),
            "spec.predictor.model.modelFormat.name 'sklearn' is not supported yet: supported is onnx",
        ),
        (model(json!({ "modelFormat": null })), "spec.predictor.model.modelFormat.name is missing: write onnx"),
        (
            model(json!({ "storageUri": null })),
            "spec.predictor.model.storageUri is missing: write the path of the model",
        ),
        (
            model(json!({ "storageUri": "" })),
            "spec.predictor.model.storageUri is empty: write a local path or file:///absolute/path",
        ),
        (
            model(json!({ "storageUri": "a\u{0}b" })),
            r"spec.predictor.model.storageUri is 'a\0b': a path can't hold the character 0, remove it",
        ),
        (
            model(json!({ "storageUri": "file:///a%00b" })),
            "spec.predictor.model.storageUri is 'file:///a%00b': a path can't hold the character 0, remove it",
        ),
        (
            model(json!({ "storageUri": "file://host/a" })),
            "spec.predictor.model.storageUri is 'file://host/a': a file URI names no host and no relative path, \
             write file:///absolute/path",
        ),
        (
            model(json!({ "storageUri": "file:digits" })),
            "spec.predictor.model.storageUri is 'file:digits': a file URI names no host and no relative path, \
             write file:///absolute/path",
        ),
    ]);
    for wrong in ["file:///a%", "file:///a%2", "file:///a%zz", "file:///a%+1", "file:///a%ff"] {
        let expected = format!(
            "service.yaml: inferenceservice default/digits: spec.predictor.model.storageUri is '{wrong}': each % in a \
             file URI takes two hexadecimal digits that spell UTF-8, write % as %25"
        );
        let problems = load_patched(&model(json!({ "storageUri": wrong }))).problems;
        assert_eq!(texts(&problems, Severity::Error), [expected]);
    }
}

#[test]
fn storage_that_is_not_local() {
    for scheme in ["s3", "gs", "hf", "pvc", "http", "https", "oci", "hdfs", "webhdfs", "S3"] {
        let expected = format!(
            "service.yaml: inferenceservice default/digits: spec.predictor.model.storageUri is '{scheme}://a/b': storage \
             scheme '{}' is not supported yet: copy the model to a local path and write that, or file:///absolute/path",
            scheme.to_lowercase()
        );
        let problems = load_patched(&model(json!({ "storageUri": format!("{scheme}://a/b") }))).problems;
        assert_eq!(texts(&problems, Severity::Error), [expected]);
    }
}

#[test]
fn annotations() {
    let annotated = |name: &str, value: &str| json!({ "metadata": { "annotations": { name: value } } });
    for name in ["sticky", "retry", "upstream", "stream-idle-timeout"] {
        let expected = format!(
            "service.yaml: inferenceservice default/digits: metadata.annotations['weirgate.dev/{name}'] is not supported \
             yet: remove it"
        );
        let problems = load_patched(&annotated(&format!("weirgate.dev/{name}"), "x")).problems;
        assert_eq!(texts(&problems, Severity::Error), [expected]);
    }
    for value in ["0", "-1", "many", "1.5", "", " 1"] {
        let expected = format!(
            "service.yaml: inferenceservice default/digits: metadata.annotations['weirgate.dev/max-queued-requests'] is \
             '{value}': allowed is a whole number of at least 1, in quotes"
        );
        let problems = load_patched(&annotated("weirgate.dev/max-queued-requests", value)).problems;
        assert_eq!(texts(&problems, Severity::Error), [expected]);
    }
    refused([
        (
            annotated("weirgate.dev/max-queued-request", "1"),
            "metadata.annotations['weirgate.dev/max-queued-request'] is not an annotation of Weirgate: did you mean \
             weirgate.dev/max-queued-requests",
        ),
        (
            annotated("weirgate.dev/color", "blue"),
            "metadata.annotations['weirgate.dev/color'] is not an annotation of Weirgate: remove it",
        ),
    ]);
}

#[test]
fn all_problems_are_told_at_once() {
    let loaded = load_patched(&json!({
        "metadata": { "annotations": { "weirgate.dev/retry": "idempotent" } },
        "spec": {
            "canary": [],
            "predictor": {
                "minReplicas": -1,
                "timeout": "20",
                "batcher": { "maxBatchSizes": 4 },
                "model": { "modelFormat": { "name": "pmml" }, "storageUri": "s3://a/b" },
            },
        },
    }));
    let paths: Vec<_> = loaded.problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "metadata.annotations['weirgate.dev/retry']",
            "spec.canary",
            "spec.predictor.batcher.maxBatchSizes",
            "spec.predictor.minReplicas",
            "spec.predictor.model.modelFormat.name",
            "spec.predictor.model.storageUri",
            "spec.predictor.timeout",
        ]
    );
}
