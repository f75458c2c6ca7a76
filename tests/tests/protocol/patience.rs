//! Clients that are slow, or stuck, or idle. The patience with them is two seconds here: a busy machine
//! may well keep one waiting for half of that.

use std::time::Duration;

use prost::Message as _;
use weirgate_protocol::oip;
use weirgate_tests::frames::{self, DATA, GOAWAY, INITIAL_WINDOW};
use weirgate_tests::process::open_files;
use weirgate_tests::{Frames, Http1, Raw, Server, Service, calls, eventually, grpc, row, values};

/// More than two sockets hold.
const LARGE: usize = 48 << 20;

async fn impatient() -> Server {
    Server::with([Service::new("identity")]).flag("--client-timeout", "2").start().await
}

/// A call with so many bytes of tensor both ways, which sends all and reads nothing.
async fn ask_for_much(raw: &mut Raw) {
    let json = format!(
        r#"{{"parameters":{{"binary_data_output":true}},"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{}],"parameters":{{"binary_data_size":{LARGE}}}}}]}}"#,
        LARGE / 4
    );
    let lines =
        format!("inference-header-content-length: {}\r\ncontent-length: {}\r\n", json.len(), json.len() + LARGE);
    raw.write_head("identity", &lines).await;
    raw.write(json).await;
    raw.write(vec![0; LARGE]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_loses_its_connection() {
    let server = impatient().await;
    let mut stuck = Raw::connect(server.data).await;
    ask_for_much(&mut stuck).await;
    eventually("the answer to be made", async || (server.batches("identity").await.1 == 1).then_some(())).await;
    Http1::connect(server.data).await.infer("identity", &row(&[1.0])).await.response();
    let cut = stuck.read_until(|_| None::<()>);
    // Nothing is read before the connection is gone on the other side.
    eventually("the connection to be closed", async || (open_connections(&server).await == 0).then_some(())).await;
    assert!(cut.await.is_none());
    Http1::connect(server.data).await.infer("identity", &row(&[1.0])).await.response();
    server.is_idle("identity").await;
}

/// Connections on the data port, as the kernel lists them for this process.
async fn open_connections(server: &Server) -> usize {
    let port = format!(":{:04X}", server.data.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let established = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        let (local, _, state) = (columns.next().unwrap(), columns.next(), columns.next().unwrap());
        local.ends_with(&port) && state == "01"
    };
    table.lines().skip(1).filter(established).count()
}

/// It reads all the time, and takes several times as long as a client may stand still.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_gets_its_answer() {
    let server = impatient().await;
    let mut slow = Raw::connect(server.data).await;
    ask_for_much(&mut slow).await;
    for step in 1..=40 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        slow.read_until(|bytes| (bytes.len() >= step * (LARGE / 40)).then_some(())).await.expect("it goes on");
    }
    slow.read_until(|bytes| (bytes.len() >= LARGE).then_some(())).await.expect("it is whole");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_h2_client_that_takes_nothing_loses_its_connection() {
    let server = impatient().await;
    let mut stuck = Frames::connect(server.data, &[(INITIAL_WINDOW, 1_000)]).await;
    let numbers = vec!["1"; 60_000].join(",");
    let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,60000],"data":[{numbers}]}}]}}"#);
    stuck.infer(1, "identity", body.as_bytes()).await.unwrap();
    // It answers pings, so that only what it does not take can end it.
    let frames = stuck.closed().await;
    let taken: usize = frames.iter().filter(|frame| frame.kind == DATA).map(|frame| frame.payload.len()).sum();
    assert_eq!(taken, 1_000, "as much as its window");
    let mut small = Frames::connect(server.data, &[]).await;
    small
        .infer(1, "identity", br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#)
        .await
        .unwrap();
    while small.next().await.expect("an answer").kind != DATA {}
    server.is_idle("identity").await;
}

const SMALL: &[u8] = br#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_small_answer_that_is_not_taken_ends_its_connection_and_the_other_calls_first() {
    let server = impatient().await;
    let mut stuck = Frames::connect(server.data, &[(INITIAL_WINDOW, 0)]).await;
    stuck.infer(1, "identity", SMALL).await.unwrap();
    // A stream, which may be idle; its call is sent once the connection is to end.
    let grpc = frames::fields(&[("content-type", "application/grpc"), ("te", "trailers")]);
    let head = [frames::head("POST", "/inference.GRPCInferenceService/ModelStreamInfer"), grpc].concat();
    let open = frames::frame(frames::HEADERS, frames::END_HEADERS, 3, &head);
    stuck.write(&[open, frames::frame(8, 0, 3, &10_000_u32.to_be_bytes())].concat()).await.unwrap();
    while stuck.next().await.expect("the client is told before it is cut").kind != GOAWAY {}
    let message = oip::encode_request("identity", None, row(&[1.0]), true).unwrap();
    let message = grpc::frame(0, &message.encode_to_vec());
    stuck.write(&frames::frame(DATA, frames::END_STREAM, 3, &message)).await.unwrap();
    let frames = stuck.closed().await;
    let answers = |stream| frames.iter().any(|frame| frame.stream == stream && frame.kind == DATA);
    assert!(answers(3) && !answers(1), "{frames:?}");
}

