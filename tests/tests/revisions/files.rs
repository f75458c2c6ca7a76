//! Watched files, as people and their tools change them.

use std::fs::OpenOptions;
use std::io::Write;

use tokio::task::JoinSet;
use weirgate_tests::{Caller, Http1, Server, Service, To, eventually, row, values};

use super::rolled_out;

/// Whoever calls all the while; the first call that fails ends it.
fn calling(server: &Server) -> JoinSet<String> {
    let address = server.data;
    let mut calls = JoinSet::new();
    calls.spawn(async move {
        let mut caller = Caller::http(address).await;
        loop {
            if let Err(error) = caller.ask(&To::model("sum")).await {
                return error;
            }
        }
    });
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_rewritten_in_place_takes_nothing_down() {
    let server = rolled_out().await;
    let mut calls = calling(&server);
    for add in [2, 3, 1, 2] {
        let yaml = Service::sum(add).yaml();
        let file = server.file(&Service::sum(add));
        // Empty, half of it, and then the whole.
        let mut open = OpenOptions::new().write(true).truncate(true).open(&file).unwrap();
        open.flush().unwrap();
        let (half, rest) = yaml.split_at(yaml.len() / 2);
        open.write_all(half.as_bytes()).unwrap();
        open.write_all(rest.as_bytes()).unwrap();
        drop(open);
        server.splits("sum", &[(&format!("add_{add}"), 100)]).await;
    }
    assert_eq!(calls.try_join_next().map(Result::unwrap), None, "a call failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_keeps_what_it_had_and_says_what_is_wrong() {
    let server = rolled_out().await;
    let mut calls = calling(&server);
    let file = server.file(&Service::sum(1));
    for (wrong, text) in ["", "{", "spec: 1\n"].iter().enumerate() {
        std::fs::write(&file, text).unwrap();
        eventually("another error in the log", async || {
            let log = server.log();
            let told = log.lines().filter(|line| line.contains("ERROR") && line.contains("sum.yaml"));
            (told.count() > wrong).then_some(())
        })
        .await;
    }
    let wrong = Service::sum(2).yaml().replace("  predictor:\n", "  predictor:\n    timeout: 0\n");
    std::fs::write(&file, wrong).unwrap();
    let told = server.event("sum", "ManifestRefused").await;
    assert!(told.contains("spec.predictor.timeout"), "{told}");
    assert_eq!(Caller::http(server.data).await.ask(&To::model("sum")).await.unwrap().model, "add_1");
    server.write(&Service::sum(2));
    server.splits("sum", &[("add_2", 100)]).await;
    assert_eq!(calls.try_join_next().map(Result::unwrap), None, "a call failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_file_ends_its_service_after_its_calls_and_restoring_brings_it_back() {
    let service = Service::new("slow_second").named("sum");
    let server = Server::start([service.clone(), Service::new("identity")]).await;
    server.splits("sum", &[("slow_second", 100)]).await;
    let mut running = Http1::connect(server.data).await;
    let mut calls = JoinSet::new();
    calls.spawn(async move { running.infer("sum", &row(&[7.0])).await });
    server.reaches("sum", 0, 1).await;
    std::fs::remove_file(server.file(&service)).unwrap();
    let mut client = Http1::connect(server.data).await;
    eventually("the service to be gone", async || {
        let reply = client.get("/v2/models/sum/ready").await;
        (reply.status == 404).then_some(())
    })
    .await;
    for reply in calls.join_all().await {
        assert_eq!(values(&reply.response().outputs[0]), [7.0]);
    }
    assert!(server.view("sum").await.is_none());
    client.infer("identity", &row(&[1.0])).await.response();
    server.write(&Service::sum(3));
    server.splits("sum", &[("add_3", 100)]).await;
    assert_eq!(Caller::http(server.data).await.ask(&To::model("sum")).await.unwrap().model, "add_3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_a_second_file_claims_stays_with_the_first() {
    let server = rolled_out().await;
    let manifests = server.file(&Service::sum(1)).parent().unwrap().to_owned();
    let other = manifests.join("another.yaml");
    std::fs::write(&other, Service::sum(2).yaml()).unwrap();
    eventually("both files to be named", async || {
        let log = server.log();
        let told = log
            .lines()
            .any(|line| line.contains("claimed twice") && line.contains("another.yaml") && line.contains("sum.yaml"));
        told.then_some(())
    })
    .await;
    assert_eq!(Caller::http(server.data).await.ask(&To::model("sum")).await.unwrap().model, "add_1");
    std::fs::remove_file(server.file(&Service::sum(1))).unwrap();
    server.splits("sum", &[("add_2", 100)]).await;
}
