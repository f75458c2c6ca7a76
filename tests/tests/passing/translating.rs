//! Calls whose server speaks another protocol, and calls of gRPC that are passed. The server is a Weirgate elsewhere.

use prost::Message;
use weirgate_protocol::oip::{self, ModelStreamInferResponse};
use weirgate_tests::grpc::{self, frame};
use weirgate_tests::http::post;
use weirgate_tests::{Grpc, Http1, Server, Service, Stream, calls, row, values};

const STREAM: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// A server, and a gateway before it.
async fn behind(scheme: &str, protocol: &str) -> (Server, Server) {
    let elsewhere = Server::start([Service::new("identity")]).await;
    let service = Service::upstream("identity", &format!("{scheme}://{}", elsewhere.data));
    let server = Server::start([service.annotation("weirgate.dev/upstream-protocol", protocol)]).await;
    (elsewhere, server)
}

/// Calls that came to a server by a protocol.
async fn came(server: &Server, protocol: &str) -> f64 {
    server.metrics().await.sum("weirgate_requests_total", &[("service", "identity"), ("protocol", protocol)])
}

#[tokio::test(flavor = "multi_thread")]
async fn v2_over_http_is_translated_for_a_server_of_grpc_and_back() {
    let (elsewhere, server) = behind("grpc", "grpc-v2").await;
    let mut client = Http1::connect(server.data).await;
    let response = client.infer("identity", &row(&[1.0, 2.0])).await.response();
    assert_eq!(values(&response.outputs[0]), [1.0, 2.0]);
    let (builder, body) = calls::rest("identity", &row(&[3.0, 4.0]), true);
    let response = client.send(builder.body(body).unwrap()).await.response();
    assert_eq!(values(&response.outputs[0]), [3.0, 4.0]);
    let reply = client.send(post("/v1/models/identity:predict", r#"{"instances":[[5,6]]}"#)).await;
    assert_eq!((reply.status, reply.json()["predictions"][0][0].as_f64()), (200, Some(5.0)), "{reply:?}");
    assert_eq!((came(&elsewhere, "v2_grpc").await, came(&elsewhere, "v2_http").await), (3.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn v1_and_grpc_are_translated_for_a_server_of_v2_over_http() {
    let (elsewhere, server) = behind("http", "v2").await;
    let mut client = Http1::connect(server.data).await;
    let reply = client.send(post("/v1/models/identity:predict", r#"{"instances":[[1,2],[3,4]]}"#)).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(reply.json()["predictions"], serde_json::json!([[1.0, 2.0], [3.0, 4.0]]));
    let caller = Grpc::connect(server.data).await;
    let response = caller.infer("identity", &row(&[5.0, 6.0])).await.unwrap();
    assert_eq!(values(&response.outputs[0]), [5.0, 6.0]);
    let wrong = client.send(post("/v1/models/identity:predict", r#"{"instances":"x"}"#)).await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
    assert_eq!((came(&elsewhere, "v2_http").await, came(&elsewhere, "v1_http").await), (2.0, 0.0));
}

/// The id and the value of an answer.
fn answered(answer: ModelStreamInferResponse) -> (String, f32) {
    assert_eq!(answer.error_message, "");
    let response = oip::decode_response(answer.infer_response.unwrap()).unwrap();
    (response.id.unwrap_or_default(), values(&response.outputs[0])[0])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_client_waits_for_the_head_is_answered_too() {
    let (elsewhere, server) = behind("grpc", "grpc-v2").await;
    let mut stream = Stream::open(server.data, STREAM, &[]).await;
    for number in 0..2 {
        let request = calls::with_id(number.to_string(), row(&[number as f32]));
        stream.send(&oip::encode_request("identity", None, request, true).unwrap()).await;
        let answer = stream.next().await.expect("the stream goes on");
        assert_eq!(answered(answer), (number.to_string(), number as f32));
    }
    stream.close();
    assert!(stream.next::<ModelStreamInferResponse>().await.is_none());
    assert_eq!(came(&elsewhere, "v2_grpc").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_streams_of_grpc_are_passed() {
    let (elsewhere, server) = behind("grpc", "grpc-v2").await;
    let client = Grpc::connect(server.data).await;
    let response = client.infer("identity", &row(&[1.0, 2.0])).await.unwrap();
    assert_eq!(values(&response.outputs[0]), [1.0, 2.0]);
    let refused = client.infer("identity", &calls::ids("x", &[1])).await.unwrap_err();
    assert_eq!(refused.code, grpc::INVALID_ARGUMENT, "{refused:?}");
    let message = |number: usize| {
        let request = calls::with_id(number.to_string(), row(&[number as f32]));
        frame(0, &oip::encode_request("identity", None, request, true).unwrap().encode_to_vec())
    };
    let messages: Vec<_> = (0..3).map(message).collect();
    let reply = client.0.send(grpc::request(STREAM, messages.concat().into())).await;
    assert_eq!(reply.trailers.get("grpc-status").unwrap(), "0", "{reply:?}");
    let mut rest = reply.body;
    for number in 0..3 {
        let length = u32::from_be_bytes(rest[1..5].try_into().unwrap()) as usize;
        let answer = rest.split_to(5 + length).slice(5..);
        assert_eq!(answered(ModelStreamInferResponse::decode(answer).unwrap()), (number.to_string(), number as f32));
    }
    assert!(rest.is_empty());
    // Its own, in their sum: two calls alone and three of the stream.
    assert_eq!(came(&elsewhere, "v2_grpc").await, 5.0);
    // Of the stream, one.
    assert_eq!(came(&server, "v2_grpc").await, 3.0);
    let failed = [("service", "identity"), ("code", "invalid_request")];
    assert_eq!(server.metrics().await.sum("weirgate_requests_total", &failed), 1.0);
}
