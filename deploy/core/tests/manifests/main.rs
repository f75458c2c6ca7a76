//! Manifests in, plans and problems out.

#![allow(clippy::unwrap_used)]

mod canaries;
mod docs;
mod examples;
mod executors;
mod plans;
mod properties;
mod refusals;
mod revisions;
mod rollouts;
mod texts;

use std::path::Path;

use serde_json::{Value, json};
use weirgate_deploy_core::{Loaded, Problem, ServicePlan, Severity, load};

/// The smallest manifest that runs, with `patch` laid over it; a null in the patch takes a field out.
fn manifest(patch: &Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": { "name": "digits" },
        "spec": { "predictor": { "model": { "modelFormat": { "name": "onnx" }, "storageUri": "digits" } } },
    });
    lay_over(&mut manifest, patch);
    manifest
}

/// As `application/merge-patch+json` does.
fn lay_over(target: &mut Value, patch: &Value) {
    match (target.as_object_mut(), patch.as_object()) {
        (Some(target), Some(patch)) => {
            for (name, value) in patch {
                match value {
                    Value::Null => drop(target.remove(name)),
                    value => lay_over(target.entry(name.as_str()).or_insert(Value::Null), value),
                }
            }
        }
        (None, Some(_)) => {
            *target = json!({});
            lay_over(target, patch);
        }
        (_, None) => *target = patch.clone(),
    }
}

/// `{"spec": {"predictor": …}}`
fn predictor(patch: Value) -> Value {
    json!({ "spec": { "predictor": patch } })
}

/// `{"spec": {"predictor": {"model": …}}}`
fn model(patch: Value) -> Value {
    predictor(json!({ "model": patch }))
}

fn annotated(name: &str, value: &str) -> Value {
    json!({ "metadata": { "annotations": { name: value } } })
}

fn load_text(text: &str) -> Loaded {
    load(text, "service.yaml", Path::new("/manifests"))
}

fn load_patched(patch: &Value) -> Loaded {
    load_text(&manifest(patch).to_string())
}

fn texts(problems: &[Problem], severity: Severity) -> Vec<String> {
    problems.iter().filter(|problem| problem.severity == severity).map(Problem::to_string).collect()
}

/// The plan of the patched manifest, of which nothing bad may be said.
#[track_caller]
fn planned(patch: &Value) -> ServicePlan {
    let mut loaded = load_patched(patch);
    let bad: Vec<_> = loaded.problems.iter().filter(|problem| problem.severity > Severity::Warning).collect();
    assert!(bad.is_empty(), "{patch}: {bad:?}");
    loaded.services.remove(0).plan.unwrap()
}
