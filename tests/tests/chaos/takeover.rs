//! A gateway takes another one's place.

use std::io::ErrorKind;

use tokio::net::TcpStream;
use weirgate_tests::chaos::Load;
use weirgate_tests::environment::scale;
use weirgate_tests::events::Events;
use weirgate_tests::{Server, Service, eventually, within};

use crate::scene::{Scene, calm, children, load_on, nothing, upstreams};

/// What a gateway logs when another one serves in its place.
const REPLACED: &str = "replaced: finishing what runs";

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
    let log = scene.server.log_reader();
    let taker = scene.server.begin_takeover();
    eventually("the old one to be replaced", async || log().contains(REPLACED).then_some(())).await;
    scene.fleet.open("go");
    ends_well(events).await;
    // The old gateway ends when the stream has.
    scene.server.replaced_by(taker).await;
}

/// What runs at the old gateway does not depend on the new one; and the state folder is free when both are gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_dies_when_it_has_taken_over_takes_no_running_call_along() {
    let mut scene = upstreams(1, |service| service).await;
    let mut events = scene.stream("one", 3, Some("go")).await;
    assert!(events.next().await.is_some());
    let (mut child, _) = scene.server.begin_takeover();
    eventually("the old one to be replaced", async || scene.server.log().contains(REPLACED).then_some(())).await;
    child.kill().unwrap();
    child.wait().unwrap();
    scene.fleet.open("go");
    ends_well(events).await;
    assert!(scene.server.ended().await.success());
    scene.server.restart().await;
    let events = scene.stream("two", 3, None).await;
    ends_well(events).await;
}

/// Whoever comes too late is refused at once, and does not wait for an answer that never comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_stops_refuses_connections_while_a_call_runs() {
    let mut scene = upstreams(1, |service| service).await;
    let mut events = scene.stream("one", 3, Some("go")).await;
    assert!(events.next().await.is_some());
    scene.server.signal("TERM");
    let address = scene.server.data;
    // One that waits for good is not refused: the queue of a port that nobody accepts on is full in the end.
    let refused = async || {
        let connected = within("a connection", TcpStream::connect(address)).await;
        connected.err().filter(|error| error.kind() == ErrorKind::ConnectionRefused)
    };
    eventually("connections to be refused", refused).await;
    assert!(scene.server.is_running());
    scene.fleet.open("go");
    ends_well(events).await;
    assert!(scene.server.ended().await.success());
}

async fn ends_well(events: Events) {
    let rest = events.rest().await.expect("the stream ends well");
    assert_eq!(rest.last().map(String::as_str), Some("[DONE]"), "{rest:?}");
}
