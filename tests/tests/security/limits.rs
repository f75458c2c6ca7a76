//! What one key may use.

use std::time::Instant;

use http_body_util::BodyExt;
use weirgate_protocol::oip;
use weirgate_tests::http::with;
use weirgate_tests::process::Folder;
use weirgate_tests::{Http1, Http2, Raw, Server, Service, Stream, calls, eventually, row};

use super::{file, key, private};

async fn server(limits: &str) -> (Server, String, Folder) {
    let folder = Folder::new();
    let (key, entry) = key("limited", "*", limits);
    let path = private(&folder, "keys.yaml", &file(&[&entry]));
    let services = [Service::new("identity"), Service::new("slow_second")];
    let server = Server::with(services).flag("--api-keys", path.to_str().unwrap()).start().await;
    (server, key, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_is_kept_and_who_waits_as_told_is_let_in() {
    let (server, key, _folder) = server("requestsPerSecond: 0.5\nburst: 3").await;
    let mut client = Http1::connect(server.data).await;
    let call = || with(calls::json("identity", &row(&[1.0])), "x-api-key", &key);
    let started = Instant::now();
    let mut answered = 0;
    let wait = loop {
        let reply = client.send(call()).await;
        if reply.status == 429 {
            assert!(reply.error().contains("'limited' may use 0.5 requests a second"), "{reply:?}");
            break reply.header("retry-after").unwrap().parse::<u64>().unwrap();
        }
        reply.response();
        answered += 1;
        // However slow the machine: the burst and what the time brought.
        assert!(f64::from(answered) <= 3.0 + 0.5 * started.elapsed().as_secs_f64(), "{answered}");
    };
    assert!(answered >= 3 && (1..=2).contains(&wait), "{answered} calls, then {wait} s");
    tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
    client.send(call()).await.response();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_at_a_time_are_counted_until_their_answers_end() {
    let (server, key, _folder) = server("maxConcurrent: 2").await;
    let client = Http2::connect(server.data).await;
    let slow = || with(calls::json("slow-second", &row(&[1.0])), "x-api-key", &key);
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..2 {
        let (client, request) = (client.clone(), slow());
        running.spawn(async move { client.send(request).await.status });
    }
    eventually("both to be there", async || {
        let metrics = server.metrics().await;
        let of = |name| metrics.sum(name, &[("service", "slow-second")]);
        (of("weirgate_queue_requests") + of("weirgate_running_requests") == 2.0).then_some(())
    })
    .await;
    let reply = client.send(slow()).await;
    assert!(reply.status == 429 && reply.error().contains("2 calls running"), "{reply:?}");
    while let Some(status) = running.join_next().await {
        assert_eq!(status.unwrap(), 200);
    }
    // Those who leave give their place back too.
    for _ in 0..4 {
        let mut left = tokio::task::JoinSet::new();
        let (client, request) = (Http2::connect(server.data).await, slow());
        left.spawn(async move { client.try_send(request).await.map(drop) });
        server.reaches("slow-second", 0, 1).await;
        left.shutdown().await;
        server.is_idle("slow-second").await;
    }
    let quick = || with(calls::json("identity", &row(&[1.0])), "x-api-key", &key);
    client.send(quick()).await.response();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_have_as_many_bytes_as_its_key_allows() {
    let (server, key, _folder) = server("maxBody: 1KiB").await;
    let mut client = Http1::connect(server.data).await;
    let of = |values: &[f32]| with(calls::json("identity", &row(values)), "x-api-key", &key);
    client.send(of(&[1.0])).await.response();
    let reply = client.send(of(&[1.5; 1_000])).await;
    assert!(reply.status == 413 && reply.error().contains("maxBody of the caller's key"), "{reply:?}");
}

/// Its length is not announced: it is refused when it has come to the limit.
#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_held_to_the_same_limit() {
    let (server, key, _folder) = server("maxBody: 1KiB").await;
    let lines = format!("x-api-key: {key}\r\ntransfer-encoding: chunked\r\n");
    let send = async |values: &[f32]| {
        let body = calls::json("identity", &row(values)).into_body().collect().await.unwrap().to_bytes();
        let mut raw = Raw::connect(server.data).await;
        raw.write_head("identity", &lines).await;
        for piece in body.chunks(512) {
            // It may have been refused meanwhile.
            let _ = raw.try_write([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
        }
        let _ = raw.try_write("0\r\n\r\n").await;
        raw.read_answer().await.expect("an answer")
    };
    assert_eq!(send(&[1.0]).await.0, 200);
    let (status, _, text) = send(&[1.5; 1_000]).await;
    assert!(status == 413 && text.contains("maxBody of the caller's key"), "{status}: {text}");
}

/// A stream is no way around the rate.
#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_stream_is_a_request() {
    let (server, key, _folder) = server("requestsPerSecond: 0.01\nburst: 3").await;
    let path = "/inference.GRPCInferenceService/ModelStreamInfer";
    let mut stream = Stream::open(server.data, path, &[("x-api-key", &key)]).await;
    for number in 0..5 {
        let request = oip::encode_request("identity", None, row(&[number as f32]), false).unwrap();
        stream.send(&request).await;
        let answer: oip::ModelStreamInferResponse = stream.next().await.expect("each message is answered");
        let refused = answer.error_message.contains("'limited' may use 0.01 requests a second");
        assert_eq!(refused, number >= 3, "{number}: {answer:?}");
        assert_eq!(answer.error_message.is_empty(), number < 3, "{number}: {answer:?}");
    }
    stream.close();
    assert_eq!(
        Http1::connect(server.data)
            .await
            .send(with(calls::json("identity", &row(&[1.0])), "x-api-key", &key))
            .await
            .status,
        429
    );
}
