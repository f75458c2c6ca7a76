//! Whatever is written, the answer is a plan or a reason.

use proptest::prelude::*;
use serde_json::{Value, json};
use weirgate_deploy_core::{Severity, set_canary_percent};

use crate::{lay_over, load_text, manifest};

/// Lines in the shape of YAML: more of them get past the parser than of arbitrary text.
fn yaml_like() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "apiVersion: serving.kserve.io/v1beta1",
        "kind: InferenceService",
        "metadata: {name: digits}",
        "metadata:",
        "  name: digits",
        "spec:",
        "  predictor:",
        "    minReplicas: 2",
        "    canaryTrafficPercent: 15 # the new one",
        "  # a comment",
        "    batcher: {maxLatency: 40}",
        "    model: &m",
        "      storageUri: a",
        "    <<: *m",
        "---",
        "...",
        "- x",
        "? y",
        ": z",
        "'",
        "[",
        "}",
        "!!int 5",
        "|",
        "\t",
    ]);
    prop::collection::vec(word, 0..24).prop_map(|lines| lines.join("\n"))
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2_i64..3).prop_map(Value::from),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec!["2", "500m", "onnx", "v1", "file:///%41", "s3://a"]).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any_name(), inner, 0..4)
                .prop_map(|fields| fields.into_iter().collect::<Value>()),
        ]
    })
}

fn any_name() -> impl Strategy<Value = String> {
    let known = vec![
        "metadata",
        "name",
        "namespace",
        "labels",
        "annotations",
        "weirgate.dev/max-queued-requests",
        "spec",
        "predictor",
        "minReplicas",
        "containerConcurrency",
        "timeout",
        "batcher",
        "maxBatchSize",
        "maxLatency",
        "model",
        "modelFormat",
        "version",
        "protocolVersion",
        "storageUri",
        "resources",
        "limits",
        "requests",
        "cpu",
        "memory",
        "sklearn",
        "canary",
        "trafficPercent",
        "canaryTrafficPercent",
        "transformer",
        "containers",
        "command",
        "args",
        "env",
        "ports",
        "containerPort",
        "readinessProbe",
        "httpGet",
        "port",
        "weirgate.dev/upstream",
        "weirgate.dev/isolation",
        "autoScaling",
        "metrics",
        "type",
        "logger",
        "deploymentStrategy",
        "rollingUpdate",
        "maxSurge",
        "confidential",
        "nodeSelector",
        "storageUris",
        "workerSpec",
        "status",
    ];
    prop_oneof![4 => prop::sample::select(known).prop_map(str::to_owned), 1 => any::<String>()]
}

/// A value laid over the manifest somewhere on the way to its model.
fn any_patch() -> impl Strategy<Value = Value> {
    (prop::collection::vec(any_name(), 0..3), 0..4_usize, any_value()).prop_map(|(names, depth, value)| {
        let known = ["spec", "predictor", "model"][..depth].iter().map(|name| (*name).to_owned());
        let path: Vec<String> = known.chain(names).collect();
        path.into_iter().rev().fold(value, |inner, name| json!({ name: inner }))
    })
}

fn is_answered(text: &str) -> Result<(), TestCaseError> {
    let loaded = load_text(text);
    prop_assert!(!loaded.services.is_empty() || !loaded.problems.is_empty());
    for problem in &loaded.problems {
        let text = problem.to_string();
        prop_assert!(!text.contains("can't be read: "), "the table let through what the types refuse: {text}");
        prop_assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn editing_any_text_changes_only_the_percentage(text in yaml_like(), percent in prop::option::of(0_u8..=100)) {
        if let Ok(edited) = set_canary_percent(&text, 1, percent) {
            let lost: Vec<_> = text.lines().filter(|line| !edited.lines().any(|kept| kept == *line)).collect();
            prop_assert!(lost.iter().all(|line| line.contains("canaryTrafficPercent")), "{text}\n\n{edited}");
        }
    }

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        is_answered(&text)?;
    }

    #[test]
    fn yaml_like_text_is_answered(text in yaml_like()) {
        is_answered(&text)?;
    }

    #[test]
    fn a_service_has_a_plan_or_a_reason_why_not(patch in any_patch()) {
        let mut document = manifest(&json!({}));
        lay_over(&mut document, &patch);
        let text = document.to_string();
        is_answered(&text)?;
        let loaded = load_text(&text);
        let refused = loaded.problems.iter().any(|problem| problem.severity == Severity::Error);
        prop_assert_eq!(loaded.services.len(), usize::from(!refused), "{:?}", loaded.problems);
        for service in &loaded.services {
            prop_assert_eq!(service.plan.is_some(), service.unsupported.is_empty(), "{:?}", loaded.problems);
            let again = load_text(&serde_json::to_string(&service.service).unwrap());
            prop_assert_eq!(&again.services, &loaded.services);
        }
    }
}
