//! What h2 and HTTP/1 clients can do without ever asking for something: the next client is served, and memory is bounded.

use weirgate_tests::frames::{
    self, ACK, CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW, PING, RST_STREAM, frame, head,
    settings,
};
use weirgate_tests::process::resident_bytes;
use weirgate_tests::{Frames, Http1, Http2, Raw, Server, Service, calls, row, values};

const BOUND: usize = 64 << 20;

struct Flooded {
    server: Server,
    before: usize,
}

impl Flooded {
    async fn start() -> Flooded {
        Flooded::patient("2").await
    }

    /// A server that waits so many seconds for a client.
    async fn patient(client_timeout: &str) -> Flooded {
        let server = Server::with([Service::new("identity")]).flag("--client-timeout", client_timeout).start().await;
        Http1::connect(server.data).await.infer("identity", &row(&[1.0])).await.response();
        let before = resident_bytes(server.pid());
        Flooded { server, before }
    }

    async fn still_serves(&mut self) {
        for reply in [
            Http1::connect(self.server.data).await.infer("identity", &row(&[1.0])).await,
            Http2::connect(self.server.data).await.send(calls::json("identity", &row(&[1.0]))).await,
        ] {
            assert_eq!(values(&reply.response().outputs[0]), [1.0]);
        }
        let grown = resident_bytes(self.server.pid()).saturating_sub(self.before);
        assert!(grown < BOUND, "it took {grown} bytes");
        assert!(self.server.is_running() && !self.server.log().contains("panicked"), "{}", self.server.log());
    }
}

/// Writes the same bytes so often, or until the server has had enough.
async fn flood(frames: &mut Frames, bytes: &[u8], times: usize) -> bool {
    for _ in 0..times {
        if frames.write(bytes).await.is_err() {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_end_the_connection() {
    let mut flooded = Flooded::start().await;
    let mut frames = Frames::connect(flooded.server.data, &[]).await;
    let head = head("GET", "/v2/health/live");
    let mut all = Vec::new();
    for number in 0..20_000 {
        let stream = 2 * number + 1;
        all.extend(frame(HEADERS, END_HEADERS | END_STREAM, stream, &head));
        all.extend(frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
    }
    // The server may close before it has read them all.
    let _ = frames.write(&all).await;
    let ended = frames.closed().await;
    assert!(ended.iter().any(|frame| frame.kind == GOAWAY), "it says why: {} frames", ended.len());
    flooded.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_continuations_end_the_connection() {
    let mut flooded = Flooded::start().await;
    let mut frames = Frames::connect(flooded.server.data, &[]).await;
    let piece = frames::fields(&vec![("x-more", "and more and more and more"); 300]);
    frames.write(&frame(HEADERS, 0, 1, &head("GET", "/v2"))).await.unwrap();
    let piece = frame(CONTINUATION, 0, 1, &piece);
    flood(&mut frames, &piece, 10_000).await;
    frames.closed().await;
    flooded.still_serves().await;
}

/// Each asks for an answer, which the client does not read.
#[tokio::test(flavor = "multi_thread")]
async fn pings_and_settings_without_end_take_no_memory() {
    let mut flooded = Flooded::start().await;
    for one in [frame(PING, 0, 0, &[0; 8]), settings(&[]), settings(&[(INITIAL_WINDOW, 1 << 16)])] {
        let mut frames = Frames::connect(flooded.server.data, &[]).await;
        let many = one.repeat(10_000);
        let ended = flood(&mut frames, &many, 200).await;
        assert!(ended, "a client that reads nothing may send on for ever");
        flooded.still_serves().await;
    }
    // Empty data on a stream that is open, and acknowledgements of nothing.
    let mut frames = Frames::connect(flooded.server.data, &[]).await;
    frames.write(&frame(HEADERS, END_HEADERS, 1, &head("POST", "/v2/models/identity/infer"))).await.unwrap();
    let many = [frame(frames::DATA, 0, 1, &[]), frame(PING, ACK, 0, &[0; 8])].concat().repeat(1_000);
    flood(&mut frames, &many, 100).await;
    flooded.still_serves().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_whose_answers_nobody_takes_are_bounded() {
    // Where answers may lie for so short a time, a slow machine ends the connection before the last request has come.
    let mut flooded = Flooded::patient("60").await;
    let mut frames = Frames::connect(flooded.server.data, &[(INITIAL_WINDOW, 0)]).await;
    let body = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#;
    // Some more than may be open.
    for number in 0..1_100 {
        frames.infer(2 * number + 1, "identity", body).await.unwrap();
    }
    flooded.still_serves().await;
    while frames.next().await.expect("a stream is refused").kind != RST_STREAM {}
    drop(frames);
    flooded.server.is_idle("identity").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_are_431() {
    let mut flooded = Flooded::start().await;
    let two = Http2::connect(flooded.server.data).await;
    let call = |length: usize| {
        let (builder, body) = calls::rest("identity", &row(&[1.0]), false);
        builder.header("x-long", "l".repeat(length)).body(body).unwrap()
    };
    assert_eq!(two.send(call(16 << 10)).await.status, 200);
    assert_eq!(two.send(call(40 << 10)).await.status, 431);
    assert_eq!(two.send(call(10)).await.status, 200, "the connection serves on");
    let lines = |count: usize| (0..count).map(|number| format!("x-{number}: 1\r\n")).collect::<String>();
    for (lines, expected) in [
        (format!("x-long: {}\r\n", "l".repeat(100 << 10)), 200),
        (format!("x-long: {}\r\n", "l".repeat(1 << 20)), 431),
        (lines(90), 200),
        (lines(200), 431),
    ] {
        let mut raw = Raw::connect(flooded.server.data).await;
        let _ = raw.try_write(format!("GET /v2/health/live HTTP/1.1\r\nhost: a\r\n{lines}\r\n")).await;
        let answer = raw.read_answer().await;
        assert_eq!(answer.map(|(status, ..)| status), Some(expected), "{} bytes of lines", lines.len());
    }
    flooded.still_serves().await;
}
