//! HTTP/1.1: what is said, and what is made of what comes back.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use weirgate_replicas::remote::{FaultKind, OutBody};

use crate::server::{Endless, Peer, Scripted, call, get, post, send, stream, text};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Answers each request of each connection in the same way.
fn answers(answer: &'static [u8]) -> Scripted {
    Scripted::new(move |mut peer, _| {
        while peer.request().is_some() {
            peer.say(answer);
        }
    })
}

#[tokio::test]
async fn a_connection_carries_one_call_after_another() {
    let server = Scripted::new(move |mut peer, _| {
        while let Some(seen) = peer.request() {
            assert!(seen.head.starts_with("POST /path?a=b HTTP/1.1\r\nhost: 127.0.0.1:"), "{}", seen.head);
            let length = seen.body.len();
            peer.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n"));
            peer.say(seen.body);
        }
    });
    let transport = server.transport();
    for text in ["one", "two", ""] {
        assert_eq!(call(&transport, post(text)).await.unwrap(), (200, text.into()));
    }
    let stats = transport.stats();
    assert_eq!((stats.connects, stats.open, stats.idle, stats.reuses), (1, 1, 1, 2));
}

#[tokio::test]
async fn what_frames_the_body_is_said_here_and_not_by_the_caller() {
    let server = Scripted::new(move |mut peer, _| {
        while let Some(seen) = peer.request() {
            peer.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", seen.head.len(), seen.head));
        }
    });
    let transport = server.transport();
    let request = Request::post("/x")
        .header("host", "elsewhere")
        .header("content-length", "999")
        .header("transfer-encoding", "chunked")
        .header("connection", "close")
        .header("expect", "100-continue")
        .header("te", "trailers")
        .header("x-mine", "stays")
        .body(OutBody::Whole("abc".into()))
        .unwrap();
    let (_, seen) = call(&transport, request).await.unwrap();
    // Which gateway it came through is told too, by a number that each process draws.
    let is_way = |line: &&str| line.starts_with("x-weirgate-via: ");
    let seen = String::from_utf8(seen.to_vec()).unwrap();
    let rest: String = seen.split_inclusive("\r\n").filter(|line| !is_way(line)).collect();
    let expected = format!(
        "POST /x HTTP/1.1\r\nhost: {}\r\nx-mine: stays\r\nte: trailers\r\nconnection: te\r\ncontent-length: 3\r\n\r\n",
        server.address
    );
    assert_eq!(rest, expected);
    assert_eq!(seen.lines().filter(is_way).count(), 1);
    let (_, seen) = call(&transport, get()).await.unwrap();
    assert!(!String::from_utf8_lossy(&seen).contains("content-length"), "{seen:?}");
}

#[tokio::test]
async fn bodies_end_where_the_answer_says() {
    for (answer, body) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc"[..], "abc"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n", "abc"),
        (b"HTTP/1.1 200\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", ""),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
        (b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n", ""),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\nabc", "abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc", "abc"),
    ] {
        let server = answers(answer);
        let transport = server.transport();
        for _ in 0..2 {
            assert_eq!(call(&transport, get()).await.unwrap().1, body, "{}", answer.escape_ascii());
        }
        assert_eq!(transport.stats().connects, 1, "{} keeps its connection", answer.escape_ascii());
    }
}

#[tokio::test]
async fn connections_that_have_ended_or_are_in_doubt_are_not_used_again() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"[..],
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nbad",
        b"HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\n",
    ] {
        let server = Scripted::new(move |mut peer, _| {
            peer.request();
            peer.say(answer);
            assert!(peer.head().is_none(), "the connection is used again");
        });
        let transport = server.transport();
        for _ in 0..2 {
            call(&transport, get()).await.unwrap();
        }
        assert_eq!(transport.stats().connects, 2, "{}", answer.escape_ascii());
    }
}

