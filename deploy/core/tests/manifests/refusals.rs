//! Every refusal of a field or a value, with its exact text.

use serde_json::{Value, json};
use weirgate_deploy_core::Severity;

use crate::{annotated, load_patched, model, planned, predictor, texts};

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

/// Each patch asks for something that can't be acted on and would change answers: the service is known, and does not run.
#[track_caller]
fn unsupported(cases: impl IntoIterator<Item = (Value, &'static str)>) {
    for (patch, expected) in cases {
        let loaded = load_patched(&patch);
        let expected = format!("service.yaml: inferenceservice default/digits: {expected}");
        assert_eq!(texts(&loaded.problems, Severity::Unsupported), [expected], "{patch}");
        assert_eq!(texts(&loaded.problems, Severity::Error), [""; 0], "{patch}");
        let service = &loaded.services[0];
        assert_eq!(service.plan, None);
        assert_eq!(service.unsupported, loaded.problems);
    }
}

#[test]
fn what_would_change_answers() {
    let containers = json!([{ "name": "kserve-container", "args": ["--model_name=digits"] }]);
    unsupported([
        (
            json!({ "spec": { "transformer": { "minReplicas": 0, "containers": containers } } }),
            "spec.transformer is not supported yet: remove it and let clients transform",
        ),
        (
            json!({ "spec": { "explainer": { "art": { "type": "SquareAttack" } } } }),
            "spec.explainer is not supported yet: remove it, nothing would explain",
        ),
        (
            predictor(json!({ "model": null, "containers": containers })),
            "spec.predictor.containers[0].command is missing: no image is run here, write the program that the image would \
             start",
        ),
        (
            predictor(json!({ "containers": [{ "name": "transformer-container" }] })),
            "spec.predictor.containers is not supported beside model: remove one of them",
        ),
        (
            predictor(json!({ "workerSpec": { "tensorParallelSize": 2 } })),
            "spec.predictor.workerSpec is not supported yet: remove it, one process runs the model",
        ),
        (
            predictor(json!({ "storageUris": [{ "uri": "a" }], "model": { "storageUri": null } })),
            "spec.predictor.storageUris is not supported yet: use model.storageUri",
        ),
        (
            model(json!({ "storageUri": null, "storage": { "key": "a" } })),
            "spec.predictor.model.storage is not supported yet: use storageUri",
        ),
        (
            predictor(json!({ "initContainers": containers })),
            "spec.predictor.initContainers is not supported: remove it and prepare the model beforehand",
        ),
        (
            model(json!({ "args": ["--model_name=other"] })),
            "spec.predictor.model.args is not supported with the format onnx: remove it, nothing reads it",
        ),
        (
            model(json!({ "command": ["sh"] })),
            "spec.predictor.model.command is not supported: remove it, no server reads it",
        ),
        (
            model(json!({ "confidential": { "enabled": true, "resourceId": "a" } })),
            "spec.predictor.model.confidential.enabled is true: models can't be decrypted yet, remove it and store the \
             model in clear",
        ),
        (
            model(json!({ "modelFormat": { "name": "sklearn" } })),
            "spec.predictor.model.modelFormat.name 'sklearn' is not supported yet: supported are onnx, gguf and huggingface",
        ),
    ]);
    assert_eq!(load_patched(&model(json!({ "confidential": { "enabled": false } }))).problems, []);
}

#[test]
fn exactly_one_implementation() {
    let containers = json!([{ "name": "kserve-container", "image": "a:1" }]);
    refused([
        (
            predictor(json!({ "sklearn": { "storageUri": "a" } })),
            "spec.predictor holds model, sklearn: exactly one of these is allowed, remove the others",
        ),
        (
            predictor(json!({ "model": null, "xgboost": {}, "onnx": {} })),
            "spec.predictor holds xgboost, onnx: exactly one of these is allowed, remove the others",
        ),
        (
            predictor(json!({ "containers": containers })),
            "spec.predictor holds model, containers: exactly one of these is allowed, remove the others",
        ),
        (
            json!({ "spec": { "transformer": {} } }),
            "spec.transformer.containers is missing: write one container, or remove the component",
        ),
        (
            json!({ "spec": { "explainer": { "art": {}, "containers": containers } } }),
            "spec.explainer holds art, containers: exactly one of these is allowed, remove the others",
        ),
        (
            predictor(json!({ "storageUris": [{ "uri": "a" }] })),
            "spec.predictor.storageUris is not allowed with model.storageUri: remove one of them",
        ),
        (
            model(json!({ "name": "digits" })),
            "spec.predictor.model.name is not allowed here: remove it, metadata.name names the model",
        ),
        (predictor(json!({ "model": null, "sklearn": "a" })), "spec.predictor.sklearn is 'a': allowed is a mapping"),
    ]);
}

#[test]
fn unknown_fields_are_ignored() {
    let cases = [
        (
            predictor(json!({ "minReplica": 1 })),
            "spec.predictor.minReplica is not a field of InferenceService and is ignored: did you mean minReplicas",
        ),
        (
            predictor(json!({ "maxreplica": 1 })),
            "spec.predictor.maxreplica is not a field of InferenceService and is ignored: did you mean maxReplicas",
        ),
        (
            model(json!({ "modelformat": {} })),
            "spec.predictor.model.modelformat is not a field of InferenceService and is ignored: did you mean modelFormat",
        ),
        (json!({ "spek": {} }), "spek is not a field of InferenceService and is ignored: did you mean spec"),
        // Misplaced rather than mistyped.
        (
            json!({ "spec": { "minReplicas": 1 } }),
            "spec.minReplicas is not a field of InferenceService and is ignored: did you mean spec.predictor.minReplicas",
        ),
        (
            predictor(json!({ "storageUri": "digits" })),
            "spec.predictor.storageUri is not a field of InferenceService and is ignored: did you mean \
             spec.predictor.model.storageUri",
        ),
        (
            predictor(json!({ "batcher": { "gpu": true } })),
            "spec.predictor.batcher.gpu is not a field of InferenceService and is ignored: remove it",
        ),
        (
            model(json!({ "resources": { "limits": { "memry": "1Gi" } } })),
            "spec.predictor.model.resources.limits.memry is not a field of InferenceService and is ignored: did you mean \
             memory",
        ),
        (json!({ "a.b\u{7}": 1 }), r"['a.b\u{7}'] is not a field of InferenceService and is ignored: remove it"),
        (
            annotated("weirgate.dev/max-queued-request", "1"),
            "metadata.annotations['weirgate.dev/max-queued-request'] is not an annotation of Weirgate and is ignored: did \
             you mean weirgate.dev/max-queued-requests",
        ),
        (
            annotated("weirgate.dev/color", "blue"),
            "metadata.annotations['weirgate.dev/color'] is not an annotation of Weirgate and is ignored: remove it",
        ),
    ];
    for (patch, expected) in cases {
        let loaded = load_patched(&patch);
        let expected = format!("service.yaml: inferenceservice default/digits: {expected}");
        assert_eq!(texts(&loaded.problems, Severity::Warning), [expected], "{patch}");
        let plan = loaded.services[0].plan.as_ref().map(|plan| &plan.predictor.name);
        assert_eq!(plan, Some(&planned(&json!({})).predictor.name), "{patch}");
    }
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
            predictor(json!({ "deploymentStrategy": { "rollingUpdate": { "maxSurge": "some" } } })),
            "spec.predictor.deploymentStrategy.rollingUpdate.maxSurge is 'some': allowed is a whole number of at least 0, \
             or a percentage such as 25%",
        ),
        (
            predictor(json!({ "tolerations": { "key": "a" } })),
            "spec.predictor.tolerations is a mapping: allowed is a list",
        ),
        (predictor(json!({ "affinity": [] })), "spec.predictor.affinity is a list: allowed is a mapping"),
        (
            predictor(json!({ "hostNetwork": "true" })),
            "spec.predictor.hostNetwork is 'true': allowed is true or false: take it out of its quotes",
        ),
        (model(json!({ "args": "--x" })), "spec.predictor.model.args is '--x': allowed is a list"),
        (model(json!({ "args": [1] })), "spec.predictor.model.args[0] is 1: allowed is text: put it in quotes"),
        (
            predictor(json!({ "logger": { "mode": "some" } })),
            "spec.predictor.logger.mode is 'some': allowed is all, request, response",
        ),
        (
            predictor(json!({ "autoScaling": { "metrics": [{ "type": "Cpu" }] } })),
            "spec.predictor.autoScaling.metrics[0].type is 'Cpu': allowed is Resource, External, PodMetric",
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
            model(json!({ "resources": { "limits": { "cpu": 1 }, "requests": { "cpu": "1500m" } } })),
            "spec.predictor.model.resources.requests.cpu is '1500m': allowed is at most the limit, which is '1'",
        ),
        (
            model(json!({ "resources": { "limits": { "memory": "16Ei" } } })),
            "spec.predictor.model.resources.limits.memory is '16Ei': allowed are less than 16Ei",
        ),
        (
            predictor(json!({ "minReplicas": 3, "maxReplicas": 2 })),
            "spec.predictor.minReplicas is 3: allowed is at most maxReplicas, which is 2, lower one or raise the other",
        ),
        (
            predictor(json!({ "maxReplicas": -1 })),
            "spec.predictor.maxReplicas is -1: allowed is a whole number from 0 to 2147483647",
        ),
        (
            predictor(json!({ "scaleMetric": "cpu", "scaleTarget": 101 })),
            "spec.predictor.scaleTarget is 101: allowed is a whole number from 1 to 100",
        ),
        (
            predictor(json!({ "scaleTarget": 0 })),
            "spec.predictor.scaleTarget is 0: allowed is a whole number from 1 to 2147483647",
        ),
        (
            predictor(json!({ "canaryTrafficPercent": 101 })),
            "spec.predictor.canaryTrafficPercent is 101: allowed is a whole number from 0 to 100",
        ),
        (
            json!({ "spec": { "transformer": { "minReplicas": -1, "containers": [{}] } } }),
            "spec.transformer.minReplicas is -1: allowed is a whole number from 0 to 2147483647",
        ),
    ]);
}

