//! Calls whose server speaks another protocol, and calls of gRPC that are passed. The server is a Weirgate elsewhere.

use weirgate_protocol::oip::{self, ModelStreamInferResponse};
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
    let grpc = Grpc::connect(server.data).await;
    let response = grpc.infer("identity", &row(&[5.0, 6.0])).await.unwrap();
    assert_eq!(values(&response.outputs[0]), [5.0, 6.0]);
    let wrong = client.send(post("/v1/models/identity:predict", r#"{"instances":"x"}"#)).await;
    assert_eq!(wrong.status, 400, "{wrong:?}");
    assert_eq!((came(&elsewhere, "v2_http").await, came(&elsewhere, "v1_http").await), (2.0, 0.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_streams_of_grpc_are_passed() {
    let (elsewhere, server) = behind("grpc", "grpc-v2").await;
    let grpc = Grpc::connect(server.data).await;
    let response = grpc.infer("identity", &row(&[1.0, 2.0])).await.unwrap();
    assert_eq!(values(&response.outputs[0]), [1.0, 2.0]);
    let refused = grpc.infer("identity", &calls::ids("x", &[1])).await.unwrap_err();
    assert_eq!(refused.code, weirgate_tests::grpc::INVALID_ARGUMENT, "{refused:?}");
    let mut stream = Stream::open(server.data, STREAM, &[]).await;
    for number in 0..3 {
        let request = calls::with_id(number.to_string(), row(&[number as f32]));
        stream.send(&oip::encode_request("identity", None, request, true).unwrap()).await;
        let answer: ModelStreamInferResponse = stream.next().await.expect("the stream goes on");
        assert_eq!(answer.error_message, "");
        let response = oip::decode_response(answer.infer_response.unwrap()).unwrap();
        assert_eq!(response.id.as_deref(), Some(number.to_string().as_str()));
        assert_eq!(values(&response.outputs[0]), [number as f32]);
    }
    stream.close();
    assert!(stream.next::<ModelStreamInferResponse>().await.is_none());
    // Its own, in their sum: two calls alone and three of the stream.
    assert_eq!(came(&elsewhere, "v2_grpc").await, 5.0);
    // Of the stream, one.
    assert_eq!(came(&server, "v2_grpc").await, 3.0);
    let failed = [("service", "identity"), ("code", "invalid_request")];
    assert_eq!(server.metrics().await.sum("weirgate_requests_total", &failed), 1.0);
}
