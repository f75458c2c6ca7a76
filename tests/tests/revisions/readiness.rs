//! What the status says is so: ready means that the first call is answered, and what is not ready says why.

use serde_json::Value;
use weirgate_tests::{Caller, Http1, Server, Service, To, eventually};

use super::rolled_out;

/// KServe: with a batcher, Ready came before the model was loaded, or though it could not be.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_16_ready_is_the_models_with_a_batcher_too() {
    let batched = |service: Service| service.max_batch(8).max_latency_ms(50);
    let server = Server::with([batched(Service::minilm()), batched(Service::new("broken"))]).at_once().start().await;
    let ready = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array().unwrap();
        conditions.iter().find(|condition| condition["type"] == "Ready").unwrap()["status"].clone()
    };
    let mut client = Http1::connect(server.data).await;
    eventually("minilm to be Ready", async || {
        let object = server.object("minilm").await;
        let loaded = server.log().contains("is ready");
        assert!(ready(&object) != "True" || loaded, "Ready before the model was loaded");
        (ready(&object) == "True").then_some(())
    })
    .await;
    assert_eq!(client.get("/v2/models/minilm/ready").await.status, 200);
    eventually("broken to have failed", async || {
        let object = server.object("broken").await;
        assert_ne!(ready(&object), "True");
        (object["status"]["modelStatus"]["transitionStatus"] == "BlockedByFailedLoad").then_some(())
    })
    .await;
    assert_eq!(ready(&server.object("broken").await), "False");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_call_after_ready_is_answered_at_every_address_of_the_status() {
    let server = rolled_out().await;
    server.write(&Service::sum(2).canary_percent(20));
    let models = server.splits("sum", &[("add_1", 80), ("add_2", 20)]).await;
    let object = server.object("sum").await;
    let status = &object["status"];
    let component = &status["components"]["predictor"];
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{status:#}")).to_owned();
    let traffic = component["traffic"].as_array().unwrap();
    let mut urls = vec![text(&status["url"]), text(&status["address"]["url"]), text(&component["url"])];
    urls.extend(traffic.iter().map(|target| text(&target["url"])));
    assert_eq!(urls.len(), 5, "{status:#}");
    let mut caller = Caller::http(server.data).await;
    for (index, url) in urls.iter().enumerate() {
        let prefix = url.strip_prefix(&format!("http://{}", server.data)).unwrap_or_else(|| panic!("{url}"));
        let answered = caller.ask(&To::model("sum").prefix(prefix)).await.unwrap();
        if let Some(target) = index.checked_sub(3).map(|index| &traffic[index]) {
            assert_eq!(target["revisionName"], *answered.revision, "{url}");
            assert_eq!(target["percent"], if models[&answered.revision] == "add_2" { 20 } else { 80 });
        }
    }
    assert_eq!(component["previousRolledoutRevision"], Value::Null);
    let named = |model: &str| models.iter().find(|(_, found)| *found == model).unwrap().0.as_str();
    assert_eq!(component["latestCreatedRevision"], named("add_2"));
    assert_eq!(component["latestReadyRevision"], named("add_2"));
    assert_eq!(component["latestRolledoutRevision"], named("add_1"));

    server.write(&Service::sum(2));
    server.splits("sum", &[("add_2", 100)]).await;
    let object = server.object("sum").await;
    let component = &object["status"]["components"]["predictor"];
    assert_eq!(component["previousRolledoutRevision"], named("add_1"));
    assert_eq!(component["latestRolledoutRevision"], named("add_2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_supported_is_not_ready_and_stops_nothing_that_ran() {
    let transformed = |service: Service| {
        let transformer = "spec:\n  transformer: {containers: [{name: t, image: example.com/t}]}\n";
        service.yaml().replace("spec:\n", transformer)
    };
    let server = Server::start([Service::sum(1), Service::new("identity")]).await;
    server.splits("sum", &[("add_1", 100)]).await;
    let manifests = server.file(&Service::sum(1)).parent().unwrap().to_owned();
    std::fs::write(manifests.join("fresh.yaml"), transformed(Service::sum(2).named("fresh"))).unwrap();
    std::fs::write(manifests.join("sum.yaml"), transformed(Service::sum(2))).unwrap();
    for service in ["fresh", "sum"] {
        eventually("the service not to be Ready", async || {
            server.view(service).await?;
            let ready = server.condition(service, "Ready").await;
            let told = ready["message"].as_str().unwrap_or_default().contains("spec.transformer");
            (ready["status"] == "False" && told).then_some(())
        })
        .await;
    }
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(To::model("fresh").rest()).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.error().contains("spec.transformer"), "{reply:?}");
    let mut caller = Caller::http(server.data).await;
    assert_eq!(caller.ask(&To::model("sum")).await.unwrap().model, "add_1", "what ran before goes on");
    assert_eq!(caller.ask(&To::model("identity")).await.unwrap().model, "add_0");
    server.write(&Service::sum(2));
    server.splits("sum", &[("add_2", 100)]).await;
    assert_eq!(server.condition("sum", "Ready").await["status"], "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_supported_at_the_start_stops_nobody_else() {
    let server =
        Server::start([Service::sum(1).field("workerSpec", "{pipelineParallelSize: 2}"), Service::new("identity")])
            .await;
    let mut caller = Caller::http(server.data).await;
    assert_eq!(caller.ask(&To::model("identity")).await.unwrap().model, "add_0");
    let error = caller.ask(&To::model("sum")).await.unwrap_err();
    assert!(error.starts_with("503") && error.contains("workerSpec"), "{error}");
    assert_eq!(server.condition("sum", "Ready").await["status"], "False");
    let object = server.object("sum").await;
    assert_eq!(object["status"]["modelStatus"]["transitionStatus"], "InvalidSpec", "{object:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_service_says_so_and_starts_again() {
    let server = rolled_out().await;
    server.write(&Service::sum(1).annotation("serving.kserve.io/stop", "true"));
    server.splits("sum", &[]).await;
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(To::model("sum").rest()).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.error().contains("serving.kserve.io/stop"), "{reply:?}");
    assert_eq!(server.condition("sum", "Stopped").await["status"], "True");
    server.write(&Service::sum(1));
    server.splits("sum", &[("add_1", 100)]).await;
    client.send(To::model("sum").rest()).await.response();
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_loads_only_what_is_missing_and_loses_no_call() {
    let server = rolled_out().await;
    let calling = async {
        let mut caller = Caller::http(server.data).await;
        loop {
            caller.ask(&To::model("sum")).await.unwrap();
        }
    };
    let scaling = async {
        for (replicas, loads) in [(3, 3), (1, 3)] {
            server.write(&Service::sum(1).replicas(replicas));
            eventually("the replicas", async || {
                let revisions = server.revisions("sum").await;
                (revisions[0].ready_replicas == replicas as u64).then_some(())
            })
            .await;
            assert_eq!(server.loads("sum"), loads, "{replicas} replicas");
        }
    };
    tokio::select! { () = calling => {}, () = scaling => {} }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_replicas_is_one_for_now_and_says_so() {
    let server = Server::start([Service::sum(1).replicas(0)]).await;
    server.splits("sum", &[("add_1", 100)]).await;
    assert_eq!(server.revisions("sum").await[0].ready_replicas, 1);
    assert!(server.log().contains("minReplicas"), "{}", server.log());
}
