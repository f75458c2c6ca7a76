//! What a manifest that is in order becomes.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use weirgate_deploy_core::{
    BatcherPlan, Executor, InferenceService, Isolation, Location, ModelArguments, ModelFormat, ModelPlan, Replacement,
    Retry, ServicePlan, Settings, Severity, TrafficPlan, claimed_twice, load, plan,
};
use weirgate_protocol::StickyKey;

use crate::{annotated, load_patched, load_text, manifest, model, planned, predictor, texts};

fn count(number: usize) -> Option<NonZeroUsize> {
    NonZeroUsize::new(number)
}

#[test]
fn defaults() {
    let plan = planned(&json!({}));
    let expected = ServicePlan {
        namespace: "default".to_owned(),
        name: "digits".to_owned(),
        settings: Settings {
            timeout: Duration::from_secs(300),
            max_queued_requests: None,
            sticky: None,
            retry: Retry::default(),
            stream_idle_timeout: None,
            replacement: Replacement::StartFirst,
            stopped: false,
        },
        predictor: plan.predictor.clone(),
        traffic: TrafficPlan::Percent(None),
    };
    assert_eq!(plan, expected);
    let revision = plan.predictor;
    assert!(revision.name.starts_with("digits-predictor-"), "{}", revision.name);
    assert_eq!((revision.variant, revision.replicas.get()), (None, 1));
    let location = Location::Path(PathBuf::from("/manifests/digits"));
    let model = ModelPlan { format: ModelFormat::Onnx, location, arguments: ModelArguments::default() };
    assert_eq!(revision.executor, Executor::Model { model, isolation: Isolation::Thread });
    assert_eq!(revision.batcher, BatcherPlan { max_batch_size: None, max_latency: None });
    assert_eq!((revision.container_concurrency, revision.cpu_limit, revision.memory), (None, None, None));
    let predictor = serde_json::to_value(&revision.predictor).unwrap();
    assert_eq!(
        predictor,
        json!({
            "minReplicas": 1,
            "model": {
                "modelFormat": { "name": "onnx" },
                "protocolVersion": "v1",
                "storageUri": "/manifests/digits",
            },
        })
    );
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
    weirgate.dev/sticky: cookie:SID
    serving.kserve.io/deploymentMode: Serverless
    serving.kserve.io/stop: "True"
  uid: 2f6c
  resourceVersion: "81"
spec:
  predictor:
    name: v7
    minReplicas: 3
    containerConcurrency: 16
    timeout: 20
    canaryTrafficPercent: 15
    batcher: {maxBatchSize: 8, maxLatency: 40}
    deploymentStrategy: {type: Recreate}
    model:
      modelFormat: {name: onnx, version: "1"}
      protocolVersion: grpc-v2
      storageUri: file:///models/digits%201
      resources: {limits: {cpu: 1500m, memory: 1Gi}, requests: {memory: 512Mi}}
status: {conditions: []}
"#;
    let loaded = load_text(text);
    assert_eq!(loaded.problems, []);
    let service = &loaded.services[0].service;
    let found = loaded.services[0].plan.clone().unwrap();
    let settings = Settings {
        timeout: Duration::from_secs(20),
        max_queued_requests: count(500),
        sticky: StickyKey::parse("cookie:SID"),
        retry: Retry::default(),
        stream_idle_timeout: None,
        replacement: Replacement::StopFirst,
        stopped: true,
    };
    assert_eq!((found.namespace.as_str(), found.name.as_str()), ("team-1", "digits"));
    assert_eq!((&found.settings, &found.traffic), (&settings, &TrafficPlan::Percent(Some(15))));
    let revision = &found.predictor;
    assert_eq!((revision.variant.as_deref(), revision.replicas.get()), (Some("v7"), 3));
    let location = Location::Path(PathBuf::from("/models/digits 1"));
    let model = ModelPlan { format: ModelFormat::Onnx, location, arguments: ModelArguments::default() };
    assert_eq!(revision.executor, Executor::Model { model, isolation: Isolation::Thread });
    let batcher = BatcherPlan { max_batch_size: count(8), max_latency: Some(Duration::from_millis(40)) };
    assert_eq!(revision.batcher, batcher);
    assert_eq!((revision.container_concurrency, revision.cpu_limit), (count(16), count(2)));
    assert_eq!(revision.memory, Some(512 << 20));

    assert_eq!(service.metadata.labels["answer"], "no", "only true and false are booleans");
    assert_eq!(service.metadata.annotations["serving.kserve.io/deploymentMode"], "Knative");
    // What was written can be written again, and means the same.
    let again = serde_json::to_string(service).unwrap();
    assert_eq!(load_text(&again).services, loaded.services);
    assert_eq!(plan(service, "service.yaml", Path::new("/manifests")), (Some(found), vec![]));
}

