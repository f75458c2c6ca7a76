//! What is known of a call that was not answered, and what its server saw of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use tokio::sync::mpsc;
use weirgate_replicas::remote::{FaultKind, Transport};

use crate::server::{Scripted, call, config, get, post, send, stream, text, transport};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

#[tokio::test]
async fn a_port_where_nobody_listens() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for scheme in ["http", "h2c", "https", "grpc"] {
        let transport = transport(&format!("{scheme}://{address}"));
        let fault = call(&transport, post("x")).await.unwrap_err();
        assert_eq!((fault.kind, fault.not_executed()), (FaultKind::Connect, true));
        assert!(fault.to_string().contains("connection refused"), "{fault}");
        assert_eq!((transport.stats().connect_failures, transport.stats().open), (1, 0));
    }
    let fault = call(&transport("http://name.invalid:80"), get()).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Connect);
}

#[tokio::test]
async fn a_handshake_that_never_ends() {
    let server = Scripted::new(|mut peer, _| _ = peer.wait_for_end());
    for scheme in ["https", "h2c"] {
        let mut config = config(&format!("{scheme}://{}", server.address));
        config.connect_timeout = Duration::from_millis(50);
        let transport = Transport::new(config).unwrap();
        // Those who wait for one connection together learn together that there is none.
        let faults = tokio::join!(call(&transport, get()), call(&transport, get()), call(&transport, get()));
        for fault in [faults.0, faults.1, faults.2] {
            let fault = fault.unwrap_err();
            assert_eq!(fault.kind, FaultKind::Connect);
            assert!(fault.to_string().contains("no connection within 50ms"), "{fault}");
        }
        assert_eq!(transport.stats().connect_failures, 1);
    }
}

/// After each byte of an answer its server closes, or resets. No cut answer is taken for a whole one.
#[tokio::test]
async fn answers_cut_at_every_byte() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabcde",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\nx: y\r\n\r\n",
    ] {
        for resets in [false, true] {
            let executed = Arc::new(AtomicUsize::new(0));
            let seen = executed.clone();
            let server = Scripted::new(move |mut peer, cut| {
                assert_eq!(peer.request().unwrap().body, b"body");
                seen.fetch_add(1, Ordering::SeqCst);
                peer.say(&answer[..cut]);
                if resets && cut < answer.len() {
                    peer.reset();
                }
            });
            let transport = server.transport();
            for cut in 0..answer.len() {
                let fault = call(&transport, post("body")).await.expect_err("a cut answer was taken for a whole one");
                assert_eq!((fault.kind, fault.not_executed()), (FaultKind::Broken, false), "cut at {cut}: {fault}");
                assert_eq!(executed.load(Ordering::SeqCst), cut + 1, "each call was executed once, and not repeated");
            }
            assert_eq!(call(&transport, post("body")).await.unwrap(), (200, "abcde".into()));
            assert_eq!(transport.stats().open, transport.stats().idle);
        }
    }
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_not_noticed_by_callers() {
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    let server = Scripted::new(move |mut peer, number| {
        peer.request().unwrap();
        peer.say(OK);
        if number % 2 == 0 {
            // What a server says of a connection that was idle for too long is no answer to the next request.
            peer.say("HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n\r\n");
        }
        drop(peer);
        closed.send(()).unwrap();
    });
    let transport = server.transport();
    for _ in 0..6 {
        let answer = call(&transport, post("x")).await.unwrap();
        assert_eq!(answer, (200, "ok".into()));
        is_closed.recv().await.unwrap();
    }
    assert_eq!((transport.stats().connects, transport.stats().reuses), (6, 0));
}

#[tokio::test]
async fn a_call_that_a_kept_connection_took_is_not_repeated() {
    for resets in [false, true] {
        let executed = Arc::new(AtomicUsize::new(0));
        let seen = executed.clone();
        let server = Scripted::new(move |mut peer, _| {
            peer.request().unwrap();
            peer.say(OK);
            let request = peer.request().unwrap();
            assert_eq!(request.body, b"second");
            seen.fetch_add(1, Ordering::SeqCst);
            if resets {
                peer.reset();
            }
        });
        let transport = server.transport();
        call(&transport, post("first")).await.unwrap();
        let fault = call(&transport, post("second")).await.unwrap_err();
        assert_eq!((fault.kind, fault.not_executed()), (FaultKind::Broken, false), "{fault}");
        assert_eq!((executed.load(Ordering::SeqCst), transport.stats().reuses), (1, 1));
    }
}

