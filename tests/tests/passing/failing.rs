//! Servers that fail: what surely was not executed is executed elsewhere, once, and what may have been is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Frame;
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use weirgate_protocol::oip;
use weirgate_tests::http::{post, with};
use weirgate_tests::{Http1, Http2, Server, eventually, grpc};

use weirgate_tests::upstream::{Seen, Upstream, far, far_at, full, grpc_status, streamed};

const INFER: &str = "/v2/models/far/infer";

async fn answers(text: &'static str) -> Upstream {
    Upstream::start(move |_, _| async move { full(200, text) }).await
}

/// A server that reads a request and then closes the connection, `times`; it is healthy all the while.
async fn breaks(times: usize) -> (Upstream, Arc<AtomicUsize>) {
    let broken = Arc::new(AtomicUsize::new(0));
    let count = broken.clone();
    let upstream = Upstream::start(move |_, _| {
        let count = count.clone();
        async move {
            if count.fetch_add(1, Ordering::SeqCst) < times {
                // The connection's task ends with it, and the connection.
                panic!("on purpose");
            }
            full(200, "after all")
        }
    })
    .await;
    (upstream, broken)
}

#[tokio::test]
async fn a_call_whose_server_is_down_is_executed_elsewhere_exactly_once() {
    let (mut down, up) = (answers("down").await, answers("up").await);
    let server = Server::start([far(&[&down, &up])]).await;
    let mut client = Http1::connect(server.data).await;
    eventually("both are there", async || {
        client.send(post(INFER, "{}")).await;
        (down.state.count() > 0 && up.state.count() > 0).then_some(())
    })
    .await;
    down.stop().await;
    let before = up.state.count();
    for _ in 0..20 {
        let reply = client.send(post(INFER, "{}")).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "up"), "{reply:?}");
    }
    assert_eq!(up.state.count() - before, 20);
}

#[tokio::test]
async fn a_server_that_is_down_from_the_start_holds_the_others_not_up() {
    let (mut down, up) = (answers("down").await, answers("up").await);
    let service = far(&[&down, &up]);
    down.stop().await;
    let server = Server::with([service]).at_once().start().await;
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(post(INFER, "{}")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "up"), "{reply:?}");
    let event = server.event("far", "UpstreamNotReady").await;
    assert!(event.contains(&down.address.to_string()), "{event}");
}

#[tokio::test]
async fn complaint_37_what_was_handed_over_is_not_repeated() {
    let (upstream, asked) = breaks(usize::MAX).await;
    let server = Server::start([far(&[&upstream])]).await;
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(post(INFER, "{}")).await;
    assert_eq!(reply.status, 502, "{reply:?}");
    assert!(reply.error().contains(&upstream.address.to_string()), "{reply:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_idempotent_call_is_repeated() {
    let (upstream, asked) = breaks(1).await;
    let service = far(&[&upstream]).annotation("weirgate.dev/retry", "idempotent");
    let server = Server::start([service]).await;
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(post(INFER, "{}")).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "after all"), "{reply:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    assert_eq!(server.metrics().await.sum("weirgate_upstream_retries_total", &[("reason", "idempotent")]), 1.0);
}

#[tokio::test]
async fn retries_of_a_storm_have_a_budget() {
    let upstream = Upstream::start(|_, _| async { full(503, "{}") }).await;
    let service = far(&[&upstream]).annotation("weirgate.dev/retry", "idempotent");
    let server = Server::start([service]).await;
    let mut client = Http1::connect(server.data).await;
    for _ in 0..60 {
        client.send(post(INFER, "{}")).await;
    }
    // Ten are free in ten seconds, and a fifth of the calls.
    let repeated = server.metrics().await.sum("weirgate_upstream_retries_total", &[]);
    assert!((10.0..40.0).contains(&repeated), "{repeated} of 60");
}

