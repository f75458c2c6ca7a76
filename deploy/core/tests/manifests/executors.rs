//! Who executes: engines, commands and servers elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use weirgate_deploy_core::{
    CommandPlan, Executor, Isolation, PortProtocol, ProbeCheck, ProbePlan, Retry, RevisionPlan, Severity, TrafficPlan,
    UpstreamPlan, UpstreamProtocol, revision, rollout_edit,
};

use crate::{annotated, lay_over, load_patched, planned, predictor, texts};

const SUBJECT: &str = "service.yaml: inferenceservice default/digits:";

fn container(patch: Value) -> Value {
    let mut container = json!({ "name": "kserve-container", "command": ["serve"] });
    lay_over(&mut container, &patch);
    predictor(json!({ "model": null, "containers": [container] }))
}

#[track_caller]
fn command(patch: Value) -> CommandPlan {
    match planned(&container(patch)).predictor.executor {
        Executor::Command(plan) => *plan,
        other => panic!("{other:?}"),
    }
}

/// Annotations of the predictor.
fn noted(annotations: Value) -> Value {
    predictor(json!({ "annotations": annotations }))
}

#[track_caller]
fn upstream(revision: &RevisionPlan) -> &UpstreamPlan {
    match &revision.executor {
        Executor::Upstream(plan) => plan,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn says(patch: &Value, severity: Severity, expected: &str) {
    let found = texts(&load_patched(patch).problems, severity);
    assert_eq!(found, [format!("{SUBJECT} {expected}")], "{patch}");
}

#[test]
fn a_container_becomes_a_command() {
    let plan = command(json!({
        "args": ["--model_name", "v3", "--port=$(PORT)"],
        "env": [{ "name": "A", "value": "1" }, { "name": "B" }],
        "workingDir": "server",
        "ports": [{ "containerPort": 9000, "name": "grpc1" }],
    }));
    let expected = CommandPlan {
        name: "kserve-container".to_owned(),
        command: ["serve", "--model_name", "v3", "--port=$(PORT)"].map(str::to_owned).to_vec(),
        env: vec![("A".to_owned(), "1".to_owned()), ("B".to_owned(), String::new())],
        model_name: Some("v3".to_owned()),
        working_dir: Some(PathBuf::from("/manifests/server")),
        port: Some(9000),
        speaks: PortProtocol::Grpc,
        protocols: None,
        startup: None,
        readiness: None,
        liveness: None,
        grace: Duration::from_secs(30),
    };
    assert_eq!(plan, expected);
    for (name, speaks) in [("http1", PortProtocol::Http1), ("h2c", PortProtocol::H2c), ("grpc", PortProtocol::Grpc)] {
        assert_eq!(command(json!({ "ports": [{ "containerPort": 9000, "name": name }] })).speaks, speaks, "{name}");
    }
    let mut spoken = container(json!({}));
    lay_over(&mut spoken, &noted(json!({ "weirgate.dev/upstream-protocol": "v1" })));
    match planned(&spoken).predictor.executor {
        Executor::Command(plan) => assert_eq!(plan.protocols, Some(vec![UpstreamProtocol::V1])),
        other => panic!("{other:?}"),
    }
    let patch = container(json!({ "resources": { "limits": { "memory": "1Gi", "cpu": 2 } } }));
    let plan = planned(&patch).predictor;
    assert_eq!((plan.memory, plan.cpu_limit), (Some(1 << 30), None));
    assert_eq!(revision("digits", &plan.predictor).unwrap(), plan);
}

#[test]
fn probes_have_kubernetes_defaults_and_name_their_port_by_number_or_name() {
    let seconds = Duration::from_secs;
    let plan = command(json!({
        "ports": [{ "containerPort": 8080, "name": "http" }],
        "startupProbe": { "tcpSocket": { "port": 8080 }, "periodSeconds": 1, "failureThreshold": 60 },
        "readinessProbe": {
            "httpGet": { "port": "http", "path": "ready", "httpHeaders": [{ "name": "a", "value": "b" }] },
        },
        "livenessProbe": { "grpc": { "port": 9000, "service": "digits" }, "initialDelaySeconds": 5 },
    }));
    let defaults = ProbePlan {
        check: ProbeCheck::Tcp { port: None },
        initial_delay: seconds(0),
        period: seconds(10),
        timeout: seconds(1),
        success_threshold: 1,
        failure_threshold: 3,
    };
    let startup = ProbePlan { period: seconds(1), failure_threshold: 60, ..defaults.clone() };
    assert_eq!(plan.startup, Some(startup));
    let headers = vec![("a".to_owned(), "b".to_owned())];
    let check = ProbeCheck::Http { path: "/ready".to_owned(), port: None, headers };
    assert_eq!(plan.readiness, Some(ProbePlan { check, ..defaults.clone() }));
    let check = ProbeCheck::Grpc { port: Some(9000), service: Some("digits".to_owned()) };
    assert_eq!(plan.liveness, Some(ProbePlan { check, initial_delay: seconds(5), ..defaults }));
}

#[test]
fn what_no_process_can_be_is_refused() {
    let at = "spec.predictor.containers[0]";
    for (patch, severity, expected) in [
        (json!({ "command": [""] }), Severity::Error, "command[0] is empty: write the program"),
        (json!({ "env": [{ "name": "A=B" }] }), Severity::Error, "env[0].name is 'A=B': write a name without '='"),
        (
            json!({ "ports": [{ "containerPort": 70_000 }] }),
            Severity::Error,
            "ports[0].containerPort is 70000: allowed is a whole number from 1 to 65535",
        ),
        (
            json!({ "readinessProbe": { "httpGet": { "port": "web" } } }),
            Severity::Error,
            "readinessProbe.httpGet.port is 'web': no port of the container has that name",
        ),
        (
            json!({ "livenessProbe": { "grpc": {}, "exec": { "command": ["a"] } } }),
            Severity::Error,
            "livenessProbe holds grpc, exec: exactly one is allowed, remove the others",
        ),
        (
            json!({ "startupProbe": { "periodSeconds": 5 } }),
            Severity::Error,
            "startupProbe does not say how: write one of httpGet, tcpSocket, grpc, exec",
        ),
        (
            json!({ "env": [{ "name": "A", "valueFrom": { "secretKeyRef": {} } }] }),
            Severity::Unsupported,
            "env[0].valueFrom is not supported: write a value, or give the variable to the gateway",
        ),
        (
            json!({ "env": [{ "name": "STORAGE_URI", "value": "s3://a" }] }),
            Severity::Unsupported,
            "env[0] names STORAGE_URI, which is not supported for containers: no storage initializer runs here; use model, or \
             copy the model to this machine and give the \
             program its path",
        ),
        (
            json!({ "image": "a:1" }),
            Severity::Warning,
            "image has no effect: no image is run, command is, as a child process",
        ),
    ] {
        says(&container(patch), severity, &format!("{at}.{expected}"));
    }
}

#[test]
fn of_several_containers_one_answers() {
    let other = |name: &str| json!({ "name": name, "command": ["other"] });
    let serving = json!({ "name": "kserve-container", "command": ["serve"] });
    let refused = |containers: Value, index: usize| {
        let patch = predictor(json!({ "model": null, "containers": containers }));
        let expected = format!(
            "spec.predictor.containers[{index}] is not supported: remove it, one container answers, as a rule kserve-container"
        );
        says(&patch, Severity::Unsupported, &expected);
    };
    refused(json!([other("transformer-container"), serving]), 0);
    refused(json!([other("a"), other("b")]), 1);
}

#[test]
fn upstreams_are_replicas() {
    let plan = planned(&noted(json!({
        "weirgate.dev/upstream": "grpc://a:9000, https://b/base ,",
        "weirgate.dev/upstream-protocol": "grpc-v2,v2",
        "weirgate.dev/upstream-ca": "ca.pem",
        "weirgate.dev/upstream-client-cert": "/c.pem",
        "weirgate.dev/upstream-client-key": "/k.pem",
        "weirgate.dev/retry": "idempotent",
        "weirgate.dev/stream-idle-timeout": "30s",
    })));
    let revision_plan = &plan.predictor;
    assert_eq!(revision_plan.replicas.get(), 2);
    let found = upstream(revision_plan);
    let urls: Vec<_> = found.urls.iter().map(ToString::to_string).collect();
    assert_eq!(urls, ["grpc://a:9000", "https://b:443/base"]);
    assert_eq!(found.protocols.as_deref(), Some([UpstreamProtocol::GrpcV2, UpstreamProtocol::V2].as_slice()));
    assert_eq!(found.tls.ca, Some(PathBuf::from("/manifests/ca.pem")));
    assert_eq!(plan.settings.retry, Retry::Idempotent { hedge: false });
    assert_eq!(plan.settings.stream_idle_timeout, Some(Duration::from_secs(30)));
    assert_eq!(revision("digits", &revision_plan.predictor).as_ref(), Ok(revision_plan));
}

#[test]
fn where_an_upstream_is_written_makes_no_other_revision_and_settings_none_at_all() {
    let url = "http://a:1";
    let of_service = planned(&annotated("weirgate.dev/upstream", url)).predictor;
    let of_predictor = planned(&noted(json!({ "weirgate.dev/upstream": url }))).predictor;
    assert_eq!(of_service, of_predictor);
    assert_eq!(revision("digits", &of_service.predictor), Ok(of_service.clone()), "what is stored needs no service");
    let other = planned(&annotated("weirgate.dev/upstream", "http://a:2")).predictor;
    assert_ne!(of_service.name, other.name);

    let plain = planned(&json!({})).predictor.name;
    for (name, value, same) in [
        ("weirgate.dev/retry", "idempotent", true),
        ("weirgate.dev/stream-idle-timeout", "5", true),
        ("weirgate.dev/isolation", "thread", true),
        ("weirgate.dev/upstream", "", true),
        ("weirgate.dev/isolation", "process", false),
    ] {
        for patch in [annotated(name, value), noted(json!({ name: value }))] {
            assert_eq!(planned(&patch).predictor.name == plain, same, "{patch}");
        }
    }
    let process = planned(&annotated("weirgate.dev/isolation", "process")).predictor;
    assert!(matches!(process.executor, Executor::Model { isolation: Isolation::Process, .. }));
}

#[test]
fn conflicts_name_both_sides() {
    let error = |patch: &Value, expected: &str| says(patch, Severity::Error, expected);
    for name in ["upstream-protocol", "upstream-ca"] {
        let name = format!("weirgate.dev/{name}");
        let expected = "is not allowed without weirgate.dev/upstream: write that, or remove this";
        error(&annotated(&name, "v1"), &format!("metadata.annotations['{name}'] {expected}"));
        error(&noted(json!({ &name: "v1" })), &format!("spec.predictor.annotations['{name}'] {expected}"));
    }
    let at = |name: &str| format!("spec.predictor.annotations['weirgate.dev/{name}']");
    let with = |name: &str, value: &str| {
        noted(json!({ "weirgate.dev/upstream": "grpcs://a", format!("weirgate.dev/{name}"): value }))
    };
    error(
        &with("isolation", "process"),
        &format!(
            "{} is not allowed with weirgate.dev/upstream: remove one of them, nothing of ours runs",
            at("isolation")
        ),
    );
    error(
        &with("upstream-client-cert", "/c"),
        &format!(
            "{} is not allowed without weirgate.dev/upstream-client-key: write both, or remove this",
            at("upstream-client-cert")
        ),
    );
    error(
        &with("upstream-protocol", "v1"),
        &format!(
            "{} does not list grpc-v2, and weirgate.dev/upstream names grpcs://a:443: add it, or write another scheme",
            at("upstream-protocol")
        ),
    );
    error(
        &with("upstream-protocol", "v3"),
        &format!("{} lists 'v3': allowed are v1, v2, grpc-v2, openai", at("upstream-protocol")),
    );
    error(
        &noted(json!({ "weirgate.dev/upstream": "http://a,http://a:80" })),
        &format!("{} names http://a:80 twice: name each once", at("upstream")),
    );
    error(
        &noted(json!({ "weirgate.dev/upstream": "http://a,ftp://b,http://a:80,grpc://c/d,http://u:hush@e" })),
        &format!(
            "{} names 'ftp://b', which is not http://HOST:PORT, https://, h2c://, grpc:// or grpcs://, with a path or without; \
             and names http://a:80 twice: name each once; and names 'grpc://c/d', which has a path, which gRPC has no place \
             for: remove it; and names a URL, the 5. one, that holds a user or a password, which upstreams are not sent: \
             remove it",
            at("upstream")
        ),
    );
    let secret = load_patched(&noted(json!({ "weirgate.dev/upstream": "http://u:hush@a" })));
    assert!(secret.services.is_empty() && !format!("{:?}", secret.problems).contains("hush"), "{secret:?}");
    let mut both = container(json!({}));
    lay_over(&mut both, &noted(json!({ "weirgate.dev/isolation": "process" })));
    error(
        &both,
        &format!(
            "{} is not allowed with spec.predictor.containers: remove it, a container's replicas are processes anyway",
            at("isolation")
        ),
    );
}

#[test]
fn what_is_not_run_or_has_no_effect_is_warned_of() {
    let warned = |patch: &Value, expected: &str| says(patch, Severity::Warning, expected);
    let alone = |replicas: usize, annotations: Value| {
        predictor(json!({ "model": null, "minReplicas": replicas, "annotations": annotations }))
    };
    let url = "http://a";
    warned(
        &noted(json!({ "weirgate.dev/upstream": url })),
        "spec.predictor.model is not run: weirgate.dev/upstream names who answers",
    );
    warned(
        &alone(3, json!({ "weirgate.dev/upstream": url })),
        "spec.predictor.minReplicas is 3, and has no effect: each URL of weirgate.dev/upstream is one replica",
    );
    warned(
        &alone(1, json!({ "weirgate.dev/upstream": url, "weirgate.dev/upstream-ca": "/ca" })),
        "spec.predictor.annotations['weirgate.dev/upstream-ca'] has no effect: no URL of weirgate.dev/upstream is https or \
         grpcs",
    );
    warned(
        &noted(json!({ "prometheus.io/scrape": "true" })),
        "spec.predictor.annotations['prometheus.io/scrape'] has no effect: there is no pod to annotate",
    );
    warned(
        &noted(json!({ "weirgate.dev/sticky": "header:a" })),
        "spec.predictor.annotations['weirgate.dev/sticky'] has no effect here: it holds for the service, use \
         metadata.annotations",
    );
}

#[test]
fn a_canary_that_says_who_answers_has_nothing_of_that_from_the_service() {
    let canary = |predictor: Value| {
        let mut patch = noted(json!({ "weirgate.dev/upstream": "http://a" }));
        lay_over(&mut patch, &json!({ "spec": { "predictor": { "model": null } } }));
        patch["spec"]["canary"] = json!([{ "trafficPercent": 10, "predictor": predictor }]);
        match planned(&patch).traffic {
            TrafficPlan::Canaries(canaries) => canaries[0].revision.clone(),
            other => panic!("{other:?}"),
        }
    };
    let model = json!({ "modelFormat": { "name": "onnx" }, "storageUri": "next" });
    assert!(canary(json!({ "name": "b", "model": model })).executor.model().is_some());
    let command = json!([{ "name": "kserve-container", "command": ["serve"] }]);
    let found = canary(json!({ "name": "b", "containers": command })).executor;
    assert!(matches!(found, Executor::Command(_)), "{found:?}");
    let found = canary(json!({ "name": "b", "annotations": { "weirgate.dev/upstream": "http://b" } }));
    assert_eq!(upstream(&found).urls[0].host, "b");
}

#[test]
fn a_rollback_from_an_upstream_goes_back_to_the_model() {
    let before = planned(&json!({})).predictor;
    let loaded = load_patched(&annotated("weirgate.dev/upstream", "http://a"));
    let mut service = loaded.services[0].service.clone();
    rollout_edit::rollback(&mut service, Some(&before.predictor), false).unwrap();
    let (plan, problems) = weirgate_deploy_core::plan(&service, "rollout", std::path::Path::new("/"));
    assert_eq!(problems, []);
    assert_eq!(plan.unwrap().predictor.name, before.name);
}

#[test]
fn names_that_nothing_is_filled_in_for_are_warned_of() {
    let patch = container(json!({
        "command": ["serve", "--data=$(DATA)", "$(HOME)/m"],
        "args": ["--port=$(PORT)", "$(NOPE) $(NOPE) $$(FINE)", "$(LATE)"],
        "env": [
            { "name": "DATA", "value": "/d" },
            { "name": "BOTH", "value": "$(DATA) $(LATE)" },
            { "name": "LATE", "value": "1" },
            { "name": "PORT", "value": "9000" },
        ],
    }));
    let at = |path: &str| format!("{SUBJECT} spec.predictor.containers[0].{path}");
    let stays = "which stays as it is written, for";
    let env = format!("{stays} env does not set: add it there, or write $$ for a $ that is meant as such");
    let expected = [
        format!("{} holds '$(NOPE)', {env}", at("args[1]")),
        format!("{} holds '$(HOME)', {env}", at("command[2]")),
        format!(
            "{} holds '$(LATE)', {stays} no variable before it sets: write that before this one",
            at("env[1].value")
        ),
        format!(
            "{} is PORT, and has no effect: the gateway sets it to the port that the replica is to listen on, write \
             ports[0].containerPort",
            at("env[3].name")
        ),
    ];
    assert_eq!(texts(&load_patched(&patch).problems, Severity::Warning), expected);
}

#[test]
fn what_stands_for_a_secret_is_not_taken_for_one() {
    let patch = container(json!({ "args": ["--api-key=***"], "env": [{ "name": "A", "value": "***" }] }));
    let found = load_patched(&patch);
    let expected = ["args[0]", "env[0].value"].map(|path| {
        format!("{SUBJECT} spec.predictor.containers[0].{path} holds *** in the place of a secret: write it in full")
    });
    assert_eq!(texts(&found.problems, Severity::Error), expected);
}
