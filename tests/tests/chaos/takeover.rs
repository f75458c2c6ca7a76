//! A gateway takes another one's place.

use std::time::Duration;

use weirgate_tests::chaos::Load;
use weirgate_tests::environment::scale;
use weirgate_tests::{Server, Service};

use crate::scene::{Scene, calm, children, load_on, nothing, upstreams};

/// Each call has a connection of its own: not one is refused.
async fn replaced(mut scene: Scene) -> Scene {
    let load = scene.load_that_lingers();
    let run = Load { fresh: true, ..load }.start();
    for _ in 0..scale(2, 50) {
        run.lasts(calm()).await;
        scene.server.take_over().await;
    }
    run.lasts(calm()).await;
    let ledger = run.end().await;
    ledger.holds(nothing);
    ledger.executed_once(&scene.fleet.executed());
    scene
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_refuses_no_connection_and_loses_no_call() {
    replaced(upstreams(2, |service| service).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn engines_are_taken_over_without_a_lost_call() {
    let mut server = Server::start([Service::new("identity")]).await;
    let run = Load { model: "identity".to_owned(), fresh: true, ..load_on(&server) }.start();
    for _ in 0..scale(2, 50) {
        run.lasts(calm()).await;
        server.take_over().await;
    }
    run.lasts(calm()).await;
    run.end().await.holds(nothing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_leaves_no_child_of_the_old_gateway_behind() {
    let scene = replaced(children(2, |service| service).await).await;
    let started = scene.fleet.started();
    assert_eq!(scene.fleet.running(), started[started.len() - 2..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_outlives_a_takeover() {
    let mut scene = upstreams(1, |service| service).await;
    let mut events = scene.stream("one", 3, Some("go")).await;
    assert!(events.next().await.is_some());
    let opens = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        scene.fleet.open("go");
        events.rest().await
    };
    // The old gateway ends when the stream has.
    let (rest, _) = tokio::join!(opens, scene.server.take_over());
    let rest = rest.expect("the stream ends well");
    assert_eq!(rest.last().map(String::as_str), Some("[DONE]"), "{rest:?}");
}
