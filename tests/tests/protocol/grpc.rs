//! gRPC on the wire.

use weirgate_protocol::oip;
use weirgate_tests::grpc::{self, INVALID_ARGUMENT, MODEL_INFER, NOT_FOUND, UNIMPLEMENTED};
use weirgate_tests::{Grpc, Server, Service, row, values};

fn message() -> Vec<u8> {
    prost::Message::encode_to_vec(&oip::encode_request("identity", None, row(&[1.0]), true).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_methods_and_services_are_unimplemented() {
    let server = Server::start([Service::new("identity")]).await;
    let client = Grpc::connect(server.data).await;
    for path in ["/inference.GRPCInferenceService/Nothing", "/no.such.Service/Method", "/grpc.health.v1.Health/Nothing"]
    {
        let refused = grpc::answer(&client.0.send(grpc::request(path, grpc::frame(0, &[]))).await).unwrap_err();
        assert_eq!(refused.code, UNIMPLEMENTED, "{path}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_messages_are_invalid_and_the_connection_serves_on() {
    let server = Server::start([Service::new("identity")]).await;
    let client = Grpc::connect(server.data).await;
    let whole = grpc::frame(0, &message());
    let mut doubled = whole.to_vec();
    doubled.extend_from_slice(&whole);
    let mut garbage = b"\x0a\x08identity".to_vec();
    garbage.extend([0xff; 40]);
    let cases: [(&str, bytes::Bytes); 6] = [
        ("nothing", bytes::Bytes::new()),
        ("half a prefix", whole.slice(..3)),
        ("half a message", whole.slice(..whole.len() - 4)),
        ("two messages", doubled.into()),
        ("garbage behind the name", grpc::frame(0, &garbage)),
        ("no name", grpc::frame(0, &[])),
    ];
    for (what, body) in cases {
        let refused = grpc::answer(&client.0.send(grpc::request(MODEL_INFER, body)).await).unwrap_err();
        assert_eq!(refused.code, INVALID_ARGUMENT, "{what}: {refused:?}");
    }
    let refused = client.infer("nobody", &row(&[1.0])).await.unwrap_err();
    assert_eq!(refused.code, NOT_FOUND, "{refused:?}");
    let answer = client.infer("identity", &row(&[1.0])).await.unwrap();
    assert_eq!(values(&answer.outputs[0]), [1.0]);
}

/// Raw requests are answered raw, typed ones typed.
#[tokio::test(flavor = "multi_thread")]
async fn answers_come_in_the_form_of_the_request() {
    let server = Server::start([Service::new("identity")]).await;
    let client = Grpc::connect(server.data).await;
    for raw in [true, false] {
        let message = oip::encode_request("identity", None, row(&[2.5]), raw).unwrap();
        let answer: oip::ModelInferResponse = client.call(MODEL_INFER, &message).await.unwrap();
        assert_eq!(answer.raw_output_contents.len(), usize::from(raw));
        assert_eq!(answer.outputs[0].contents.is_none(), raw);
        assert_eq!(values(&oip::decode_response(answer).unwrap().outputs[0]), [2.5]);
    }
}
