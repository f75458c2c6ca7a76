//! Manifests as users write them today, and which of their fields are refused.

use weirgate_deploy_core::Severity;

use crate::load_text;

/// The paths that are refused, and those that have no effect.
#[track_caller]
fn check(text: &str, refused: &[&str], idle: &[&str]) {
    let loaded = load_text(text);
    let paths = |severity: Severity| -> Vec<&str> {
        let problems = loaded.problems.iter().filter(|problem| problem.severity == severity);
        problems.map(|problem| problem.path.as_str()).collect()
    };
    assert_eq!(paths(Severity::Error), refused);
    assert_eq!(paths(Severity::Warning), idle);
    assert_eq!(loaded.services.len(), usize::from(refused.is_empty()));
}

#[test]
fn onnx_on_cpu_with_an_autoscaler() {
    check(
        include_str!("examples/onnx-hpa.yaml"),
        &[
            "spec.predictor.deploymentStrategy",
            "spec.predictor.maxReplicas",
            "spec.predictor.model.storageUri",
            "spec.predictor.scaleMetric",
            "spec.predictor.scaleTarget",
            "spec.predictor.serviceAccountName",
        ],
        &["spec.predictor.model.resources.limits.memory", "spec.predictor.model.resources.requests"],
    );
}

#[test]
fn scale_to_zero_batching_and_a_payload_log() {
    check(
        include_str!("examples/scale-to-zero.yaml"),
        &[
            "spec.predictor.logger",
            "spec.predictor.maxReplicas",
            "spec.predictor.model.modelFormat.name",
            "spec.predictor.model.storageUri",
            "spec.predictor.scaleMetric",
            "spec.predictor.scaleTarget",
        ],
        &["spec.predictor.minReplicas"],
    );
}

#[test]
fn canary_by_percent() {
    check(
        include_str!("examples/canary-percent.yaml"),
        &[
            "spec.predictor.canaryTrafficPercent",
            "spec.predictor.model.modelFormat.name",
            "spec.predictor.model.storageUri",
        ],
        &[],
    );
}

#[test]
fn canary_by_list() {
    check(include_str!("examples/canary-list.yaml"), &["spec.canary", "spec.predictor.model.storageUri"], &[]);
}

#[test]
fn llm_on_a_gpu() {
    check(
        include_str!("examples/llm.yaml"),
        &[
            "spec.predictor.maxReplicas",
            "spec.predictor.model.args",
            "spec.predictor.model.env",
            "spec.predictor.model.modelFormat.name",
            "spec.predictor.model.resources.limits['nvidia.com/gpu']",
            "spec.predictor.model.storageUri",
            "spec.predictor.nodeSelector",
            "spec.predictor.tolerations",
        ],
        &["spec.predictor.model.resources.limits.memory"],
    );
}

#[test]
fn autoscaler_on_a_query() {
    check(
        include_str!("examples/keda.yaml"),
        &[
            "spec.predictor.autoScaling",
            "spec.predictor.maxReplicas",
            "spec.predictor.model.modelFormat.name",
            "spec.predictor.model.storageUri",
        ],
        &[],
    );
}

#[test]
fn transformer_and_own_containers() {
    check(include_str!("examples/transformer.yaml"), &["spec.predictor.containers", "spec.transformer"], &[]);
}
