//! What a manifest that is in order becomes.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use weirgate_deploy_core::{
    BatcherPlan, InferenceService, ModelFormat, ModelPlan, ServicePlan, Severity, claimed_twice, load, plan,
};

use crate::{load_patched, load_text, manifest, model, predictor, texts};

#[track_caller]
fn planned(patch: &Value) -> ServicePlan {
    let mut loaded = load_patched(patch);
    assert_eq!(texts(&loaded.problems, Severity::Error), [""; 0], "{patch}");
    loaded.services.remove(0).plan
}

fn count(number: usize) -> Option<NonZeroUsize> {
    NonZeroUsize::new(number)
}

#[test]
fn defaults() {
    let expected = ServicePlan {
        namespace: "default".to_owned(),
        name: "digits".to_owned(),
        model: ModelPlan { format: ModelFormat::Onnx, location: PathBuf::from("/manifests/digits") },
        replicas: NonZeroUsize::MIN,
        container_concurrency: None,
        timeout: Duration::from_secs(300),
        batcher: BatcherPlan { max_batch_size: None, max_latency: None },
        max_queued_requests: None,
        cpu_limit: None,
    };
    assert_eq!(planned(&json!({})), expected);
    assert_eq!(load_patched(&json!({})).problems, []);
}

#[test]
fn everything_that_is_acted_on() {
    let text = r#"
apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
metadata:
  name: digits
  namespace: team-1
  labels: {team: vision, answer: no}
  annotations:
    weirgate.dev/max-queued-requests: "500"
    serving.kserve.io/deploymentMode: Standard
  uid: 2f6c
  resourceVersion: "81"
spec:
  predictor:
    minReplicas: 3
    containerConcurrency: 16
    timeout: 20
    batcher: {maxBatchSize: 8, maxLatency: 40}
    model:
      modelFormat: {name: onnx, version: "1"}
      protocolVersion: grpc-v2
      storageUri: file:///models/digits%201
      resources: {limits: {cpu: 1500m}}
status: {conditions: []}
"#;
    let loaded = load_text(text);
    assert_eq!(loaded.problems, []);
    let expected = ServicePlan {
        namespace: "team-1".to_owned(),
        name: "digits".to_owned(),
        model: ModelPlan { format: ModelFormat::Onnx, location: PathBuf::from("/models/digits 1") },
        replicas: count(3).unwrap(),
        container_concurrency: count(16),
        timeout: Duration::from_secs(20),
        batcher: BatcherPlan { max_batch_size: count(8), max_latency: Some(Duration::from_millis(40)) },
        max_queued_requests: count(500),
        cpu_limit: count(2),
    };
    assert_eq!(loaded.services[0].plan, expected);
    let service = &loaded.services[0].service;
    assert_eq!(service.metadata.labels["answer"], "no", "only true and false are booleans");
    // What was written can be written again, and means the same.
    let again = serde_json::to_string(service).unwrap();
    assert_eq!(load_text(&again).services, loaded.services);
    assert_eq!(plan(service, "service.yaml", Path::new("/manifests")), (Some(expected), vec![]));
}

#[test]
fn zero_and_less_mean_no_limit_where_they_do_in_kserve() {
    assert_eq!(planned(&predictor(json!({ "containerConcurrency": 0 }))).container_concurrency, None);
    for unset in [0, -1, i64::MIN] {
        let batcher = json!({ "maxBatchSize": unset, "maxLatency": unset });
        assert_eq!(planned(&predictor(json!({ "batcher": batcher }))).batcher, BatcherPlan::default());
    }
    assert_eq!(planned(&predictor(json!({ "batcher": {} }))).batcher, BatcherPlan::default());
}

#[test]
fn cpu_limits_are_whole_cpus() {
    let limits =
        [(json!("500m"), 1), (json!("2"), 2), (json!("1.5"), 2), (json!(2), 2), (json!(0.5), 1), (json!("1e1"), 10)];
    for (limit, cpus) in limits {
        let patch = model(json!({ "resources": { "limits": { "cpu": limit } } }));
        assert_eq!(planned(&patch).cpu_limit, count(cpus), "{limit}");
    }
}

#[test]
fn null_is_absent() {
    let text = manifest(&json!({})).to_string().replace(r#""model":"#, r#""timeout":null,"logger":null,"model":"#);
    let loaded = load_text(&text);
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.services[0].plan, planned(&json!({})));
}

#[test]
fn what_has_no_effect_yet_is_said() {
    let loaded = load_patched(&predictor(json!({
        "minReplicas": 0,
        "model": { "resources": { "limits": { "memory": "1Gi" }, "requests": { "cpu": 1 } } },
    })));
    let warnings = texts(&loaded.problems, Severity::Warning);
    let subject = "service.yaml: inferenceservice default/digits: spec.predictor";
    assert_eq!(
        warnings,
        [
            format!("{subject}.minReplicas is 0: scale to zero is not built yet, 1 replica runs all the time"),
            format!(
                "{subject}.model.resources.limits.memory has no effect yet: replicas of one process share its memory"
            ),
            format!(
                "{subject}.model.resources.requests has no effect yet: replicas of one process are not placed by it"
            ),
        ]
    );
    assert_eq!(loaded.problems.len(), warnings.len());
    assert_eq!(loaded.services[0].plan.replicas.get(), 1);
}

#[test]
fn relative_paths_start_at_the_base() {
    let text = manifest(&model(json!({ "storageUri": "../models/./digits/" }))).to_string();
    let location = |base: &str| load(&text, "a.yaml", Path::new(base)).services[0].plan.model.location.clone();
    assert_eq!(location("/manifests"), Path::new("/manifests/../models/digits"));
    assert_eq!(location("manifests"), Path::new("manifests/../models/digits"));
    assert_eq!(location(""), Path::new("../models/digits"));
}

#[test]
fn a_name_has_one_claim_in_each_namespace() {
    let service = |namespace: &str, origin: &str| {
        let text = manifest(&json!({ "metadata": { "namespace": namespace } })).to_string();
        load(&text, origin, Path::new("")).services.remove(0)
    };
    let services = [service("default", "a.yaml"), service("other", "b.yaml"), service("default", "c.yaml")];
    let problems = claimed_twice(&services);
    assert_eq!(
        texts(&problems, Severity::Error),
        [
            "c.yaml: inferenceservice default/digits: metadata.name is claimed twice, by document 1 of a.yaml and document 1 \
          of c.yaml: rename or remove one of them"
        ]
    );
    assert_eq!(claimed_twice(&services[..2]), []);
}

#[test]
fn a_typed_service_is_judged_like_its_text() {
    let (none, problems) = plan(&InferenceService::default(), "api", Path::new(""));
    assert_eq!(none, None);
    assert_eq!(
        texts(&problems, Severity::Error),
        [
            "api: inferenceservice default/'': metadata.name is missing: write the name of the service",
            "api: inferenceservice default/'': spec.predictor.model is missing: write its modelFormat and storageUri",
        ]
    );
}
