//! gRPC messages that are wrong in every way: each is refused with a reason, and the connection serves on.

use bytes::Bytes;
use http::Request;
use prost::Message;
use weirgate_protocol::oip::{self, InferTensorContents, ModelInferRequest};
use weirgate_tests::grpc::{
    self, INVALID_ARGUMENT, MODEL_INFER, NOT_FOUND, RESOURCE_EXHAUSTED, Refused, UNIMPLEMENTED,
};
use weirgate_tests::http::Body;
use weirgate_tests::{Grpc, Server, Service, row, values};

/// One client on one connection, which must serve on after every refusal.
struct Victim {
    _server: Server,
    client: Grpc,
}

impl Victim {
    async fn start(services: impl IntoIterator<Item = Service>) -> Victim {
        let server = Server::with(services).flag("--max-body", "200000").start().await;
        let client = Grpc::connect(server.data).await;
        Victim { _server: server, client }
    }

    async fn refuses_request(&self, what: &str, code: i32, request: Request<Body>) -> Refused {
        let reply = self.client.0.send(request).await;
        let refused = grpc::answer(&reply).err().unwrap_or_else(|| panic!("{what}: is answered"));
        assert_eq!(refused.code, code, "{what}: {refused:?}");
        assert!(!refused.message.is_empty(), "{what}");
        let answer = self.client.infer("identity", &row(&[1.0])).await;
        assert_eq!(values(&answer.unwrap_or_else(|refused| panic!("after {what}: {refused:?}")).outputs[0]), [1.0]);
        refused
    }

    async fn refuses_body(&self, what: &str, code: i32, body: impl Into<Bytes>) -> Refused {
        self.refuses_request(what, code, grpc::request(MODEL_INFER, body.into())).await
    }

    async fn refuses(&self, what: &str, message: &ModelInferRequest) -> Refused {
        self.refuses_body(what, INVALID_ARGUMENT, grpc::frame(0, &message.encode_to_vec())).await
    }
}

fn request(raw: bool) -> ModelInferRequest {
    oip::encode_request("identity", None, row(&[1.0]), raw).unwrap()
}

