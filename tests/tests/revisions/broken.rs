//! Revisions that can't load take no calls, and say why.

use weirgate_tests::{Caller, Http1, Server, Service, To};

use super::{exactly, rolled_out};

fn broken() -> Service {
    Service::new("broken").named("sum")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_canary_takes_no_call_and_says_why_when_asked() {
    let server = rolled_out().await;
    server.write(&broken().canary_percent(50));
    let models = server.splits("sum", &[("add_1", 100), ("broken", 0)]).await;
    exactly(&server, &models, &[("add_1", 100)]).await;
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(To::model("sum").revision("latest").rest()).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.error().contains("failed to load"), "{reply:?}");
    let object = server.object("sum").await;
    let model = &object["status"]["modelStatus"];
    assert_eq!(model["transitionStatus"], "BlockedByFailedLoad", "{model:#}");
    assert_eq!(model["lastFailureInfo"]["reason"], "ModelLoadFailed", "{model:#}");
    assert!(model["lastFailureInfo"]["message"].as_str().unwrap().contains("model.onnx"), "{model:#}");
    assert_eq!(server.condition("sum", "Ready").await["status"], "False");
    // A model that loads takes its place at once.
    server.write(&Service::sum(2).canary_percent(50));
    let models = server.splits("sum", &[("add_1", 50), ("add_2", 50)]).await;
    exactly(&server, &models, &[("add_1", 50), ("add_2", 50)]).await;
    assert_eq!(server.condition("sum", "Ready").await["status"], "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_update_changes_nothing_for_callers() {
    let server = rolled_out().await;
    server.write(&broken());
    let models = server.splits("sum", &[("add_1", 100), ("broken", 0)]).await;
    exactly(&server, &models, &[("add_1", 100)]).await;
    server.write(&Service::sum(1));
    let models = server.splits("sum", &[("add_1", 100)]).await;
    exactly(&server, &models, &[("add_1", 100)]).await;
    assert_eq!(server.log().matches("RevisionStarted").count(), 2, "add_1 was never stopped:\n{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_canary_of_two_leaves_the_other_its_share() {
    let service = Service::sum(1).canary("bad", "broken", 30).canary("good", "add_2", 20);
    let server = Server::start([service]).await;
    let models = server.splits("sum", &[("add_1", 80), ("broken", 0), ("add_2", 20)]).await;
    exactly(&server, &models, &[("add_1", 80), ("add_2", 20)]).await;
    let [mut http, mut grpc] = Caller::both(&server).await;
    for caller in [&mut http, &mut grpc] {
        let error = caller.ask(&To::model("sum").revision("bad")).await.unwrap_err();
        assert!(error.contains("failed to load"), "{error}");
    }
}