#[tokio::test]
async fn a_head_asked_for_has_no_body() {
    let server = answers(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n");
    let transport = server.transport();
    for _ in 0..2 {
        let request = Request::head("/").body(OutBody::Whole(Bytes::new())).unwrap();
        let answer = send(&transport, request).await.unwrap();
        assert_eq!(answer.headers()["content-length"], "10");
        assert_eq!(text(answer).await.unwrap(), "");
    }
    assert_eq!(transport.stats().connects, 1);
}

/// Whoever disagrees with us about where an answer ends could be made to take a part of one for another's.
#[tokio::test]
async fn answers_whose_end_could_be_disputed_are_refused() {
    for (answer, part) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            "and a transfer-encoding",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", "several content-lengths"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok", "'2, 2' is no number"),
        ("HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok", "'+2' is no number"),
        ("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\nok", "is no number"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n", "'gzip, chunked' is not understood"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n", "is not understood"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n", "is not understood"),
        ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "is not understood"),
        ("HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok", "header"),
        ("HTTP/1.1 200 OK\r\n content-length: 2\r\n\r\nok", "header"),
        ("HTTP/1.1 200 OK\r\nx: a\r\n b\r\n\r\nok", "header"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n", "switches protocols"),
        ("HTTP/1.1 099 What\r\n\r\n", "status"),
        ("HTTP/2 200\r\n\r\n", "version"),
        ("SSH-2.0-x\r\n", ""),
        ("\u{15}\u{3}\u{3}\u{0}\u{2}\u{2}\u{28}\r\n\r\n", ""),
    ] {
        let server = Scripted::new(move |mut peer, _| {
            assert_eq!(peer.request().unwrap().body, b"body");
            peer.say(answer);
            assert_eq!(peer.wait_for_end(), 0);
        });
        let fault = call(&server.transport(), post("body")).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Broken, "{answer:?}");
        assert!(!fault.not_executed());
        assert!(fault.to_string().contains(part), "{answer:?}: {fault}");
    }
}

#[tokio::test]
async fn heads_have_an_end() {
    let lines = |count: usize| (0..count).map(|n| format!("x-{n}: y\r\n")).collect::<String>();
    for (answer, part) in [
        (format!("HTTP/1.1 200 OK\r\n{}\r\n", lines(101)), "more than 100 headers"),
        (format!("HTTP/1.1 200 OK\r\nx: {}", "y".repeat(70_000)), "more than 65536 bytes"),
        (format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000)), "more than 65536 bytes"),
        ("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(3000), "more than 65536 bytes"),
    ] {
        let server = Scripted::new(move |mut peer, _| {
            peer.request();
            peer.say(&answer);
            peer.wait_for_end();
        });
        let fault = call(&server.transport(), get()).await.unwrap_err();
        assert_eq!(fault.kind, FaultKind::Broken);
        assert!(fault.to_string().contains(part), "{fault}");
    }
    let most = format!("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n{}\r\n", lines(99));
    let server = answers(most.leak().as_bytes());
    assert_eq!(send(&server.transport(), get()).await.unwrap().headers().len(), 100);
}

#[tokio::test]
async fn an_answer_in_crumbs_is_put_together() {
    let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx: y\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 6\r\n\r\n";
    let server = Scripted::new(move |mut peer, _| {
        while peer.request().is_some() {
            for byte in answer {
                peer.say([*byte]);
                std::thread::yield_now();
            }
        }
    });
    let transport = server.transport();
    for _ in 0..3 {
        let answer = send(&transport, get()).await.unwrap();
        assert_eq!(answer.headers()["x"], "y");
        let body = answer.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["x-sum"], "6");
        assert_eq!(body.to_bytes(), "abc");
    }
    assert_eq!(transport.stats().connects, 1);
}