/// A field with a payload of its own.
fn field(number: u8, payload: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(payload.len()).unwrap()], payload].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_cannot_be_decoded() {
    let victim = Victim::start([Service::new("identity")]).await;
    let name = field(1, b"identity");
    let whole = request(true).encode_to_vec();
    let behind = |bytes: &[u8]| [&name[..], bytes].concat();
    // A length of 2^63, or of 2^70.
    let far = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let further = [0xff; 11];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a message that is cut off", whole[..whole.len() - 2].to_vec()),
        ("a field longer than the message", behind(&[0x2a, 0x7f, 1])),
        ("a field of 2^63 bytes", behind(&[&[0x2a][..], &far].concat())),
        ("a length that never ends", behind(&[&[0x2a][..], &further].concat())),
        ("a tensor in a number's place", behind(&[0x28, 1])),
        ("a group", behind(&[0x2b, 0x2c])),
        ("wire type 7", behind(&[0x2f, 1])),
        ("a name that is no text", field(1, &[0xff, 0xfe])),
        ("a tensor's name that is no text", behind(&field(5, &field(1, &[0xc3, 0x28])))),
        ("a name in a number's place", vec![0x08, 1]),
        ("two names", behind(&[&field(3, b"id")[..], &field(1, b"other")].concat())),
        ("a name behind 64 KiB of others", [vec![0x7a, 0x80, 0x80, 0x04], vec![0; 1 << 16], name.clone()].concat()),
        ("a name of 64 KiB", [vec![0x0a, 0x80, 0x80, 0x04], vec![b'a'; 1 << 16]].concat()),
        ("more inputs than there may be", behind(&[0x2a, 0x00].repeat(5_000))),
        ("more raw contents than there may be", behind(&[0x3a, 0x00].repeat(5_000))),
        ("more outputs than there may be", behind(&[0x32, 0x00].repeat(5_000))),
    ];
    for (what, message) in cases {
        // A name that is no text is nobody's.
        let code = if what == "a name that is no text" { NOT_FOUND } else { INVALID_ARGUMENT };
        victim.refuses_body(what, code, grpc::frame(0, &message)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_and_heads_that_are_wrong() {
    let victim = Victim::start([Service::new("identity")]).await;
    let whole = grpc::frame(0, &request(true).encode_to_vec());
    let cases: [(&str, i32, Bytes); 6] = [
        ("no message", INVALID_ARGUMENT, Bytes::new()),
        ("half a prefix", INVALID_ARGUMENT, whole.slice(..4)),
        ("half a message", INVALID_ARGUMENT, whole.slice(..whole.len() - 1)),
        ("two messages", INVALID_ARGUMENT, [&whole[..], &whole].concat().into()),
        ("a flag that is none", INVALID_ARGUMENT, [&[2], &whole[1..]].concat().into()),
        ("a flag of compression and no encoding", INVALID_ARGUMENT, [&[1], &whole[1..]].concat().into()),
    ];
    for (what, code, body) in cases {
        victim.refuses_body(what, code, body).await;
    }
    let large = victim.refuses_body("a large message", RESOURCE_EXHAUSTED, grpc::frame(0, &[0; 200_001])).await;
    assert!(large.message.contains("the limit is 200000 (flag --max-body)"), "{large:?}");
    let garbage = victim.refuses_body("no fields", INVALID_ARGUMENT, grpc::frame(0, b"{}")).await;
    assert_eq!(garbage.message, "the message can't be decoded: its first bytes are no fields");
    let announced = victim.refuses_body("an announced 4 GiB", RESOURCE_EXHAUSTED, &b"\0\xff\xff\xff\xff"[..]).await;
    assert!(announced.message.contains("4294967295 bytes"), "{announced:?}");
    let mut other = grpc::request(MODEL_INFER, whole.clone());
    other.headers_mut().insert("content-type", "application/grpc+json".parse().unwrap());
    victim.refuses_request("another codec", UNIMPLEMENTED, other).await;
    let mut late = grpc::request(MODEL_INFER, whole.clone());
    late.headers_mut().insert("grpc-timeout", "1 hour".parse().unwrap());
    victim.refuses_request("a timeout that is none", INVALID_ARGUMENT, late).await;

    // `te: trailers` is for proxies between; a call without it is answered.
    let mut bare = grpc::request(MODEL_INFER, whole);
    bare.headers_mut().remove("te");
    grpc::answer(&victim.client.0.send(bare).await).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_that_are_wrong() {
    let victim = Victim::start([Service::new("identity"), Service::new("identity_bytes")]).await;
    let shapes: [&[i64]; 6] = [&[-1, 1], &[i64::MIN, 1], &[i64::MAX, i64::MAX], &[1 << 40, 1 << 40], &[0, 1], &[]];
    for shape in shapes {
        for raw in [true, false] {
            let mut message = request(raw);
            message.inputs[0].shape = shape.to_vec();
            victim.refuses(&format!("shape {shape:?}"), &message).await;
        }
    }
    let deep = ModelInferRequest { inputs: vec![Default::default()], ..request(true) };
    victim.refuses("a tensor of nothing", &deep).await;
    let mut mixed = request(true);
    mixed.inputs[0].contents = Some(InferTensorContents { fp32_contents: vec![1.0], ..Default::default() });
    assert!(victim.refuses("raw and typed at once", &mixed).await.message.contains("raw_input_contents"));
    let mut more = request(true);
    more.raw_input_contents.push(Bytes::from_static(&[0; 4]));
    assert!(victim.refuses("two raw contents for one input", &more).await.message.contains("2 entries for 1 inputs"));
    let mut short = request(true);
    short.raw_input_contents[0] = Bytes::from_static(&[0; 3]);
    victim.refuses("three bytes of FP32", &short).await;
    let mut foreign = request(false);
    foreign.inputs[0].contents = Some(InferTensorContents { int_contents: vec![1], ..Default::default() });
    victim.refuses("contents of another type", &foreign).await;
    for elements in [&[9, 0, 0, 0, 1][..], &[0xff, 0xff, 0xff, 0xff], &[0, 0], &[1, 0, 0, 0, 1, 1]] {
        let mut text = request(true);
        text.model_name = "identity-bytes".into();
        text.inputs[0].datatype = "BYTES".into();
        text.raw_input_contents[0] = elements.to_vec().into();
        victim.refuses(&format!("BYTES {elements:?}"), &text).await;
    }
}

/// Later versions of a client may send more than is known here.
#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_are_passed_over() {
    let victim = Victim::start([Service::new("identity")]).await;
    // Field 15 in each of the wire types.
    let unknown = [&[0x78, 1][..], &[0x79, 0, 0, 0, 0, 0, 0, 0, 0], &[0x7a, 1, 7], &[0x7d, 0, 0, 0, 0]].concat();
    let mut message = request(true).encode_to_vec();
    message.extend(unknown);
    let reply = victim.client.0.send(grpc::request(MODEL_INFER, grpc::frame(0, &message))).await;
    let answer = oip::ModelInferResponse::decode(grpc::answer(&reply).unwrap()).unwrap();
    assert_eq!(values(&oip::decode_response(answer).unwrap().outputs[0]), [1.0]);
}

/// Calls other than `ModelInfer` are as strict.
#[tokio::test(flavor = "multi_thread")]
async fn small_calls_that_are_wrong() {
    let victim = Victim::start([Service::new("identity")]).await;
    for rpc in ["ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics", "ServerReady"] {
        let path = format!("/inference.GRPCInferenceService/{rpc}");
        let send = |body: Bytes| grpc::request(&path, body);
        victim.refuses_request("no message", INVALID_ARGUMENT, send(Bytes::new())).await;
        victim.refuses_request("a broken message", INVALID_ARGUMENT, send(grpc::frame(0, &[0x0a, 9, 1]))).await;
        let large = grpc::frame(0, &vec![0; 70_000]);
        victim.refuses_request("a large message", RESOURCE_EXHAUSTED, send(large)).await;
    }
}