#[tokio::test]
async fn a_server_that_does_not_answer_in_time_is_told() {
    let upstream = Upstream::start(|state, _| async move {
        state.go.notified().await;
        full(200, "late")
    })
    .await;
    let server = Server::start([far(&[&upstream])]).await;
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(with(post(INFER, "{}"), "x-request-timeout-seconds", "0.2")).await;
    assert_eq!(reply.status, 504, "{reply:?}");
    eventually("the exchange is dropped", async || (upstream.state.open.load(Ordering::SeqCst) == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn a_service_whose_servers_are_away_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    // It takes connections, and says nothing that is HTTP.
    tasks.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 1]).await;
        }
    });
    let server = Server::start([far_at(&format!("http://{address}"))]).await;
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(post(INFER, "{}")).await;
    assert_eq!(reply.status, 503, "{reply:?}");
}

#[tokio::test]
async fn a_slow_call_is_hedged_where_that_is_asked_for() {
    let slow = Upstream::start(|state, seen| async move {
        if seen.body == "slow" {
            state.go.notified().await;
        }
        full(200, "first")
    })
    .await;
    let other = Upstream::start(|state, seen| async move {
        if seen.body == "slow" && state.count() == 0 {
            state.go.notified().await;
        }
        full(200, "second")
    })
    .await;
    let service = far(&[&slow, &other]).annotation("weirgate.dev/retry", "idempotent,hedge");
    let server = Server::start([service]).await;
    let mut client = Http1::connect(server.data).await;
    // It learns what is usual from these.
    for _ in 0..200 {
        client.send(post(INFER, "{}")).await;
    }
    // One of the two servers never answers this; the other does at once.
    for _ in 0..8 {
        let reply = client.send(post(INFER, "slow")).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.text(), "second", "the first server never answers this");
    }
}

/// A server that takes no connections any more, and refuses none either: whoever connects waits.
#[tokio::test]
async fn a_call_that_waits_for_its_connection_is_hedged_too() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap().into_std().unwrap();
    let stays = listener.try_clone().unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let mut hangs = Upstream::on(listener, |_, _| async { full(200, "hangs") });
    let good = answers("good").await;
    let service = far(&[&hangs, &good]).annotation("weirgate.dev/retry", "idempotent,hedge");
    let server = Server::start([service]).await;
    let mut client = Http1::connect(server.data).await;
    let call = |session: usize| with(post(INFER, "{}"), "x-weirgate-session", &session.to_string());
    // A session that is the first server's. And it learns what is usual.
    let mut theirs = None;
    for session in 0..200 {
        if client.send(call(session)).await.text() == "hangs" {
            theirs = Some(session);
        }
    }
    let session = theirs.expect("one of 200 sessions is the first server's");
    hangs.stop().await;
    let mut waiting = Vec::new();
    while let Ok(connected) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(hangs.address)).await
    {
        waiting.push(connected.unwrap());
        assert!(waiting.len() < 64, "it takes connections without end");
    }
    let hedged = async || {
        let won = [("service", "far"), ("winner", "second")];
        server.metrics().await.sum("weirgate_upstream_hedges_total", &won)
    };
    let before = hedged().await;
    // Not each has budget left.
    eventually("one is hedged", async || {
        let reply = client.send(call(session)).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, "good"), "{reply:?}");
        (hedged().await > before).then_some(())
    })
    .await;
    drop(stays);
}