/// Nothing of it is taken, or its first byte, and the rest lies where only h2 sees it.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_answer_that_is_not_taken_holds_up_no_stop() {
    for window in [0, 1] {
        let mut server = impatient().await;
        let mut stuck = Frames::connect(server.data, &[(INITIAL_WINDOW, window)]).await;
        stuck.infer(1, "identity", SMALL).await.unwrap();
        eventually("the answer to be made", async || (server.batches("identity").await.1 == 1).then_some(())).await;
        server.signal("TERM");
        stuck.closed().await;
        assert!(server.ended().await.success());
    }
}

/// One that does take it, in many small windows, is served.
#[tokio::test(flavor = "multi_thread")]
async fn an_h2_client_of_small_windows_gets_its_answer() {
    let server = impatient().await;
    let mut slow = Frames::connect(server.data, &[(INITIAL_WINDOW, 1 << 14)]).await;
    let numbers = vec!["1"; 100_000].join(",");
    let body = format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,100000],"data":[{numbers}]}}]}}"#);
    slow.infer(1, "identity", body.as_bytes()).await.unwrap();
    let mut taken = 0;
    loop {
        let frame = slow.next().await.expect("it goes on");
        if frame.kind != DATA {
            continue;
        }
        taken += frame.payload.len();
        if frame.flags & frames::END_STREAM != 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        let more = (frame.payload.len() as u32).to_be_bytes();
        let updates = [frames::frame(8, 0, 0, &more), frames::frame(8, 0, 1, &more)].concat();
        slow.write(&updates).await.unwrap();
    }
    assert!(taken > 200_000, "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let server = Server::with([Service::new("slow_second")]).flag("--client-timeout", "1").start().await;
    let mut raw = Raw::connect(server.data).await;
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1.5]}]}"#;
    raw.write_head("slow-second", &format!("content-length: {}\r\n", body.len())).await;
    raw.write(body).await;
    let (status, _, text) = raw.take_answer().await.expect("it waits for its answer longer than it may be idle");
    assert_eq!(status, 200, "{text}");
    assert!(raw.read_until(|_| None::<()>).await.is_none(), "it is closed");
}

/// It never pauses for long, so that only the call's deadline can end it.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_trickles_ends_with_the_deadline() {
    let server = impatient().await;
    let mut raw = Raw::connect(server.data).await;
    raw.write_head("identity", "content-length: 1000000\r\nx-request-timeout-seconds: 3\r\n").await;
    let (status, _, text) = {
        let mut tries = 0;
        loop {
            assert!(tries < 600, "it trickles on");
            tries += 1;
            let _ = raw.try_write(" ").await;
            let soon = tokio::time::timeout(Duration::from_millis(100), raw.read_answer());
            if let Ok(answer) = soon.await {
                break answer.expect("the client is told why");
            }
        }
    };
    assert_eq!(status, 504, "{text}");
    assert!(text.contains("while the request was being read"), "{text}");
    server.is_idle("identity").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_pipelined_calls_are_answered_in_order() {
    let server = Server::start([Service::new("identity")]).await;
    let mut raw = Raw::connect(server.data).await;
    let files = open_files(server.pid());
    let mut all = Vec::new();
    for number in 0..1_000 {
        let body = format!(
            r#"{{"id":"{number}","inputs":[{{"name":"x","datatype":"FP32","shape":[1,1],"data":[{number}]}}]}}"#
        );
        let head =
            format!("POST /v2/models/identity/infer HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", body.len());
        all.extend_from_slice(head.as_bytes());
        all.extend_from_slice(body.as_bytes());
    }
    raw.write(all).await;
    for number in 0..1_000 {
        let (status, _, text) = raw.take_answer().await.unwrap();
        assert_eq!(status, 200, "{text}");
        let answer: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(answer["id"], number.to_string());
        assert_eq!(answer["outputs"][0]["data"][0], number as f64);
    }
    assert!(open_files(server.pid()) <= files + 8);
    let reply = Http1::connect(server.data).await.send(calls::json("identity", &row(&[2.0]))).await;
    assert_eq!(values(&reply.response().outputs[0]), [2.0]);
}
