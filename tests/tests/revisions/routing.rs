//! From a call's address to its service: by the model's name, by host, by the begin of the path; namespaces don't mix.

use weirgate_protocol::oip;
use weirgate_tests::grpc::NOT_FOUND;
use weirgate_tests::{Caller, Grpc, Http1, Server, Service, To};

/// `sum` in two namespaces, and services whose names run into each other.
async fn two_namespaces() -> Server {
    Server::start([
        Service::sum(1).in_namespace("red"),
        Service::sum(2).in_namespace("blue"),
        Service::new("add_3").named("alone").in_namespace("red"),
        Service::new("add_1").named("a-b").in_namespace("c"),
        Service::new("add_2").named("a").in_namespace("b-c"),
    ])
    .await
}

/// Who answers, or the error.
async fn answers(server: &Server, to: &To) -> Result<String, String> {
    let [mut http, mut grpc] = Caller::both(server).await;
    let answered = http.ask(to).await.map(|answered| answered.model);
    if !to.has_prefix() {
        let over_grpc = grpc.ask(to).await.map(|answered| answered.model);
        let text = |text: String| text.split_once(": ").unwrap().1.to_owned();
        let plain = |text: String| text.trim_start_matches("{\"error\":\"").trim_end_matches("\"}").to_owned();
        assert_eq!(over_grpc.map_err(text), answered.clone().map_err(text).map_err(plain), "{to:?}");
    }
    answered
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_found_by_its_name_unless_two_claim_it() {
    let server = two_namespaces().await;
    assert_eq!(answers(&server, &To::model("alone")).await.as_deref(), Ok("add_3"));
    let error = answers(&server, &To::model("sum")).await.unwrap_err();
    assert!(error.starts_with("409") && error.contains("red/sum") && error.contains("blue/sum"), "{error}");
    let error = answers(&server, &To::model("none")).await.unwrap_err();
    assert!(error.starts_with("404") && error.contains("none"), "{error}");
    // A host that is nobody's does not hide the model.
    let to = To::model("alone").host("gateway.example.com");
    assert_eq!(answers(&server, &to).await.as_deref(), Ok("add_3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_find_the_service_of_their_namespace() {
    let server = two_namespaces().await;
    for (namespace, model) in [("red", "add_1"), ("blue", "add_2")] {
        for host in [
            format!("sum.{namespace}"),
            format!("sum.{namespace}.example.com"),
            format!("SUM.{namespace}.Example.com:8080"),
            format!("sum-predictor.{namespace}"),
            format!("sum-predictor.{namespace}.svc.cluster.local:80"),
            format!("sum-{namespace}.example.com"),
            format!("prev-sum.{namespace}.example.com"),
            format!("latest-sum-predictor.{namespace}.example.com"),
        ] {
            let found = answers(&server, &To::model("sum").host(&host)).await;
            assert_eq!(found.as_deref(), Ok(model), "{host}");
        }
    }
    let to = To::model("a-b").host("a-b-c.example.com");
    let error = answers(&server, &to).await.unwrap_err();
    assert!(error.starts_with("409") && error.contains("c/a-b") && error.contains("b-c/a"), "{error}");
    for (to, model) in [
        (To::model("a-b").host("a-b.c.example.com"), "add_1"),
        (To::model("a").host("a.b-c.example.com"), "add_2"),
        (To::model("a").prefix("/b-c/a"), "add_2"),
    ] {
        assert_eq!(answers(&server, &to).await.as_deref(), Ok(model), "{to:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_do_not_mix() {
    let server = two_namespaces().await;
    for to in [
        To::model("alone").host("sum.red.example.com"),
        To::model("alone").host("sum.blue.example.com"),
        To::model("alone").prefix("/red/sum"),
        To::model("alone").prefix("/blue/alone"),
        To::model("sum").prefix("/green/sum"),
        To::model("sum").prefix("/red/nothing"),
        To::model("a").prefix("/c/a"),
    ] {
        let error = answers(&server, &to).await.unwrap_err();
        assert!(error.starts_with("404"), "{to:?}: {error}");
    }
    // A path says more than a host.
    let to = To::model("sum").host("sum.red.example.com").prefix("/blue/sum");
    assert_eq!(answers(&server, &to).await.as_deref(), Ok("add_2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_of_a_service_lies_behind_its_path() {
    let server =
        Server::start([Service::sum(1).in_namespace("red"), Service::new("broken").named("sum").in_namespace("blue")])
            .await;
    let mut client = Http1::connect(server.data).await;
    for label in ["sum", "sum-predictor", "latest-sum", "prev-sum"] {
        let at = |namespace: &str| To::model("sum").prefix(&format!("/{namespace}/{label}"));
        for path in ["/v2", "/v2/health/live"] {
            for namespace in ["red", "blue"] {
                assert_eq!(client.send(at(namespace).get(path)).await.status, 200, "/{namespace}/{label}{path}");
            }
        }
        for path in ["/v2/health/ready", "/v2/models/sum", "/v2/models/sum/ready"] {
            assert_eq!(client.send(at("red").get(path)).await.status, 200, "/red/{label}{path}");
            assert_eq!(client.send(at("blue").get(path)).await.status, 503, "/blue/{label}{path}");
        }
        let metadata = client.send(at("red").get("/v2/models/sum")).await;
        let metadata: serde_json::Value = serde_json::from_slice(&metadata.body).unwrap();
        assert_eq!((&metadata["name"], &metadata["inputs"][0]["name"]), (&"sum".into(), &"x".into()));
        assert_eq!(answers(&server, &at("red")).await.as_deref(), Ok("add_1"));
        assert!(answers(&server, &at("blue")).await.unwrap_err().starts_with("503"));
    }
    for path in ["/v2/models/sum/nothing", "/v3", "//"] {
        assert_eq!(client.send(To::model("sum").prefix("/red/sum").get(path)).await.status, 404, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_revision_is_404_and_lists_those_there_are() {
    let server = Server::start([Service::sum(1).canary("fast", "add_2", 20)]).await;
    let models = server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    let error = answers(&server, &To::model("sum").revision("sum-predictor-0")).await.unwrap_err();
    assert!(error.starts_with("404"), "{error}");
    for revision in models.keys() {
        assert!(error.contains(revision), "{error}");
    }
    // The tag of a host, and a header that says otherwise.
    let to = To::model("sum").host("latest-sum.default.example.com").revision("stable");
    let error = answers(&server, &to).await.unwrap_err();
    assert!(error.starts_with("400") && error.contains("latest") && error.contains("stable"), "{error}");
    let refused = Grpc::connect(server.data).await.0.send(To::model("sum").revision("none").grpc()).await;
    assert_eq!(weirgate_tests::grpc::answer(&refused).unwrap_err().code, NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_and_errors_are_those_of_the_revision_asked_for() {
    let server = Server::start([Service::new("fixed").named("sum")]).await;
    server.splits("sum", &[("fixed", 100)]).await;
    server.write(&Service::new("identity").named("sum").canary_percent(0));
    let models = server.splits("sum", &[("fixed", 100), ("identity", 0)]).await;
    let mut client = Http1::connect(server.data).await;
    for (word, model, shape) in [("stable", "fixed", "[2,3]"), ("latest", "identity", "[-1,-1]")] {
        let reply = client.send(To::model("sum").revision(word).get("/v2/models/sum")).await;
        let metadata: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(metadata["inputs"][0]["shape"].to_string(), shape, "{word}");
        let to = To::model("sum").revision(word);
        let reply = client.send(to.rest()).await;
        assert_eq!(reply.status, if model == "fixed" { 400 } else { 200 }, "{reply:?}");
        let revision = reply.header("x-weirgate-revision").unwrap_or_else(|| panic!("{reply:?}"));
        assert_eq!(models[revision], model);
    }
    // Over gRPC too, with an answer and without one.
    let grpc = Grpc::connect(server.data).await;
    for (word, model) in [("stable", "fixed"), ("latest", "identity")] {
        let reply = grpc.0.send(To::model("sum").revision(word).grpc()).await;
        let revision = reply.header("x-weirgate-revision").unwrap_or_else(|| panic!("{reply:?}"));
        assert_eq!(models[revision], model);
    }
    let asked = oip::ModelMetadataRequest { name: "sum".to_owned(), ..Default::default() };
    let path = "/inference.GRPCInferenceService/ModelMetadata";
    let found: oip::ModelMetadataResponse = grpc.call(path, &asked).await.unwrap();
    assert_eq!(found.inputs[0].shape, [2, 3]);
}
