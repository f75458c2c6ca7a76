//! Which server gets a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weirgate_tests::http::{post, with};
use weirgate_tests::{Http1, Server, eventually};

use weirgate_tests::upstream::{Upstream, far, full};

const INFER: &str = "/v2/models/far/infer";

async fn answers(text: &'static str) -> Upstream {
    Upstream::start(move |_, _| async move { full(200, text) }).await
}

/// A server, and both are known to be asked.
async fn both(servers: [&Upstream; 2]) -> (Server, Http1) {
    let server = Server::start([far(&servers)]).await;
    let mut client = Http1::connect(server.data).await;
    eventually("both are there", async || {
        client.send(post(INFER, "{}")).await;
        servers.iter().all(|upstream| upstream.state.count() > 0).then_some(())
    })
    .await;
    (server, client)
}

#[tokio::test]
async fn a_session_stays_with_its_server() {
    let (a, b) = (answers("a").await, answers("b").await);
    let (_server, mut client) = both([&a, &b]).await;
    let mut used = std::collections::HashSet::new();
    for session in 0..16 {
        let mut of_session = std::collections::HashSet::new();
        for _ in 0..4 {
            let request = with(post(INFER, "{}"), "x-weirgate-session", &session.to_string());
            of_session.insert(client.send(request).await.text());
        }
        assert_eq!(of_session.len(), 1, "session {session} went to {of_session:?}");
        used.extend(of_session);
    }
    assert_eq!(used.len(), 2, "sessions are spread");
}

#[tokio::test]
async fn complaint_50_a_server_that_fails_fast_draws_no_calls() {
    let broken = Arc::new(AtomicBool::new(false));
    let fails = broken.clone();
    let bad = Upstream::start(move |_, _| {
        let fails = fails.load(Ordering::SeqCst);
        async move { full(if fails { 500 } else { 200 }, "bad") }
    })
    .await;
    let good = answers("good").await;
    let (_server, mut client) = both([&bad, &good]).await;
    broken.store(true, Ordering::SeqCst);
    let before = bad.state.count();
    for _ in 0..100 {
        client.send(post(INFER, "{}")).await;
    }
    // An even split would be 50.
    let asked = bad.state.count() - before;
    assert!(asked <= 15, "the server that fails was asked {asked} of 100 times");
}
