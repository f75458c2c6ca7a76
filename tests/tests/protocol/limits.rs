//! One limit for the size of bodies, one for the patience with clients that send them.

use weirgate_protocol::oip;
use weirgate_tests::grpc::{self, MODEL_INFER, RESOURCE_EXHAUSTED};
use weirgate_tests::{Grpc, Http1, Http2, Raw, Server, Service, calls, row, values};

const LIMIT: usize = 64 << 10;

async fn limited() -> Server {
    Server::with([Service::new("identity")]).flag("--max-body", "64KiB").start().await
}

/// A right call in JSON of exactly this length.
fn padded(length: usize) -> String {
    let body = r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1.5]}]}"#;
    format!("{body}{}", " ".repeat(length - body.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_at_the_limit_passes_and_one_byte_more_is_413() {
    let server = limited().await;
    let mut client = Http1::connect(server.data).await;
    client.send(calls::post_text("identity", padded(LIMIT))).await.response();
    let reply = client.send(calls::post_text("identity", padded(LIMIT + 1))).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    let text = reply.error();
    assert!(text.contains("65536") && text.contains("65537") && text.contains("--max-body"), "{text}");
    client.send(calls::post_text("identity", padded(LIMIT))).await.response();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_above_the_limit_is_413() {
    let server = limited().await;
    let mut raw = Raw::connect(server.data).await;
    raw.write_head("identity", "transfer-encoding: chunked\r\n").await;
    let chunk = format!("4000\r\n{}\r\n", " ".repeat(0x4000));
    for _ in 0..5 {
        raw.write(&chunk).await;
    }
    raw.write("0\r\n\r\n").await;
    let (status, _, body) = raw.read_answer().await.expect("an answer, not a reset");
    assert_eq!(status, 413, "{body}");
    assert!(body.contains("65536") && body.contains("--max-body"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_within_the_limit_is_taken() {
    let server = limited().await;
    let mut raw = Raw::connect(server.data).await;
    raw.write_head("identity", "transfer-encoding: chunked\r\n").await;
    let body = padded(100);
    for piece in body.as_bytes().chunks(7) {
        raw.write([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()).await;
    }
    raw.write("0\r\n\r\n").await;
    let (status, _, body) = raw.read_answer().await.unwrap();
    assert_eq!(status, 200, "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_limit_is_resource_exhausted_over_grpc() {
    let server = limited().await;
    let client = Grpc::connect(server.data).await;
    // An id pads the message to any length.
    let message = |length: usize| {
        let of = |id: usize| {
            let request = calls::with_id("i".repeat(id), row(&[1.5]));
            oip::encode_request("identity", None, request, true).unwrap()
        };
        let id = (length - 200..length).find(|id| prost::Message::encoded_len(&of(*id)) == length).unwrap();
        of(id)
    };
    let answer: oip::ModelInferResponse = client.call(MODEL_INFER, &message(LIMIT)).await.unwrap();
    assert_eq!(values(&oip::decode_response(answer).unwrap().outputs[0]), [1.5]);
    let refused = client.call::<_, oip::ModelInferResponse>(MODEL_INFER, &message(LIMIT + 1)).await.unwrap_err();
    assert_eq!(refused.code, RESOURCE_EXHAUSTED, "{refused:?}");
    assert!(refused.message.contains("65536") && refused.message.contains("--max-body"), "{refused:?}");
    let far = grpc::frame(0, &vec![0; 8 * LIMIT]);
    let reply = client.0.send(grpc::request(MODEL_INFER, far)).await;
    assert_eq!(grpc::answer(&reply).unwrap_err().code, RESOURCE_EXHAUSTED);
    // The connection serves on.
    client.infer("identity", &row(&[1.0])).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_sending_is_given_up_and_hurts_nobody() {
    let server = Server::with([Service::new("identity")]).flag("--client-timeout", "1").start().await;
    let mut slow_body = Raw::connect(server.data).await;
    slow_body.write_head("identity", "content-length: 1000\r\n").await;
    slow_body.write("{").await;
    let mut slow_head = Raw::connect(server.data).await;
    slow_head.write("POST /v2/models/identity/infer HTTP/1.1\r\n").await;
    // Others are served meanwhile.
    let mut client = Http1::connect(server.data).await;
    for _ in 0..20 {
        client.infer("identity", &row(&[1.0])).await.response();
    }
    let (status, _, body) = slow_body.read_answer().await.expect("the client is told why");
    assert_eq!(status, 408, "{body}");
    assert!(body.contains("--client-timeout"), "{body}");
    let head_answer = slow_head.read_answer().await;
    assert!(head_answer.as_ref().is_none_or(|(status, ..)| *status == 408), "{head_answer:?}");
    server.is_idle("identity").await;
    assert_eq!(server.batches("identity").await.1, 20);
}

/// Elsewhere another layer cuts at 60 s what the manifest gives 600. No limit here but the manifest's own ends a call that
/// runs: not the client's timeout, on any protocol.
#[tokio::test(flavor = "multi_thread")]
async fn complaint_11_the_manifests_timeout_is_the_only_one() {
    let server = Server::with([Service::new("slow_second").timeout(600)]).flag("--client-timeout", "0.5").start().await;
    let (mut http, h2) = (Http1::connect(server.data).await, Http2::connect(server.data).await);
    let grpc = Grpc::connect(server.data).await;
    assert_eq!(values(&http.infer("slow-second", &row(&[7.0])).await.response().outputs[0]), [7.0]);
    let over_h2 = h2.send(calls::json("slow-second", &row(&[8.0]))).await;
    assert_eq!(values(&over_h2.response().outputs[0]), [8.0]);
    assert_eq!(values(&grpc.infer("slow-second", &row(&[9.0])).await.unwrap().outputs[0]), [9.0]);
}
