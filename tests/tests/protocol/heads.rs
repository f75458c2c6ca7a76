//! What requests' and answers' heads carry: ids, traces, times, deadlines.

use std::time::Duration;

use serde_json::Value;
use weirgate_tests::grpc::{self, DEADLINE_EXCEEDED, INVALID_ARGUMENT, MODEL_INFER};
use weirgate_tests::{Grpc, Http1, Reply, Server, Service, calls, eventually, row};

async fn with_header(client: &mut Http1, name: &str, value: &str) -> Reply {
    let (builder, body) = calls::rest("identity", &row(&[1.0]), false);
    client.send(builder.header(name, value).body(body).unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_echoed_made_or_replaced() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    let longest = "i".repeat(128);
    for id in ["mine-42", &longest] {
        let reply = with_header(&mut client, "x-request-id", id).await;
        assert_eq!((reply.status, reply.header("x-request-id")), (200, Some(id)));
    }
    let mut made = Vec::new();
    for id in ["i".repeat(129).as_str(), "two words", ""] {
        let reply = with_header(&mut client, "x-request-id", id).await;
        assert_eq!(reply.status, 200);
        made.push(reply.header("x-request-id").unwrap().to_owned());
    }
    made.push(client.infer("identity", &row(&[1.0])).await.header("x-request-id").unwrap().to_owned());
    // Refusals carry one too.
    for path in ["/nowhere", "/v2/models/nobody"] {
        made.push(client.get(path).await.header("x-request-id").unwrap().to_owned());
    }
    assert!(made.iter().all(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())), "{made:?}");
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 6, "made ids differ");
    let grpc = Grpc::connect(server.data).await;
    let mut request = grpc::request("/inference.GRPCInferenceService/ServerLive", grpc::frame(0, &[]));
    request.headers_mut().insert("x-request-id", "over-grpc".parse().unwrap());
    assert_eq!(grpc.0.send(request).await.header("x-request-id"), Some("over-grpc"));
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_say_where_the_time_went() {
    let server = Server::start([Service::new("slow")]).await;
    let rest = Http1::connect(server.data).await.infer("slow", &row(&[1.0])).await;
    let message = weirgate_protocol::oip::encode_request("slow", None, row(&[1.0]), true).unwrap();
    let body = grpc::frame(0, &prost::Message::encode_to_vec(&message));
    let grpc = Grpc::connect(server.data).await.0.send(grpc::request(MODEL_INFER, body)).await;
    for reply in [rest, grpc] {
        assert_eq!(reply.status, 200, "{reply:?}");
        let overhead: u64 = reply.header("x-weirgate-overhead-us").unwrap().parse().unwrap();
        let timing = reply.header("server-timing").unwrap();
        let stages: Vec<(&str, f64)> = timing
            .split(", ")
            .map(|stage| stage.split_once(";dur=").unwrap())
            .map(|(name, millis)| (name, millis.parse().unwrap()))
            .collect();
        let names: Vec<_> = stages.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["read", "queue", "batch", "engine", "overhead"]);
        assert_eq!(stages[4].1, overhead as f64 / 1_000.0, "both headers say the same: {timing}");
        assert!(stages[3].1 > stages[4].1, "a slow model takes longer than the gateway: {timing}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_that_cannot_be_read_are_refused() {
    let server = Server::start([Service::new("identity")]).await;
    let mut client = Http1::connect(server.data).await;
    for wrong in ["", "0", "-1", "soon", "nan"] {
        let reply = with_header(&mut client, "x-request-timeout-seconds", wrong).await;
        assert_eq!(reply.status, 400, "{wrong:?}: {reply:?}");
        assert!(reply.error().contains("x-request-timeout-seconds"), "{reply:?}");
    }
    assert_eq!(with_header(&mut client, "x-request-timeout-seconds", "2.5").await.status, 200);
    let grpc = Grpc::connect(server.data).await;
    let message = weirgate_protocol::oip::encode_request("identity", None, row(&[1.0]), true).unwrap();
    let mut request = grpc::request(MODEL_INFER, grpc::frame(0, &prost::Message::encode_to_vec(&message)));
    request.headers_mut().insert("grpc-timeout", "1x".parse().unwrap());
    let refused = grpc::answer(&grpc.0.send(request).await).unwrap_err();
    assert_eq!(refused.code, INVALID_ARGUMENT, "{refused:?}");
    assert!(refused.message.contains("grpc-timeout"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn deadlines_are_honoured_over_both_protocols() {
    let server = Server::start([Service::new("slow_second")]).await;
    let timeout = Duration::from_millis(50);
    let call = calls::json_within("slow-second", &row(&[1.0]), timeout);
    let reply = Http1::connect(server.data).await.send(call).await;
    assert_eq!(reply.status, 504, "{reply:?}");
    let grpc = Grpc::connect(server.data).await;
    let refused = grpc.infer_within("slow-second", &row(&[1.0]), timeout).await.unwrap_err();
    assert_eq!(refused.code, DEADLINE_EXCEEDED, "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_of_a_failed_call_carries_its_id_and_trace() {
    let server = Server::with([Service::new("broken")]).flag("--log-format", "json").start().await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let (builder, body) = calls::rest("broken", &row(&[1.0]), false);
    let call = builder.header("traceparent", trace).header("x-request-id", "find-me").body(body).unwrap();
    assert_eq!(Http1::connect(server.data).await.send(call).await.status, 503);
    let line = eventually("the call's line in the log", async || {
        server.log().lines().find(|line| line.contains("find-me")).map(str::to_owned)
    })
    .await;
    let line: Value = serde_json::from_str(&line).unwrap();
    for (field, value) in [
        ("request_id", "find-me"),
        ("traceparent", trace),
        ("service", "default/broken"),
        ("protocol", "v2_http"),
        ("code", "unavailable"),
        ("level", "WARN"),
    ] {
        assert_eq!(line[field], value, "{line}");
    }
    for line in server.log().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "a line of the log is not JSON: {line}");
    }
}
