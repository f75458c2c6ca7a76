//! h2, with servers that speak it frame by frame.
//!
//! A connection ends when its driver is stopped, for which the runtime needs a thread beside the one that ends the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use weirgate_replicas::remote::{FaultKind, OutBody, Transport};

use crate::server::{Endless, LONG, Peer, Scripted, call, config, post, send, stream, text, transport};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

const NO_ERROR: u32 = 0;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;

/// The largest window.
const WINDOW: u32 = (1 << 31) - 1;

/// The server's side of h2, frame by frame.
struct Frames(Peer);

impl Frames {
    /// Greets, and says how many streams it takes at once.
    fn greet(mut peer: Peer, streams: u32) -> Frames {
        assert_eq!(peer.take(24), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut frames = Frames(peer);
        frames.say(SETTINGS, 0, 0, &[&[0, 3][..], &streams.to_be_bytes()].concat());
        frames
    }

    fn say(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        self.0.say([&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat());
    }

    /// The stream of the next request; none where the client closed.
    fn request(&mut self) -> Option<u32> {
        self.wait_for(HEADERS).map(|(stream, _)| stream)
    }

    /// The next frame of a kind: its stream and payload.
    fn wait_for(&mut self, wanted: u8) -> Option<(u32, Vec<u8>)> {
        loop {
            while self.0.input().len() < 9 {
                if !self.0.more() {
                    return None;
                }
            }
            let head = self.0.take(9);
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let payload = self.0.take(length);
            if head[3] == wanted {
                return Some((u32::from_be_bytes(head[5..9].try_into().unwrap()), payload));
            }
        }
    }

    /// Answers with status 200 (which the static table has at 8) and a body.
    fn answer(&mut self, stream: u32, body: &[u8]) {
        self.say(HEADERS, END_HEADERS, stream, &[0x88]);
        self.say(DATA, END_STREAM, stream, body);
    }

    fn go_away(&mut self, last: u32, reason: u32) {
        self.say(GOAWAY, 0, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat());
    }

    fn reset(&mut self, stream: u32, reason: u32) {
        self.say(RST_STREAM, 0, stream, &reason.to_be_bytes());
    }

    fn wait_for_end(&mut self) {
        self.0.wait_for_end();
    }
}

fn h2c(server: &Scripted) -> Transport {
    transport(&format!("h2c://{}", server.address))
}

/// What a server does with a call decides whether it may be executed elsewhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_a_server_says_of_a_stream_decides_what_may_have_been_executed() {
    type Script = fn(&mut Frames, u32);
    let scripts: [(&str, Script, FaultKind); 7] = [
        ("refuses the stream", |frames, stream| frames.reset(stream, REFUSED_STREAM), FaultKind::NotExecuted),
        ("goes away before it", |frames, _| frames.go_away(0, NO_ERROR), FaultKind::NotExecuted),
        ("goes away before it in anger", |frames, _| frames.go_away(0, INTERNAL_ERROR), FaultKind::NotExecuted),
        ("fails at it", |frames, stream| frames.reset(stream, INTERNAL_ERROR), FaultKind::Broken),
        ("closes", |frames, _| _ = frames.0.stream.shutdown(std::net::Shutdown::Both), FaultKind::Broken),
        (
            "goes away after it and closes",
            |frames, stream| {
                frames.go_away(stream, NO_ERROR);
                _ = frames.0.stream.shutdown(std::net::Shutdown::Both);
            },
            FaultKind::Broken,
        ),
        ("answers what is no h2", |frames, _| frames.0.say("HTTP/1.1 400 Bad Request\r\n\r\n"), FaultKind::Broken),
    ];
    for (what, script, kind) in scripts {
        let server = Scripted::new(move |peer, _| {
            let mut frames = Frames::greet(peer, 100);
            let stream = frames.request().unwrap();
            script(&mut frames, stream);
            frames.wait_for_end();
        });
        let fault = call(&h2c(&server), post("x")).await.unwrap_err();
        assert_eq!(fault.kind, kind, "a server that {what}: {fault}");
        assert_eq!(fault.not_executed(), kind != FaultKind::Broken);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_that_was_refused_can_be_sent_again() {
    let server = Scripted::new(|peer, _| {
        let mut frames = Frames::greet(peer, 100);
        let first = frames.request().unwrap();
        frames.reset(first, REFUSED_STREAM);
        let second = frames.request().unwrap();
        let (_, body) = frames.wait_for(DATA).unwrap();
        frames.answer(second, &body);
        frames.wait_for_end();
    });
    let transport = h2c(&server);
    let (parts, body) = post("abc").into_parts();
    let mut replay = body.replay(OutBody::REPLAY);
    let mut attempt = || http::Request::from_parts(parts.clone(), replay.body().unwrap());
    assert_eq!(call(&transport, attempt()).await.unwrap_err().kind, FaultKind::NotExecuted);
    assert_eq!(call(&transport, attempt()).await.unwrap(), (200, "abc".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_go_elsewhere_when_a_connection_goes_away_and_those_on_it_are_finished() {
    let server = Scripted::new(|peer, number| {
        let mut frames = Frames::greet(peer, 100);
        let stream = frames.request().unwrap();
        if number == 0 {
            frames.say(HEADERS, END_HEADERS, stream, &[0x88]);
            frames.go_away(stream, NO_ERROR);
            frames.say(DATA, END_STREAM, stream, b"slow");
        } else {
            frames.answer(stream, b"next");
        }
        if number == 1 {
            frames.wait_for_end();
        }
    });
    let transport = h2c(&server);
    let answer = send(&transport, post("x")).await.unwrap();
    assert_eq!(text(answer).await.unwrap(), "slow");
    assert_eq!(call(&transport, post("x")).await.unwrap(), (200, "next".into()));
    assert_eq!(transport.stats().connects, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn as_many_streams_as_the_server_takes_then_another_connection_then_the_rest_waits() {
    let server = Scripted::new({
        let mut held = Vec::new();
        move |peer, _| {
            let mut frames = Frames::greet(peer, 1);
            let stream = frames.request().unwrap();
            held.push((frames, stream));
            if held.len() == 2 {
                // Both wait, each on its own connection; the third has none until one of them is answered.
                let [(first, a), (second, b)] = &mut held[..] else { unreachable!() };
                first.answer(*a, b"ok");
                let third = first.request().unwrap();
                first.answer(third, b"third");
                second.answer(*b, b"ok");
                first.wait_for_end();
            }
        }
    });
    let mut config = config(&format!("h2c://{}", server.address));
    config.max_h2_connections = 2;
    let transport = Transport::new(config).unwrap();
    let (a, b, c) = tokio::join!(call(&transport, post("a")), call(&transport, post("b")), call(&transport, post("c")));
    assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), ((200, "ok".into()), (200, "ok".into()), (200, "third".into())));
    assert_eq!((transport.stats().connects, transport.stats().h2_calls), (2, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_server_that_speaks_no_h2_is_none_to_connect_to() {
    let server = Scripted::new(|mut peer, _| {
        peer.say("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        peer.wait_for_end();
    });
    let fault = call(&h2c(&server), post("x")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Connect);
    assert!(fault.to_string().contains("does not speak h2"), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_caller_who_leaves_resets_the_stream_and_not_the_connection() {
    let (reset, mut was_reset) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::new(move |peer, _| {
        let mut frames = Frames::greet(peer, 100);
        let first = frames.request().unwrap();
        assert_eq!(frames.wait_for(RST_STREAM).unwrap(), (first, 8u32.to_be_bytes().to_vec()));
        reset.send(()).unwrap();
        let second = frames.request().unwrap();
        frames.say(HEADERS, END_HEADERS, second, &[0x88]);
        frames.say(DATA, 0, second, b"some");
        assert_eq!(frames.wait_for(RST_STREAM).unwrap().0, second);
        reset.send(()).unwrap();
        let third = frames.request().unwrap();
        frames.answer(third, b"ok");
        frames.wait_for_end();
    });
    let transport = h2c(&server);
    let gave_up = tokio::time::timeout(Duration::from_millis(50), transport.send(post("x"))).await;
    assert!(gave_up.is_err(), "it is never answered");
    was_reset.recv().await.unwrap();
    drop(send(&transport, post("x")).await.unwrap());
    was_reset.recv().await.unwrap();
    assert_eq!(call(&transport, post("x")).await.unwrap(), (200, "ok".into()));
    assert_eq!((transport.stats().connects, transport.stats().h2_calls), (1, 0));
}

/// A connection that its server does not read holds calls back. Those of which nothing was written are known.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_call_that_never_left_a_connection_was_not_executed() {
    let (reset, when) = std::sync::mpsc::channel();
    let server = Scripted::new(move |peer, _| {
        let mut frames = Frames::greet(peer, 100);
        // Windows as large as can be: only the socket holds the client back.
        frames.say(SETTINGS, 0, 0, &[&[0, 4][..], &WINDOW.to_be_bytes()].concat());
        frames.say(WINDOW_UPDATE, 0, 0, &(WINDOW - 65_535).to_be_bytes());
        frames.request().unwrap();
        when.recv_timeout(LONG).unwrap();
        frames.0.reset();
    });
    let transport = h2c(&server);
    let made = Arc::new(AtomicUsize::new(0));
    let upload = call(&transport, stream(Endless { made: made.clone() }));
    let second = async {
        let mut before = 0;
        while before == 0 || before != made.load(SeqCst) {
            before = made.load(SeqCst);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::join!(call(&transport, post("x")), async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            reset.send(()).unwrap();
        })
    };
    let (upload, (second, ())) = tokio::join!(upload, second);
    let (upload, second) = (upload.unwrap_err(), second.unwrap_err());
    assert_eq!((upload.kind, second.kind), (FaultKind::Broken, FaultKind::Unsent), "{upload}, {second}");
    assert_eq!(transport.stats().connects, 1);
}