#[test]
fn stop_first_where_the_strategy_leaves_no_room_for_two() {
    let update = |surge: Value| json!({ "rollingUpdate": { "maxSurge": surge, "maxUnavailable": 1 } });
    let cases = [
        (json!({ "type": "Recreate" }), Replacement::StopFirst),
        (update(json!(0)), Replacement::StopFirst),
        (update(json!("0%")), Replacement::StopFirst),
        (update(json!(1)), Replacement::StartFirst),
        (update(json!("25%")), Replacement::StartFirst),
        (json!({ "type": "RollingUpdate" }), Replacement::StartFirst),
        (json!({}), Replacement::StartFirst),
    ];
    for (strategy, expected) in cases {
        let plan = planned(&predictor(json!({ "deploymentStrategy": strategy })));
        assert_eq!(plan.settings.replacement, expected, "{strategy}");
    }
}

#[test]
fn memory_is_the_request_or_else_the_limit() {
    let memory = |resources: Value| planned(&model(json!({ "resources": resources }))).predictor.memory;
    assert_eq!(memory(json!({ "limits": { "memory": "1Gi" } })), Some(1 << 30));
    assert_eq!(memory(json!({ "limits": { "memory": "1Gi" }, "requests": { "memory": "1Ki" } })), Some(1 << 10));
    assert_eq!(memory(json!({ "requests": { "memory": 0 } })), None);
}

