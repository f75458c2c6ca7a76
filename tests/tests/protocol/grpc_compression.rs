//! Compressed messages, of unary calls and of streams.

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::{GzDecoder, ZlibDecoder};
use flate2::write::{GzEncoder, ZlibEncoder};
use http::Request;
use prost::Message;
use weirgate_protocol::oip::{self, ModelStreamInferResponse};
use weirgate_tests::grpc::{self, INVALID_ARGUMENT, MODEL_INFER, OK, RESOURCE_EXHAUSTED, UNIMPLEMENTED};
use weirgate_tests::http::Body;
use weirgate_tests::{Grpc, Reply, Server, Service, Stream, row, values};

fn packed(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        "zstd" => zstd::encode_all(bytes, 1).unwrap(),
        other => panic!("{other}"),
    }
}

fn unpacked(encoding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    match encoding {
        "gzip" => GzDecoder::new(bytes).read_to_end(&mut output).unwrap(),
        "deflate" => ZlibDecoder::new(bytes).read_to_end(&mut output).unwrap(),
        "zstd" => return zstd::decode_all(bytes).unwrap(),
        other => panic!("{other}"),
    };
    output
}

const WIDTH: usize = 3_000;

fn message(width: usize) -> Vec<u8> {
    oip::encode_request("identity", None, row(&vec![1.5; width]), true).unwrap().encode_to_vec()
}

fn request(encoding: &str, accepted: &str, body: Bytes) -> Request<Body> {
    let mut request = grpc::request(MODEL_INFER, body);
    request.headers_mut().insert("grpc-encoding", encoding.parse().unwrap());
    request.headers_mut().insert("grpc-accept-encoding", accepted.parse().unwrap());
    request
}

