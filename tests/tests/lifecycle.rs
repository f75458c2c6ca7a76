//! Starting and stopping: what ready means, what happens to calls meanwhile, what a failed model does to the others.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use tokio::task::JoinSet;
use weirgate_protocol::tensor::raw_bytes;
use weirgate_protocol::{Datatype, InferRequest, Shape, Tensor, oip};
use weirgate_tests::grpc::UNAVAILABLE;
use weirgate_tests::process::Folder;
use weirgate_tests::{Grpc, Http1, Http2, Raw, Reply, Server, Service, calls, eventually, row, values};

/// A sentence of five tokens for MiniLM.
fn sentence() -> InferRequest {
    let tensor = |name: &str, values: [i64; 5]| {
        Tensor::new(name, Datatype::Int64, Shape::from_slice(&[1, 5]), raw_bytes(values.to_vec())).unwrap()
    };
    let inputs = vec![
        tensor("input_ids", [101, 7592, 2088, 999, 102]),
        tensor("attention_mask", [1; 5]),
        tensor("token_type_ids", [0; 5]),
    ];
    InferRequest { inputs, ..Default::default() }
}

/// A slow call on a connection of its own, which is running when this returns.
async fn running(server: &Server) -> JoinSet<Reply> {
    let mut client = Http1::connect(server.data).await;
    let mut calls = JoinSet::new();
    calls.spawn(async move { client.infer("slow-second", &row(&[3.0])).await });
    server.reaches("slow-second", 0, 1).await;
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_17_calls_are_held_while_the_model_loads() {
    let server = Server::with([Service::minilm()]).at_once().start().await;
    let mut calls = JoinSet::new();
    for caller in 0..16 {
        let address = server.data;
        calls.spawn(async move {
            for _ in 0..3 {
                if caller % 4 == 0 {
                    let response = Grpc::connect(address).await.infer("minilm", &sentence()).await.unwrap();
                    assert_eq!(values(&response.outputs[0]).len(), 384);
                } else {
                    let reply = Http1::connect(address).await.infer("minilm", &sentence()).await;
                    assert_eq!(values(&reply.response().outputs[0]).len(), 384);
                }
            }
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
}

/// Whoever says ready first, the call after it is answered.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_17_ready_means_the_first_call_succeeds() {
    let server = Server::with([Service::minilm()]).at_once().start().await;
    let rest = async |path: &str| {
        let mut client = Http1::connect(server.data).await;
        eventually(path, async || {
            let reply = client.get(path).await;
            assert!([200, 503].contains(&reply.status), "{path} while loading: {reply:?}");
            (reply.status == 200).then_some(())
        })
        .await;
        client.infer("minilm", &sentence()).await.response();
    };
    let grpc = async {
        let client = Grpc::connect(server.data).await;
        eventually("ModelReady", async || {
            let asked = oip::ModelReadyRequest { name: "minilm".to_owned(), ..Default::default() };
            let path = "/inference.GRPCInferenceService/ModelReady";
            let answer: oip::ModelReadyResponse = client.call(path, &asked).await.unwrap();
            answer.ready.then_some(())
        })
        .await;
        client.infer("minilm", &sentence()).await.unwrap();
    };
    tokio::join!(rest("/v2/models/minilm/ready"), rest("/v2/health/ready"), rest("/v2/models/minilm"), grpc);
    // The admin port's readiness holds too, and liveness never waited for it.
    assert_eq!(server.admin_get("/livez").await.unwrap().status, 200);
    eventually("readyz", async || (server.admin_get("/readyz").await?.status == 200).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_17_a_broken_model_is_not_ready_and_says_why() {
    let mut server = Server::start([Service::new("broken"), Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    for path in ["/v2/models/broken/ready", "/v2/models/broken"] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, 503, "{reply:?}");
        assert!(reply.error().contains("failed to load") && reply.error().contains("model.onnx"), "{reply:?}");
    }
    let reply = client.infer("broken", &row(&[1.0])).await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert!(reply.error().contains("failed to load"), "{reply:?}");
    let refused = Grpc::connect(server.data).await.infer("broken", &row(&[1.0])).await.unwrap_err();
    assert_eq!(refused.code, UNAVAILABLE, "{refused:?}");
    assert!(refused.message.contains("failed to load"), "{refused:?}");
    // The server is not ready as a whole, may be sent traffic, and serves what it has.
    assert_eq!(client.get("/v2/health/ready").await.status, 503);
    assert_eq!(client.get("/v2/health/live").await.status, 200);
    assert_eq!(server.admin_get("/readyz").await.unwrap().status, 200);
    assert_eq!(client.get("/v2/models/identity/ready").await.status, 200);
    assert_eq!(values(&client.infer("identity", &row(&[1.0])).await.response().outputs[0]), [1.0]);
    assert!(server.log().contains("replica failed to start"), "{}", server.log());
    assert!(server.is_running());
    assert_eq!(server.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_or_bogus_onnx_runtime_is_a_clear_error_of_the_service() {
    let folder = Folder::new();
    let bogus = folder.file("libonnxruntime.so", "this is no library\n");
    let missing = folder.path().join("nowhere").join("libonnxruntime.so");
    for library in [missing, bogus] {
        let library = library.to_str().unwrap();
        let mut server = Server::with([Service::new("identity")]).variable("ORT_DYLIB_PATH", library).start().await;
        let mut client = Http1::connect(server.data).await;
        let reply = client.infer("identity", &row(&[1.0])).await;
        assert_eq!(reply.status, 503, "{reply:?}");
        let text = reply.error();
        assert!(text.contains(library) && text.contains("ORT_DYLIB_PATH"), "{text}");
        assert_eq!(server.admin_get("/livez").await.unwrap().status, 200);
        assert!(server.is_running());
        assert!(!server.log().contains("panicked"), "{}", server.log());
        assert_eq!(server.stop().await.code(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_a_running_call_finish() {
    let mut server = Server::start([Service::new("slow_second")]).await;
    let calls = running(&server).await;
    server.signal("TERM");
    for reply in calls.join_all().await {
        assert_eq!(values(&reply.response().outputs[0]), [3.0]);
        assert_eq!(reply.header("connection"), Some("close"), "the client is told to go elsewhere: {reply:?}");
    }
    let status = server.ended().await;
    assert_eq!(status.code(), Some(0), "{status}\n{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_lets_queued_calls_finish_too() {
    let mut server = Server::start([Service::new("slow").max_batch(1)]).await;
    let mut calls = JoinSet::new();
    for number in 0..5 {
        let mut client = Http1::connect(server.data).await;
        calls.spawn(async move { (number, client.infer("slow", &row(&[number as f32])).await) });
    }
    server.reaches("slow", 4, 1).await;
    server.signal("TERM");
    for (number, reply) in calls.join_all().await {
        assert_eq!(values(&reply.response().outputs[0]), [number as f32]);
    }
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_are_closed_in_order() {
    let mut server = Server::start([Service::new("slow_second")]).await;
    let mut idle = Raw::connect(server.data).await;
    idle.write("GET /v2/health/live HTTP/1.1\r\nhost: weirgate.test\r\n\r\n").await;
    assert_eq!(idle.read_answer().await.unwrap().0, 200);
    // An h2 connection with nothing on it: the client's preface, and empty settings.
    let mut h2 = Raw::connect(server.data).await;
    h2.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    let settings = h2.read_until(|bytes| frame_types(bytes).contains(&4).then_some(())).await;
    assert!(settings.is_some(), "the server sent no settings");
    let calls = running(&server).await;
    server.signal("TERM");
    let goaway = h2.read_until(|bytes| frame_types(bytes).contains(&7).then_some(())).await;
    assert!(goaway.is_some(), "the h2 connection was closed without GOAWAY");
    // A real client would now answer the server's ping and close.
    drop(h2);
    assert!(idle.read_until(|_| None::<()>).await.is_none());
    // Both were told while the call still ran.
    for reply in calls.join_all().await {
        reply.response();
    }
    assert_eq!(server.ended().await.code(), Some(0));
}

/// The types of the whole HTTP/2 frames among these bytes.
fn frame_types(mut bytes: &[u8]) -> Vec<u8> {
    let mut types = Vec::new();
    while let Some((head, rest)) = bytes.split_at_checked(9) {
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let Some(rest) = rest.get(length..) else { break };
        types.push(head[3]);
        bytes = rest;
    }
    types
}

#[tokio::test(flavor = "multi_thread")]
async fn h2_streams_finish_on_drain() {
    let mut server = Server::start([Service::new("slow_second")]).await;
    let client = Http2::connect(server.data).await;
    let caller = client.clone();
    let mut calls = JoinSet::new();
    calls.spawn(async move { caller.send(calls::json("slow-second", &row(&[3.0]))).await });
    server.reaches("slow-second", 0, 1).await;
    server.signal("TERM");
    for reply in calls.join_all().await {
        assert_eq!(values(&reply.response().outputs[0]), [3.0]);
    }
    assert_eq!(server.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn drain_delay_goes_on_accepting_while_not_ready() {
    let mut server = Server::with([Service::new("identity")]).flag("--drain-delay", "3").start().await;
    server.signal("TERM");
    eventually("readiness to be off", async || (server.admin_get("/readyz").await?.status == 503).then_some(())).await;
    let mut client = Http1::connect(server.data).await;
    assert_eq!(client.get("/v2/health/ready").await.status, 503);
    assert_eq!(client.get("/v2/health/live").await.status, 200);
    assert_eq!(values(&client.infer("identity", &row(&[1.0])).await.response().outputs[0]), [1.0]);
    Grpc::connect(server.data).await.infer("identity", &row(&[1.0])).await.unwrap();
    assert_eq!(server.ended().await.code(), Some(0), "{}", server.log());
    assert!(Http1::try_connect(server.data).await.is_err(), "the port is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_runs_past_the_drain_timeout_is_cut_and_exits_with_1() {
    let mut server = Server::with([Service::new("slow_second")]).flag("--drain-timeout", "0.1").start().await;
    let mut calls = running(&server).await;
    server.signal("TERM");
    let status = server.ended().await;
    assert_eq!(status.code(), Some(1), "{status}\n{}", server.log());
    eventually("the log's last line", async || server.log().contains("--drain-timeout").then_some(())).await;
    calls.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_exits_at_once_with_1() {
    for second in ["TERM", "INT"] {
        let mut server = Server::start([Service::new("slow_second")]).await;
        let mut calls = running(&server).await;
        server.signal("TERM");
        eventually("the first signal to be seen", async || server.log().contains("stopping").then_some(())).await;
        server.signal(second);
        let status = server.ended().await;
        assert_eq!(status.code(), Some(1), "{status}\n{}", server.log());
        eventually("the log's last line", async || server.log().contains("a second SIG").then_some(())).await;
        calls.shutdown().await;
    }
}

/// A client that holds its connection open does not hold the process.
#[tokio::test(flavor = "multi_thread")]
async fn half_sent_heads_do_not_hold_up_the_exit() {
    let mut server = Server::with([Service::new("identity")]).flag("--client-timeout", "1").start().await;
    let mut half = Raw::connect(server.data).await;
    half.write("POST /v2/models/identity/infer HTTP/1.1\r\nhost: ").await;
    let _silent = Raw::connect(server.data).await;
    // Connections are accepted in order: one that is answered after them shows that they were.
    assert_eq!(Http1::connect(server.data).await.get("/v2/health/live").await.status, 200);
    let ended = tokio::time::timeout(Duration::from_secs(30), server.stop()).await;
    assert_eq!(ended.expect("the exit waits for no client").code(), Some(0), "{}", server.log());
}