#[test]
fn rules_between_fields() {
    let update = |surge: Value, unavailable: Value| json!({ "maxSurge": surge, "maxUnavailable": unavailable });
    refused([
        (
            predictor(json!({ "deploymentStrategy": { "rollingUpdate": update(json!(0), json!("0%")) } })),
            "spec.predictor.deploymentStrategy.rollingUpdate.maxUnavailable is 0, and so is maxSurge: nothing could ever be \
             replaced, raise one of them",
        ),
        (
            predictor(json!({ "deploymentStrategy": { "type": "Recreate", "rollingUpdate": {} } })),
            "spec.predictor.deploymentStrategy.rollingUpdate is not allowed where type is Recreate: remove one of them",
        ),
        (
            json!({
                "metadata": { "annotations": { "serving.kserve.io/autoscalerClass": "keda" } },
                "spec": { "predictor": { "scaleMetric": "cpu" } },
            }),
            "spec.predictor.scaleMetric is 'cpu': not allowed where autoscalerClass is keda, use autoScaling.metrics",
        ),
    ]);
}

#[test]
fn models() {
    refused([
        (
            predictor(json!({ "model": null })),
            "spec.predictor.model is missing, and nothing else says who answers: write its modelFormat and storageUri, or \
              spec.predictor.containers with a command, or the annotation weirgate.dev/upstream with URLs of servers",
        ),
        (
            json!({ "spec": null }),
            "spec.predictor.model is missing, and nothing else says who answers: write its modelFormat and storageUri, or \
              spec.predictor.containers with a command, or the annotation weirgate.dev/upstream with URLs of servers",
        ),
        (
            model(json!({ "modelFormat": null })),
            "spec.predictor.model.modelFormat.name is missing: write onnx, gguf or huggingface",
        ),
        (
            model(json!({ "storageUri": null })),
            "spec.predictor.model.storageUri is missing: write the path or the URL of the model",
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
    for scheme in ["s3", "gs", "hf", "pvc", "oci", "hdfs", "webhdfs", "S3"] {
        let expected = format!(
            "service.yaml: inferenceservice default/digits: spec.predictor.model.storageUri is '{scheme}://a/b': storage \
             scheme '{}' is not supported yet: write an http or https URL, or copy the model to a local path and write that, \
             or file:///absolute/path",
            scheme.to_lowercase()
        );
        let loaded = load_patched(&model(json!({ "storageUri": format!("{scheme}://a/b") })));
        assert_eq!(texts(&loaded.problems, Severity::Unsupported), [expected]);
        assert_eq!(loaded.services[0].plan, None);
    }
}

#[test]
fn annotations() {
    let cases: [(&str, &[&str], &str); 7] = [
        (
            "weirgate.dev/max-queued-requests",
            &["0", "-1", "many", "1.5", "", " 1"],
            "a whole number of at least 1, in quotes",
        ),
        ("weirgate.dev/sticky", &["", "header:", "query:user", "header:a b"], "header:NAME or cookie:NAME"),
        ("serving.kserve.io/deploymentMode", &["", "Raw", "standard"], "Standard, Knative, ModelMesh"),
        ("serving.kserve.io/autoscalerClass", &["", "vpa"], "hpa, keda, external, none"),
        ("serving.kserve.io/stop", &["", "yes", "1"], "'true' or 'false'"),
        ("weirgate.dev/retry", &["hedge", "always", "idempotent,always"], "idempotent, or idempotent,hedge"),
        (
            "weirgate.dev/stream-idle-timeout",
            &["0", "x", "-5s", "30x"],
            "seconds above 0, or a duration such as 30s or 1m30s",
        ),
    ];
    for (name, values, allowed) in cases {
        for value in values {
            let expected = format!(
                "service.yaml: inferenceservice default/digits: metadata.annotations['{name}'] is '{value}': allowed is \
                 {allowed}"
            );
            assert_eq!(texts(&load_patched(&annotated(name, value)).problems, Severity::Error), [expected]);
        }
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let loaded = load_patched(&json!({
        "metadata": { "annotations": { "weirgate.dev/retry": "always" } },
        "spec": {
            "canary": [{ "trafficPercent": 200 }],
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
            "spec.canary[0].predictor.name",
            "spec.canary[0].trafficPercent",
            "spec.predictor.batcher.maxBatchSizes",
            "spec.predictor.minReplicas",
            "spec.predictor.model.modelFormat.name",
            "spec.predictor.model.storageUri",
            "spec.predictor.timeout",
        ]
    );
}
