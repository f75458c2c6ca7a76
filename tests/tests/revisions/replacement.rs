//! One revision after the other, where both may not be loaded at once.

use tokio::task::JoinSet;
use weirgate_tests::process::threads;
use weirgate_tests::{Answered, Caller, Http1, Server, Service, To, eventually, row, values};

fn recreated(model: &str) -> Service {
    Service::new(model).named("sum").recreate()
}

#[tokio::test(flavor = "multi_thread")]
async fn recreate_never_has_two_loaded_and_holds_calls_meanwhile() {
    let mut server = Server::start([recreated("add_1")]).await;
    server.splits("sum", &[("add_1", 100)]).await;
    let address = server.data;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let mut callers = JoinSet::new();
    for number in 0..3 {
        let stopped = stopped.clone();
        callers.spawn(async move {
            let mut caller = if number == 0 { Caller::grpc(address).await } else { Caller::http(address).await };
            let mut models = Vec::new();
            while !*stopped.borrow() {
                let Answered { model, .. } = caller.ask(&To::model("sum")).await.expect("no call is lost");
                models.push(model);
            }
            models
        });
    }
    let alone = threads(server.pid(), "sum-");
    server.write(&recreated("add_2"));
    eventually("the second model alone", async || {
        assert!(threads(server.pid(), "sum-") <= alone, "both run");
        assert!(server.metric("weirgate_ready_replicas", "sum").await <= 1.0, "both are ready");
        let revisions = server.revisions("sum").await;
        let ready = revisions.iter().find(|revision| revision.model == "add_2")?.ready_replicas;
        (ready == 1).then_some(())
    })
    .await;
    server.splits("sum", &[("add_2", 100)]).await;
    stop.send_replace(true);
    for mut models in callers.join_all().await {
        let calls = models.len();
        models.dedup();
        assert!(models == ["add_1", "add_2"] || models == ["add_2"], "{calls} calls: {models:?}");
    }
    let log = server.log();
    let (ended, started) = (log.find("has ended").unwrap(), log.rfind("RevisionStarted").unwrap());
    assert!(ended < started, "the first ends before the second loads:\n{log}");
    assert!(server.is_running());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_in_flight_is_finished_by_the_revision_that_has_it() {
    let server = Server::start([recreated("slow_second")]).await;
    server.splits("sum", &[("slow_second", 100)]).await;
    let mut running = Http1::connect(server.data).await;
    let mut calls = JoinSet::new();
    calls.spawn(async move { running.infer("sum", &row(&[7.0])).await });
    server.reaches("sum", 0, 1).await;
    server.write(&recreated("add_2"));
    let models = server.splits("sum", &[("add_2", 100)]).await;
    for reply in calls.join_all().await {
        assert_eq!(values(&reply.response().outputs[0]), [7.0]);
        let revision = reply.header("x-weirgate-revision").unwrap();
        assert_ne!(models.get(revision).map(String::as_str), Some("add_2"));
    }
    assert_eq!(Caller::http(server.data).await.ask(&To::model("sum")).await.unwrap().model, "add_2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_fails_gives_the_place_back() {
    let server = Server::start([recreated("add_1")]).await;
    server.splits("sum", &[("add_1", 100)]).await;
    let alone = threads(server.pid(), "sum-");
    server.write(&recreated("broken"));
    server.event("sum", "ModelLoadFailed").await;
    let mut caller = Caller::http(server.data).await;
    assert_eq!(caller.ask(&To::model("sum")).await.unwrap().model, "add_1", "calls wait until it is back");
    // The other one does not run: what is shown is why it did not.
    server.splits("sum", &[("add_1", 100), ("broken", 0)]).await;
    assert_eq!(threads(server.pid(), "sum-"), alone);
    assert_eq!(server.condition("sum", "Ready").await["status"], "False");
}
