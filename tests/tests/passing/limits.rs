//! Bounds on what is passed: bodies, memory, and the queue.

use std::sync::atomic::Ordering;

use http_body_util::BodyExt;
use weirgate_tests::environment::scale;
use weirgate_tests::http::{post, with};
use weirgate_tests::process::resident_bytes;
use weirgate_tests::{Http1, Raw, Server, eventually, within};

use weirgate_tests::upstream::{Upstream, far, full};

const INFER: &str = "/v2/models/far/infer";

#[tokio::test]
async fn a_large_upload_takes_no_memory_here() {
    const PIECE: usize = 1 << 20;
    let upstream = Upstream::raw(|_, request| async move {
        let mut body = request.into_body();
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, bytes::Bytes::len);
        }
        full(200, read.to_string())
    })
    .await;
    // What is held is measured, not what the allocator keeps for later.
    let start = Server::with([far(&[&upstream])]).variable("MIMALLOC_PURGE_DELAY", "0");
    let server = start.flag("--max-body", "4GiB").start().await;
    // Whatever the first call brings along is there before.
    let mut client = Http1::connect(server.data).await;
    client.send(post(INFER, vec![0; 1 << 20])).await;
    let before = resident_bytes(server.pid());
    let length = scale(256 << 20, 2 << 30);
    let mut raw = Raw::connect(server.data).await;
    raw.write(format!("POST {INFER} HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n")).await;
    let piece = vec![7; PIECE];
    let mut most = 0;
    for sent in 0..length / PIECE {
        within("a piece to be taken", raw.write(&piece)).await;
        if sent % 32 == 0 {
            most = most.max(resident_bytes(server.pid()));
        }
    }
    let (status, _, body) = within("the answer", raw.read_answer()).await.unwrap();
    assert_eq!((status, body), (200, length.to_string()));
    let grown = most.saturating_sub(before);
    assert!(grown < 8 << 20, "the gateway has grown by {} KiB", grown >> 10);
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_or_cut() {
    let upstream = Upstream::start(|_, _| async { full(200, "{}") }).await;
    let server = Server::with([far(&[&upstream])]).flag("--max-body", "200KiB").start().await;
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(post(INFER, vec![0; 300 << 10])).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    let mut raw = Raw::connect(server.data).await;
    raw.write(format!("POST {INFER} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n")).await;
    let chunk = [&b"19000\r\n"[..], &vec![0; 0x19000], b"\r\n"].concat();
    for _ in 0..4 {
        // It may have been refused meanwhile.
        let _ = raw.try_write(&chunk).await;
    }
    let (status, ..) = within("a refusal", raw.read_answer()).await.unwrap();
    assert_eq!(status, 413);
    assert_eq!(upstream.state.count(), 0);
}

#[tokio::test]
async fn calls_beyond_what_a_server_takes_wait_and_the_queue_is_bounded() {
    let upstream = Upstream::start(|state, _| async move {
        state.go.notified().await;
        full(200, "{}")
    })
    .await;
    let service = far(&[&upstream]).concurrency(1).max_queued(1);
    let server = Server::start([service]).await;
    let mut calls = tokio::task::JoinSet::new();
    for running in [(0, 1), (1, 1)] {
        let address = server.data;
        calls.spawn(async move { Http1::connect(address).await.send(post(INFER, "{}")).await.status });
        server.reaches("far", running.0, running.1).await;
    }
    let refused = Http1::connect(server.data).await.send(post(INFER, "{}")).await;
    assert_eq!((refused.status, refused.header("retry-after").is_some()), (429, true), "{refused:?}");
    assert_eq!(upstream.state.open.load(Ordering::SeqCst), 1);
    for _ in 0..2 {
        eventually("a call is there", async || (upstream.state.open.load(Ordering::SeqCst) == 1).then_some(())).await;
        upstream.state.go.notify_one();
        assert_eq!(calls.join_next().await.unwrap().unwrap(), 200);
    }
    let late = with(post(INFER, "{}"), "x-weirgate-priority", "urgent");
    assert_eq!(Http1::connect(server.data).await.send(late).await.status, 400);
}