#[tokio::test]
async fn a_callers_body_that_breaks_off_is_no_fault_of_the_servers() {
    let (whole, mut seen) = mpsc::unbounded_channel();
    let server = Scripted::new(move |mut peer, _| {
        peer.head().unwrap();
        peer.wait_for_end();
        whole.send(peer.input().ends_with(b"0\r\n\r\n")).unwrap();
    });
    let transport = server.transport();
    let (mut sender, channel) = Channel::<Bytes, std::io::Error>::new(2);
    sender.send_data("abc".into()).await.unwrap();
    sender.abort(std::io::Error::other("the client is gone"));
    let fault = call(&transport, stream(channel)).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Caller);
    assert!(fault.to_string().contains("the client is gone"), "{fault}");
    assert!(!seen.recv().await.unwrap(), "a part of a body was sent as a whole");
    assert_eq!(transport.stats().open, 0);
}

#[tokio::test]
async fn a_caller_who_leaves_ends_the_call_at_the_server() {
    let (ended, mut has_ended) = mpsc::unbounded_channel();
    let server = Scripted::new(move |mut peer, number| {
        peer.request().unwrap();
        if number > 0 {
            peer.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n");
        }
        assert_eq!(peer.wait_for_end(), 0);
        ended.send(number).unwrap();
    });
    let transport = server.transport();
    let gave_up = tokio::time::timeout(Duration::from_millis(50), transport.send(post("x"))).await;
    assert!(gave_up.is_err(), "it is never answered");
    assert_eq!(has_ended.recv().await, Some(0));
    let mut body = send(&transport, post("x")).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "ab");
    drop(body);
    assert_eq!(has_ended.recv().await, Some(1));
    assert_eq!(transport.stats().open, 0);
}

#[tokio::test]
async fn one_of_ours_that_has_not_executed_a_call_is_believed_and_others_are_not() {
    let refusal = "HTTP/1.1 503 Service Unavailable\r\nx-weirgate-not-executed: 1\r\nretry-after: 7\r\n\
                   content-length: 28\r\n\r\n{\"error\":\"the replica drains\"}"
        .replace("28", "30");
    let server = Scripted::new(move |mut peer, _| {
        while peer.request().is_some() {
            peer.say(&refusal);
        }
    });
    let mut ours = config(&server.url());
    ours.ours = true;
    let transport = Transport::new(ours).unwrap();
    for _ in 0..2 {
        let fault = call(&transport, post("x")).await.unwrap_err();
        assert_eq!((fault.kind, fault.not_executed()), (FaultKind::NotExecuted, true));
        assert!(fault.to_string().contains("the replica drains"), "{fault}");
        assert_eq!(fault.error.retry_after(), Some(Duration::from_secs(7)));
    }
    assert_eq!(transport.stats().connects, 1);
    drop(transport);
    let answer = send(&server.transport(), post("x")).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(text(answer).await.unwrap(), r#"{"error":"the replica drains"}"#);
}

#[tokio::test]
async fn connections_without_work_are_closed() {
    let (ended, mut has_ended) = mpsc::unbounded_channel();
    let server = Scripted::new(move |mut peer, _| {
        peer.request().unwrap();
        peer.say(OK);
        peer.wait_for_end();
        ended.send(()).unwrap();
    });
    let mut config = config(&server.url());
    config.idle_timeout = Duration::from_millis(30);
    let transport = Transport::new(config).unwrap();
    call(&transport, get()).await.unwrap();
    has_ended.recv().await.unwrap();
    assert_eq!((transport.stats().open, transport.stats().idle), (0, 0));
    call(&transport, get()).await.unwrap();
    assert_eq!(transport.stats().connects, 2);
}
