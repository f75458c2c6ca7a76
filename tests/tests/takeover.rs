//! One gateway takes another's place, while calls go on.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use weirgate_tests::{Grpc, Http1, Server, Service, calls, eventually, row, values};

/// Callers that go on until they are told to stop. A call that is refused, lost or answered wrongly ends its caller, which
/// fails the test.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    callers: JoinSet<()>,
}

impl Load {
    fn start(address: SocketAddr) -> Load {
        let mut load = Load { stop: Arc::default(), answers: Arc::default(), callers: JoinSet::new() };
        for _ in 0..3 {
            load.callers.spawn(short(address, load.stop.clone(), load.answers.clone()));
        }
        load.callers.spawn(kept(address, load.stop.clone(), load.answers.clone()));
        load.callers.spawn(over_h2(address, load.stop.clone(), load.answers.clone()));
        load
    }

    /// Waits for so many more answers.
    async fn goes_on(&self, more: usize) {
        let before = self.answers.load(Ordering::Relaxed);
        eventually("more answers", async || (self.answers.load(Ordering::Relaxed) >= before + more).then_some(()))
            .await;
    }

    async fn stop(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
    }
}

/// A connection for each call.
async fn short(address: SocketAddr, stop: Arc<AtomicBool>, answers: Arc<AtomicUsize>) {
    while !stop.load(Ordering::Relaxed) {
        let number = answers.fetch_add(1, Ordering::Relaxed) as f32;
        let mut client = Http1::try_connect(address).await.expect("no connection is refused");
        let reply = client.try_send(calls::json("identity", &row(&[number]))).await.expect("no call is lost");
        assert_eq!(values(&reply.response().outputs[0]), [number]);
    }
}

/// One connection, for as long as the server keeps it.
async fn kept(address: SocketAddr, stop: Arc<AtomicBool>, answers: Arc<AtomicUsize>) {
    let mut client = Http1::connect(address).await;
    while !stop.load(Ordering::Relaxed) {
        let number = answers.fetch_add(1, Ordering::Relaxed) as f32;
        let reply = client.try_send(calls::json("identity", &row(&[number]))).await.expect("no call is lost");
        assert_eq!(values(&reply.response().outputs[0]), [number]);
        if reply.header("connection") == Some("close") {
            client = Http1::connect(address).await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// One connection over h2, until the server says that it goes away: then what was not begun is sent over another one.
async fn over_h2(address: SocketAddr, stop: Arc<AtomicBool>, answers: Arc<AtomicUsize>) {
    let mut client = Grpc::connect(address).await;
    let mut connections = 1;
    while !stop.load(Ordering::Relaxed) {
        let number = answers.fetch_add(1, Ordering::Relaxed) as f32;
        match client.try_infer("identity", &row(&[number]), false, None).await {
            Ok(answer) => assert_eq!(values(&answer.unwrap().outputs[0]), [number]),
            // The client knows that the connection has ended before it sends.
            Err(_) if connections < 20 => {
                connections += 1;
                client = Grpc::connect(address).await;
            }
            Err(error) => panic!("connections end again and again: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn three_takeovers_refuse_no_connection_and_lose_no_call() {
    let mut server = Server::start([Service::new("identity")]).await;
    let load = Load::start(server.data);
    for _ in 0..3 {
        load.goes_on(50).await;
        let before = server.pid();
        server.take_over().await;
        assert_ne!(server.pid(), before);
        load.goes_on(50).await;
    }
    load.stop().await;
    assert_eq!(server.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_that_is_killed_midway_leaves_the_running_gateway_in_its_place() {
    let mut server = Server::start([Service::new("identity"), Service::new("slow_second")]).await;
    let load = Load::start(server.data);
    let record = server.state().join("services/default/identity.json");
    for turn in 1..=3 {
        let (mut child, _) = server.begin_takeover();
        let begun = async || (server.log().matches("being replaced").count() >= turn).then_some(());
        eventually("the takeover to begin", begun).await;
        // As one of another version might leave the folder.
        std::fs::remove_file(&record).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        eventually("all that is known to be stored again", async || record.exists().then_some(())).await;
        load.goes_on(20).await;
    }
    let thawed = async || (server.log().matches("came to nothing").count() == 3).then_some(());
    eventually("it to thaw", thawed).await;
    // It acts on its files again.
    server.write(&Service::sum(2));
    let mut client = Http1::connect(server.data).await;
    eventually("a service that came later", async || {
        (client.get("/v2/models/sum/ready").await.status == 200).then_some(())
    })
    .await;
    assert!(server.is_running());
    // And a takeover after all that succeeds.
    server.take_over().await;
    load.goes_on(20).await;
    load.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_by_one_that_can_not_do_as_much_is_given_up() {
    let mut server = Server::start([Service::new("identity")]).await;
    let mut command = std::process::Command::new(weirgate_tests::environment::binary());
    command
        .args(["serve", "--takeover", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--state"])
        .arg(server.state());
    let output = tokio::task::spawn_blocking(move || weirgate_tests::process::run(&mut command)).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("not ready: default/identity"), "{told}");
    assert!(server.is_running());
    Http1::connect(server.data).await.infer("identity", &row(&[1.0])).await.response();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_running_gateway_it_just_starts() {
    let mut server = Server::with([Service::new("identity")]).switch("--takeover").start().await;
    Http1::connect(server.data).await.infer("identity", &row(&[1.0])).await.response();
    server.kill().await;
    // The socket of one that was killed leads nowhere.
    server.restart().await;
    Http1::connect(server.data).await.infer("identity", &row(&[1.0])).await.response();
}
