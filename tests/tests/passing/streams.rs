//! Answers that come bit by bit.

use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::Frame;
use weirgate_tests::{Raw, Server, eventually, within};

use weirgate_tests::upstream::{Broken, Upstream, far, far_at, full, streamed};

const CHAT: &str = r#"{"model":"far","stream":true}"#;

fn ask() -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{CHAT}",
        CHAT.len()
    )
}

/// An event stream whose second event comes when the test says so, and that then ends or breaks.
async fn events(breaks: bool) -> Upstream {
    Upstream::start(move |state, _| async move {
        let (frames, answer) = streamed("text/event-stream");
        state.clone().write(async move {
            frames.send(Ok(Frame::data("data: 1\n\n".into()))).unwrap();
            state.go.notified().await;
            let next = if breaks { Err(Broken) } else { Ok(Frame::data("data: [DONE]\n\n".into())) };
            // The client may have gone.
            let _ = frames.send(next);
            frames.closed().await;
        });
        answer
    })
    .await
}

async fn read_until(raw: &mut Raw, text: &'static str) -> bool {
    raw.read_until(|read| read.windows(text.len()).any(|window| window == text.as_bytes()).then_some(()))
        .await
        .is_some()
}

#[tokio::test]
async fn complaint_52_each_event_is_passed_as_it_comes() {
    let upstream = events(false).await;
    let server = Server::start([far(&[&upstream])]).await;
    let mut raw = Raw::connect(server.data).await;
    raw.write(ask()).await;
    assert!(within("the first event before the second is made", read_until(&mut raw, "data: 1\n\n")).await);
    upstream.state.go.notify_one();
    assert!(within("the last event", read_until(&mut raw, "[DONE]")).await);
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_as_if_it_had_ended() {
    let upstream = events(true).await;
    let server = Server::start([far(&[&upstream])]).await;
    let mut raw = Raw::connect(server.data).await;
    raw.write(ask()).await;
    assert!(within("the first event", read_until(&mut raw, "data: 1\n\n")).await);
    upstream.state.go.notify_one();
    let ended = within("the end of the connection", read_until(&mut raw, "\r\n0\r\n\r\n")).await;
    assert!(!ended, "the last chunk came though the answer had broken off");
    let metrics = server.metrics().await;
    let counted = |code| metrics.sum("weirgate_requests_total", &[("service", "far"), ("code", code)]);
    assert_eq!((counted("ok"), counted("upstream_failed")), (0.0, 1.0), "it is counted by how it ended");
}

#[tokio::test]
async fn a_prediction_has_a_deadline_to_its_last_byte() {
    let upstream = Upstream::start(|state, _| async move {
        let (frames, answer) = streamed("application/json");
        state.write(async move {
            while frames.send(Ok(Frame::data(" ".into()))).is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        answer
    })
    .await;
    let server = Server::start([far(&[&upstream])]).await;
    let mut raw = Raw::connect(server.data).await;
    let head = "host: a\r\ncontent-length: 2\r\nx-request-timeout-seconds: 0.5";
    raw.write(format!("POST /v2/models/far/infer HTTP/1.1\r\n{head}\r\n\r\n{{}}")).await;
    let ended = within("the end of the connection", read_until(&mut raw, "\r\n0\r\n\r\n")).await;
    assert!(!ended, "it is cut off");
    let metrics = server.metrics().await;
    assert_eq!(metrics.sum("weirgate_requests_total", &[("service", "far"), ("code", "deadline_exceeded")]), 1.0);
    eventually("nothing is open there", async || (upstream.state.open.load(Ordering::SeqCst) == 0).then_some(())).await;
}

#[tokio::test]
async fn a_server_is_not_blamed_for_a_body_that_breaks_off_during_its_answer() {
    let upstream = Upstream::raw(|state, _| async move {
        let (frames, answer) = streamed("text/event-stream");
        frames.send(Ok(Frame::data("data: 1\n\n".into()))).unwrap();
        state.write(async move { frames.closed().await });
        answer
    })
    .await;
    let server = Server::start([far_at(&format!("h2c://{}", upstream.address))]).await;
    let mut raw = Raw::connect(server.data).await;
    raw.write("POST /v2/models/far/infer HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n").await;
    assert!(within("the begin of the answer", read_until(&mut raw, "data: 1\n\n")).await);
    raw.write("this is no chunk\r\n").await;
    eventually("the attempt has ended", async || {
        let metrics = server.metrics().await;
        let attempts = |outcome| metrics.sum("weirgate_upstream_attempts_total", &[("outcome", outcome)]);
        assert_eq!(attempts("failed"), 0.0);
        (attempts("cancelled") == 1.0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn complaint_38_a_client_that_leaves_ends_the_servers_stream() {
    let upstream = events(false).await;
    let server = Server::start([far(&[&upstream])]).await;
    let mut raw = Raw::connect(server.data).await;
    raw.write(ask()).await;
    assert!(within("the first event", read_until(&mut raw, "data: 1\n\n")).await);
    let running = "weirgate_running_requests";
    assert_eq!(server.metrics().await.sum(running, &[]), 1.0);
    drop(raw);
    eventually("the slot is given back", async || (server.metrics().await.sum(running, &[]) == 0.0).then_some(()))
        .await;
    eventually("nothing is open there", async || (upstream.state.open.load(Ordering::SeqCst) == 0).then_some(())).await;
    let metrics = server.metrics().await;
    let left = [("service", "far"), ("place", "replica")];
    assert_eq!(metrics.sum("weirgate_abandoned_requests_total", &left), 1.0);
    let cancelled = [("service", "far"), ("code", "cancelled")];
    assert_eq!(metrics.sum("weirgate_requests_total", &cancelled), 1.0);
    assert_eq!(metrics.sum("weirgate_requests_total", &[("service", "far")]), 1.0, "it is counted once");
}

/// One counts as abandoned where its server has it, and one where it waits.
#[tokio::test]
async fn callers_that_leave_before_their_answer_begins_are_counted_where_they_were() {
    let upstream = Upstream::start(|state, _| async move {
        state.go.notified().await;
        full(200, "{}")
    })
    .await;
    let server = Server::start([far(&[&upstream]).concurrency(1)]).await;
    let (mut runs, mut waits) = (Raw::connect(server.data).await, Raw::connect(server.data).await);
    runs.write(ask()).await;
    server.reaches("far", 0, 1).await;
    waits.write(ask()).await;
    server.reaches("far", 1, 1).await;
    let left = async |place: &str| {
        server.metrics().await.sum("weirgate_abandoned_requests_total", &[("service", "far"), ("place", place)])
    };
    drop(waits);
    eventually("one has left the queue", async || (left("queue").await == 1.0).then_some(())).await;
    assert_eq!(left("replica").await, 0.0);
    drop(runs);
    eventually("one has left the server", async || (left("replica").await == 1.0).then_some(())).await;
    // One that is answered has not left.
    let mut stays = Raw::connect(server.data).await;
    stays.write(ask()).await;
    server.reaches("far", 0, 1).await;
    upstream.state.go.notify_one();
    assert!(within("the answer", read_until(&mut stays, "{}")).await);
    server.is_idle("far").await;
    assert_eq!((left("queue").await, left("replica").await), (1.0, 1.0));
}

#[tokio::test]
async fn a_pause_that_is_too_long_cuts_the_stream() {
    let upstream = events(false).await;
    let service = far(&[&upstream]).annotation("weirgate.dev/stream-idle-timeout", "300ms");
    let server = Server::start([service]).await;
    let mut raw = Raw::connect(server.data).await;
    raw.write(ask()).await;
    assert!(within("the first event", read_until(&mut raw, "data: 1\n\n")).await);
    assert!(!within("the end of the connection", read_until(&mut raw, "[DONE]")).await);
}