#[tokio::test]
async fn a_hedge_that_fails_does_not_win() {
    let (go, asked) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
    let start = async |name: &'static str| {
        let (go, asked) = (go.clone(), asked.clone());
        let answer = move |_, seen: Seen| {
            let (go, asked) = (go.clone(), asked.clone());
            async move {
                if seen.body != "slow" {
                    return full(200, name);
                }
                // Whoever is asked second fails at once, and only then does the first answer.
                if asked.fetch_add(1, Ordering::SeqCst) % 2 == 1 {
                    go.notify_one();
                    return full(500, "failed");
                }
                go.notified().await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                full(200, "good")
            }
        };
        Upstream::start(answer).await
    };
    let (a, b) = (start("a").await, start("b").await);
    let service = far(&[&a, &b]).annotation("weirgate.dev/retry", "idempotent,hedge");
    let server = Server::start([service]).await;
    let mut client = Http1::connect(server.data).await;
    for _ in 0..200 {
        client.send(post(INFER, "{}")).await;
    }
    let request = with(with(post(INFER, "slow"), "x-weirgate-explain", "1"), "x-request-id", "hedged");
    let reply = client.send(request).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, "good"), "{reply:?}");
    assert_eq!(asked.load(Ordering::SeqCst), 2);
    let told: serde_json::Value = serde_json::from_str(reply.header("x-weirgate-explain").unwrap()).unwrap();
    let outcomes: Vec<_> = told["attempts"].as_array().unwrap().iter().map(|attempt| &attempt["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "answered"], "both servers are told of");
}

#[tokio::test]
async fn a_servers_own_failure_is_passed_where_no_other_has_room() {
    let upstream = Upstream::start(|_, _| async { full(503, "{\"theirs\": true}") }).await;
    let service = far(&[&upstream]).annotation("weirgate.dev/retry", "idempotent").concurrency(1);
    let server = Server::start([service]).await;
    let reply = Http1::connect(server.data).await.send(post(INFER, "{}")).await;
    assert_eq!((reply.status, reply.text().as_str()), (503, "{\"theirs\": true}"), "{reply:?}");
    assert_eq!(upstream.state.count(), 1);
}

#[tokio::test]
async fn a_failure_of_grpc_is_repeated_where_that_does_no_harm_and_counted() {
    let upstream = Upstream::start(|state, _| async move {
        match state.count() {
            1 => grpc_status(14),
            2 => grpc_status(0),
            // The status of an answer with messages comes behind them.
            _ => {
                let (frames, answer) = streamed("application/grpc");
                let trailers = [("grpc-status".parse().unwrap(), "13".parse().unwrap())].into_iter().collect();
                frames.send(Ok(Frame::data(vec![0; 5].into()))).unwrap();
                frames.send(Ok(Frame::trailers(trailers))).unwrap();
                answer
            }
        }
    })
    .await;
    let service = far_at(&format!("grpc://{}", upstream.address))
        .annotation("weirgate.dev/upstream-protocol", "grpc-v2")
        .annotation("weirgate.dev/retry", "idempotent");
    let server = Server::start([service]).await;
    let client = Http2::connect(server.data).await;
    let message = oip::ModelInferRequest { model_name: "far".to_owned(), ..Default::default() };
    let call = || grpc::request(grpc::MODEL_INFER, grpc::frame(0, &message.encode_to_vec()));
    let first = client.send(call()).await;
    assert_eq!(first.header("grpc-status"), Some("0"), "{first:?}");
    assert_eq!(upstream.state.count(), 2);
    let second = client.send(call()).await;
    assert_eq!(second.trailers.get("grpc-status").unwrap(), "13", "{second:?}");
    let metrics = server.metrics().await;
    let attempts = |outcome| metrics.sum("weirgate_upstream_attempts_total", &[("outcome", outcome)]);
    assert_eq!((attempts("overloaded"), attempts("answered"), attempts("failed")), (1.0, 1.0, 1.0));
    assert_eq!(metrics.sum("weirgate_requests_total", &[("service", "far"), ("code", "upstream_failed")]), 1.0);
    assert_eq!(metrics.sum("weirgate_requests_total", &[("service", "far"), ("code", "ok")]), 1.0);
}

#[tokio::test]
async fn what_one_server_may_have_executed_is_not_told_to_be_safe_by_another() {
    let broken = breaks(usize::MAX).await;
    let service = far(&[&broken.0]).annotation("weirgate.dev/retry", "idempotent").max_queued(1).concurrency(1);
    let server = Server::start([service]).await;
    let reply = Http1::connect(server.data).await.send(with(post(INFER, "{}"), "x-request-timeout-seconds", "2")).await;
    assert!(reply.status >= 500, "{reply:?}");
    assert!(broken.1.load(Ordering::SeqCst) > 1, "it was tried again");
    assert!(reply.error().contains("tried before"), "{reply:?}");
}