#[tokio::test]
async fn streamed_bodies_go_in_chunks_with_their_trailers_or_by_their_length() {
    let server = Scripted::new(move |mut peer, _| {
        while let Some(seen) = peer.request() {
            let body = [seen.head.as_bytes(), &seen.body].concat();
            peer.say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len()));
            peer.say(body);
        }
    });
    let transport = server.transport();

    let (mut sender, channel) = Channel::<Bytes, Infallible>::new(4);
    sender.send_data("abc".into()).await.unwrap();
    sender.send_data(Bytes::new()).await.unwrap();
    sender.send_data(Bytes::from(vec![b'x'; 20])).await.unwrap();
    sender.send_trailers(HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("e"))])).await.unwrap();
    drop(sender);
    let (_, seen) = call(&transport, stream(channel)).await.unwrap();
    let seen = String::from_utf8(seen.to_vec()).unwrap();
    assert!(seen.contains("transfer-encoding: chunked\r\n") && !seen.contains("content-length"), "{seen}");
    assert!(seen.ends_with("\r\n\r\n3\r\nabc\r\n14\r\nxxxxxxxxxxxxxxxxxxxx\r\n0\r\netag: e\r\n\r\n"), "{seen}");

    let (_, seen) = call(&transport, stream(http_body_util::Full::new(Bytes::from_static(b"abc")))).await.unwrap();
    assert!(seen.ends_with(b"content-length: 3\r\n\r\nabc"), "{seen:?}");
    assert_eq!(transport.stats().connects, 1);
}

#[tokio::test]
async fn both_directions_flow_at_once() {
    let server = Scripted::new(move |mut peer, _| {
        peer.head().unwrap();
        peer.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
        for _ in 0..3 {
            // One chunk of four bytes: its size, itself and two ends of lines.
            let chunk = peer.take(9);
            peer.say(chunk);
        }
        assert_eq!(peer.take(5), b"0\r\n\r\n");
        peer.say("0\r\n\r\n");
        assert_eq!(peer.wait_for_end(), 0);
    });
    let transport = server.transport();
    let (mut sender, channel) = Channel::<Bytes, Infallible>::new(1);
    let answer = send(&transport, stream(channel)).await.unwrap();
    let mut body = answer.into_body();
    for piece in ["ping", "pong", "pang"] {
        sender.send_data(piece.into()).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), piece);
    }
    drop(sender);
    assert!(body.frame().await.is_none());
    assert_eq!(transport.stats().idle, 1, "both directions came to their ends");
}

#[tokio::test]
async fn an_early_answer_arrives_although_the_body_does_not() {
    // It may close its side with what came unread, or wait for the client to do so.
    for closes in [true, false] {
        let server = Scripted::new(move |mut peer, _| {
            peer.head().unwrap();
            peer.say("HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nbig");
            if !closes {
                peer.wait_for_end();
            }
        });
        let transport = server.transport();
        match call(&transport, stream(Endless::default())).await {
            Ok(answer) => assert_eq!(answer, (413, "big".into())),
            // Its reset threw away what it had said.
            Err(fault) => assert!(closes && fault.kind == FaultKind::Broken, "{fault}"),
        }
        assert_eq!(transport.stats().open, 0);
    }
}

#[tokio::test]
async fn two_at_once_need_two_connections_of_which_no_more_are_kept_than_configured() {
    let served = Arc::new(AtomicUsize::new(0));
    let count = served.clone();
    let mut held: Vec<Peer> = Vec::new();
    let server = Scripted::new(move |mut peer, _| {
        peer.request().unwrap();
        held.push(peer);
        if held.len() == 2 {
            count.fetch_add(2, Ordering::SeqCst);
            held.iter_mut().for_each(|peer| peer.say(OK));
        }
    });
    let mut config = crate::server::config(&server.url());
    config.max_idle = 1;
    let transport = weirgate_replicas::remote::Transport::new(config).unwrap();
    let both = tokio::join!(call(&transport, get()), async {
        let answer = send(&transport, get()).await;
        text(answer.unwrap()).await
    });
    assert_eq!((both.0.unwrap(), both.1.unwrap()), ((200, "ok".into()), "ok".into()));
    assert_eq!((transport.stats().connects, transport.stats().idle, served.load(Ordering::SeqCst)), (2, 1, 2));
}