#[test]
fn frameworks_are_models() {
    for name in
        ["sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "pmml", "lightgbm", "paddle"]
    {
        let patch = predictor(json!({ "model": null, name: { "storageUri": "digits", "runtimeVersion": "1" } }));
        let loaded = load_patched(&patch);
        let service = &loaded.services[0];
        let version = if matches!(name, "triton" | "onnx" | "huggingface") { "v2" } else { "v1" };
        let expected = json!({
            "modelFormat": { "name": name },
            "protocolVersion": version,
            "storageUri": "/manifests/digits",
            "runtimeVersion": "1",
        });
        let written = serde_json::to_value(&service.service).unwrap();
        assert_eq!(written["spec"]["predictor"], json!({ "minReplicas": 1, "model": expected }));
        assert_eq!(service.plan.is_some(), matches!(name, "onnx" | "huggingface"));
    }
    let explicit = predictor(json!({ "model": null, "onnx": { "storageUri": "digits", "protocolVersion": "v1" } }));
    assert_eq!(planned(&explicit), planned(&json!({})));
}

#[test]
fn language_models_are_passed_calls_and_have_the_name_of_their_arguments() {
    let args = json!(["--model_name=helper", "--max-model-len=4096"]);
    for name in ["gguf", "huggingface"] {
        let model = json!({ "modelFormat": { "name": name }, "storageUri": "digits", "args": args });
        let executor = planned(&predictor(json!({ "model": model }))).predictor.executor;
        let Executor::Model { model, .. } = &executor else { panic!("{executor:?}") };
        assert_eq!((model.format, executor.passes()), (ModelFormat::Language, true));
        assert!(!executor.is_remote(), "it is in this process");
        assert_eq!(executor.model_name(), Some("helper"));
        assert_eq!(model.arguments.max_model_len, NonZeroUsize::new(4096));
    }
    let tensors = planned(&json!({})).predictor.executor;
    assert_eq!((tensors.passes(), tensors.model_name()), (false, None));
}

#[test]
fn zero_and_less_mean_no_limit_where_they_do_in_kserve() {
    assert_eq!(planned(&predictor(json!({ "containerConcurrency": 0 }))).predictor.container_concurrency, None);
    for unset in [0, -1, i64::MIN] {
        let batcher = json!({ "maxBatchSize": unset, "maxLatency": unset });
        assert_eq!(planned(&predictor(json!({ "batcher": batcher }))).predictor.batcher, BatcherPlan::default());
    }
    assert_eq!(planned(&predictor(json!({ "batcher": {} }))).predictor.batcher, BatcherPlan::default());
}

#[test]
fn cpu_limits_are_whole_cpus() {
    let limits =
        [(json!("500m"), 1), (json!("2"), 2), (json!("1.5"), 2), (json!(2), 2), (json!(0.5), 1), (json!("1e1"), 10)];
    for (limit, cpus) in limits {
        let patch = model(json!({ "resources": { "limits": { "cpu": limit } } }));
        assert_eq!(planned(&patch).predictor.cpu_limit, count(cpus), "{limit}");
    }
}

#[test]
fn null_is_absent() {
    let text = manifest(&json!({})).to_string().replace(r#""model":"#, r#""timeout":null,"logger":null,"model":"#);
    let loaded = load_text(&text);
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.services[0].plan, Some(planned(&json!({}))));
}

#[test]
fn what_has_no_effect_yet_is_said() {
    let loaded = load_patched(&predictor(json!({
        "minReplicas": 0,
        "maxReplicas": 4,
        "logger": { "url": "http://sink", "mode": "all" },
        "nodeSelector": { "disk": "fast" },
        "tolerations": [],
        "batcher": { "timeout": 5 },
        "model": { "env": [{ "name": "A" }], "resources": { "limits": { "nvidia.com/gpu": 1 }, "requests": { "cpu": 1 } } },
    })));
    let subject = "service.yaml: inferenceservice default/digits: spec.predictor";
    let expected = [
        "batcher.timeout has no effect, in KServe neither: timeout of the predictor bounds every call",
        "logger has no effect yet: payloads are not logged",
        "maxReplicas has no effect yet: minReplicas replicas run, whatever the load",
        "minReplicas is 0: scale to zero is not built yet, 1 replica runs all the time",
        "model.env has no effect: the model runs in this process, not in a container",
        "model.resources.limits['nvidia.com/gpu'] has no effect yet: the model runs on the CPU",
        "model.resources.requests.cpu has no effect: replicas of one process are not placed by it",
        "nodeSelector has no effect: replicas run in this process, not in pods",
    ];
    assert_eq!(texts(&loaded.problems, Severity::Warning), expected.map(|text| format!("{subject}.{text}")));
    assert_eq!(loaded.problems.len(), expected.len());
    let plan = loaded.services[0].plan.as_ref().unwrap();
    assert_eq!(plan.predictor.replicas.get(), 1);
}

#[test]
fn relative_paths_start_at_the_base() {
    let text = manifest(&model(json!({ "storageUri": "../models/./digits/" }))).to_string();
    let location = |base: &str| {
        let plan = load(&text, "a.yaml", Path::new(base)).services[0].plan.clone().unwrap();
        plan.predictor.executor.model().unwrap().location.clone()
    };
    assert_eq!(location("/manifests"), Location::Path("/manifests/../models/digits".into()));
    assert_eq!(location("manifests"), Location::Path("manifests/../models/digits".into()));
    assert_eq!(location(""), Location::Path("../models/digits".into()));
}

#[test]
fn a_url_is_a_place_too() {
    let of = |uri: &str| planned(&model(json!({ "storageUri": uri }))).predictor;
    let executor = of("https://user:pw@host/a.tar.gz?sig=1").executor;
    let Location::Url(url) = &executor.model().unwrap().location else { panic!("no URL") };
    assert_eq!(url.as_written(), "https://user:pw@host/a.tar.gz?sig=1");
    // Its name is made of the URL as it is written: another signature may fetch something else.
    assert_ne!(of("https://host/a.onnx?sig=1").name, of("https://host/a.onnx?sig=2").name);
    assert_eq!(of("https://host/a.onnx?sig=1").name, of("https://host/a.onnx?sig=1").name);
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
            "api: inferenceservice default/'': spec.predictor.model is missing, and nothing else says who answers: write its modelFormat and storageUri, or \
              spec.predictor.containers with a command, or the annotation weirgate.dev/upstream with URLs of servers",
        ]
    );
}

#[test]
fn annotations_of_others_are_left_alone() {
    for name in ["example.org/on", "serving.kserve.io/nodegroup", "serving.kserve.io/enable-tag-routing"] {
        let loaded = load_patched(&annotated(name, "x"));
        assert_eq!(loaded.problems, []);
        assert_eq!(loaded.services[0].service.metadata.annotations[name], "x");
    }
}