/// The flag of an answer, and its values.
fn answer(encoding: &str, reply: &Reply) -> (u8, Vec<f32>) {
    assert_eq!(grpc::status(&reply.trailers).code, OK, "{reply:?}");
    let (flag, message) = (reply.body[0], &reply.body[5..]);
    let message = if flag == 1 { unpacked(encoding, message) } else { message.to_vec() };
    let message = oip::ModelInferResponse::decode(&message[..]).unwrap();
    (flag, values(&oip::decode_response(message).unwrap().outputs[0]))
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_compressed_as_their_requests_are() {
    let server = Server::start([Service::new("identity")]).await;
    let client = Grpc::connect(server.data).await;
    for encoding in ["gzip", "deflate", "zstd"] {
        let body = grpc::frame(1, &packed(encoding, &message(WIDTH)));
        let reply = client.0.send(request(encoding, "identity,deflate, gzip,zstd", body.clone())).await;
        assert_eq!(reply.header("grpc-encoding"), Some(encoding));
        assert!(reply.body.len() < 4 * WIDTH, "{encoding} makes {} bytes", reply.body.len());
        assert_eq!(answer(encoding, &reply), (1, vec![1.5; WIDTH]));

        let reply = client.0.send(request(encoding, "identity", body)).await;
        assert_eq!((reply.header("grpc-encoding"), answer(encoding, &reply)), (None, (0, vec![1.5; WIDTH])));
        // One that fits into a packet stays as it is.
        let small = grpc::frame(1, &packed(encoding, &message(1)));
        let reply = client.0.send(request(encoding, encoding, small)).await;
        assert_eq!(answer(encoding, &reply), (0, vec![1.5]));
        // A call whose encoding is not used by its message.
        let reply = client.0.send(request(encoding, encoding, grpc::frame(0, &message(WIDTH)))).await;
        assert_eq!(answer(encoding, &reply), (0, vec![1.5; WIDTH]));
    }
}

/// Nothing of a block of zstd is known until all of it has come, and one that does not compress is large.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_hardly_compresses_is_routed_too() {
    let server = Server::start([Service::new("identity")]).await;
    let client = Grpc::connect(server.data).await;
    // A sequence without a pattern that an encoder would see.
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32
    };
    let sent: Vec<f32> = (0..100_000).map(|_| next()).collect();
    let message = oip::encode_request("identity", None, row(&sent), true).unwrap().encode_to_vec();
    for encoding in ["gzip", "deflate", "zstd"] {
        let body = packed(encoding, &message);
        assert!(body.len() > 250_000, "{encoding} makes {} bytes", body.len());
        let reply = client.0.send(request(encoding, "identity", grpc::frame(1, &body))).await;
        assert_eq!(answer(encoding, &reply), (0, sent.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn small_calls_may_be_compressed_too() {
    let server = Server::start([Service::new("identity")]).await;
    let asked = oip::ModelReadyRequest { name: "identity".into(), ..Default::default() }.encode_to_vec();
    let path = "/inference.GRPCInferenceService/ModelReady";
    let mut call = grpc::request(path, grpc::frame(1, &packed("gzip", &asked)));
    call.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    let reply = Grpc::connect(server.data).await.0.send(call).await;
    assert!(oip::ModelReadyResponse::decode(grpc::answer(&reply).unwrap()).unwrap().ready);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_decompressed_is_refused_by_name() {
    let server = Server::with([Service::new("identity")]).flag("--max-body", "100000").start().await;
    let client = Grpc::connect(server.data).await;
    let whole = packed("gzip", &message(WIDTH));
    let bomb = packed("gzip", &message(1 << 20));
    assert!(bomb.len() < 100_000);
    let cases: [(&str, &str, &[u8], i32, &str); 5] = [
        ("another encoding", "snappy", &whole, UNIMPLEMENTED, "grpc-encoding 'snappy' is not read here"),
        ("a bomb", "gzip", &bomb, RESOURCE_EXHAUSTED, "--max-body"),
        ("half of it", "gzip", &whole[..whole.len() / 2], INVALID_ARGUMENT, "gzip is cut off"),
        ("no gzip", "gzip", b"something else", INVALID_ARGUMENT, "gzip is broken"),
        ("nothing", "gzip", b"", INVALID_ARGUMENT, "gzip is cut off"),
    ];
    for (what, encoding, message, code, text) in cases {
        let reply = client.0.send(request(encoding, "gzip", grpc::frame(1, message))).await;
        let refused = grpc::answer(&reply).unwrap_err();
        assert_eq!(refused.code, code, "{what}: {refused:?}");
        assert!(refused.message.contains(text), "{what}: {refused:?}");
        let read_here = refused.metadata.get("grpc-accept-encoding").map(|value| value.to_str().unwrap());
        assert_eq!(read_here, (code == UNIMPLEMENTED).then_some("identity,gzip,deflate,zstd"), "{what}");
        client.infer("identity", &row(&[1.0])).await.unwrap();
    }
    server.is_idle("identity").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_stream_are_compressed_one_by_one() {
    let server = Server::start([Service::new("identity")]).await;
    let path = "/inference.GRPCInferenceService/ModelStreamInfer";
    let metadata = [("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip")];
    let mut stream = Stream::open(server.data, path, &metadata).await;
    stream.send_bytes(grpc::frame(1, &packed("gzip", &message(WIDTH)))).await;
    stream.send_bytes(grpc::frame(0, &message(WIDTH))).await;
    for compressed in [true, false] {
        let (flag, bytes) = stream.next_frame().await.unwrap();
        assert_eq!(flag == 1, compressed);
        let bytes = if compressed { unpacked("gzip", &bytes).into() } else { bytes };
        let message = ModelStreamInferResponse::decode(bytes).unwrap().infer_response.unwrap();
        assert_eq!(values(&oip::decode_response(message).unwrap().outputs[0]), vec![1.5; WIDTH]);
    }
    let mut stream = Stream::open(server.data, path, &[("grpc-encoding", "snappy")]).await;
    assert_eq!(stream.end().await.unwrap_err().code, UNIMPLEMENTED);
}
