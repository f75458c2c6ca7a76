//! Texts over V2's calls for tensors: NVIDIA's clients in Python, and what no client shows.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use weirgate_protocol::oip::infer_parameter::ParameterChoice;
use weirgate_protocol::oip::{self, InferParameter, ModelInferRequest, ModelInferResponse, ModelStreamInferResponse};
use weirgate_protocol::tensor::{BytesElements, push_bytes_element};
use weirgate_protocol::{Datatype, InferRequest, Shape, Tensor};
use weirgate_tests::grpc::INVALID_ARGUMENT;
use weirgate_tests::wait::{eventually, within};
use weirgate_tests::{Server, Service, Stream, calls, row, suites};

const PATH: &str = "/inference.GRPCInferenceService/ModelStreamInfer";

/// A call for a text of so many tokens.
fn asked(id: &str, tokens: i64, raw: bool) -> ModelInferRequest {
    let mut data = Vec::new();
    push_bytes_element(&mut data, b"One, two, three,").unwrap();
    let input = Tensor::new("text_input", Datatype::Bytes, Shape::from_slice(&[1, 1]), data.into()).unwrap();
    let request = InferRequest { id: Some(id.to_owned()), inputs: vec![input], ..InferRequest::default() };
    let number = |value| InferParameter { parameter_choice: Some(ParameterChoice::Int64Param(value)) };
    let yes = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
    let parameters = [("max_tokens", number(tokens)), ("temperature", number(0)), ("ignore_eos", yes)];
    let parameters: HashMap<_, _> = parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    ModelInferRequest { parameters, ..oip::encode_request("smol", None, request, raw).unwrap() }
}

async fn next(stream: &mut Stream) -> ModelInferResponse {
    let message: ModelStreamInferResponse = stream.next().await.expect("the stream goes on");
    assert_eq!(message.error_message, "");
    message.infer_response.unwrap()
}

fn is_last(response: &ModelInferResponse) -> bool {
    response.parameters.contains_key("triton_final_response")
}

fn text(response: ModelInferResponse) -> String {
    let output = oip::decode_response(response).unwrap().outputs.remove(0);
    let element = BytesElements::new(&output.data).next().unwrap().unwrap();
    String::from_utf8(element.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn tritons_clients_get_texts() {
    const SUITE: &str = "test_triton_texts.py";
    let server = Server::start([Service::smollm2("smol")]).await;
    let mut command = suites::suite("clients", SUITE, &server);
    command.env("WEIRGATE_GRPC", server.data.to_string());
    let run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let fault = suites::fault(SUITE, &within(SUITE, run).await.unwrap());
    assert!(fault.is_none(), "{}\n{}", fault.unwrap_or_default(), server.log());
    // All of them are calls of its protocol.
    let answered = |protocol| [("service", "smol"), ("protocol", protocol), ("code", "ok")];
    assert!(server.metrics().await.sum("weirgate_requests_total", &answered("v2_grpc")) > 5.0);
    assert_eq!(server.metrics().await.sum("weirgate_requests_total", &answered("v2_http")), 1.0);
}

/// Tensors come in the order of their requests and don't wait for texts; typed requests are answered typed; a client that
/// leaves has its sequences taken out, and with errors of gRPC the stream ends by one.
#[tokio::test(flavor = "multi_thread")]
async fn texts_and_tensors_share_a_stream_which_may_end_at_any_time() {
    let server = Server::start([Service::smollm2("smol"), Service::new("identity")]).await;
    let labels = [("service", "smol")];
    let running = async || server.metrics().await.sum("weirgate_running_sequences", &labels);

    let mut stream = Stream::open(server.data, PATH, &[]).await;
    for raw in [true, false] {
        stream.send(&asked("text", 3, raw)).await;
        let mut pieces = Vec::new();
        while !pieces.last().is_some_and(is_last) {
            pieces.push(next(&mut stream).await);
        }
        assert!(pieces.iter().all(|piece| piece.raw_output_contents.len() == usize::from(raw)));
        let whole: String = pieces.into_iter().map(text).collect();
        assert!(whole.contains("four"), "{whole:?}");
    }

    stream.send(&asked("long", 2_000, true)).await;
    assert_eq!(next(&mut stream).await.id, "long");
    for id in ["1", "2"] {
        stream.send(&oip::encode_request("identity", None, calls::with_id(id, row(&[1.0])), true).unwrap()).await;
    }
    let mut tensors = Vec::new();
    while tensors.len() < 2 {
        let piece = next(&mut stream).await;
        match &*piece.id {
            "long" => assert!(!is_last(&piece), "the tensors came behind the text"),
            _ => tensors.push(piece.id),
        }
    }
    assert_eq!(tensors, ["1", "2"]);
    assert_eq!(running().await, 1.0);
    drop(stream);
    eventually("the sequence to be taken out", async || (running().await == 0.0).then_some(())).await;
    eventually("the call to be counted as one that was given up", async || {
        let labels = [("service", "smol"), ("protocol", "v2_grpc"), ("code", "cancelled")];
        (server.metrics().await.sum("weirgate_requests_total", &labels) == 1.0).then_some(())
    })
    .await;

    let mut stream = Stream::open(server.data, PATH, &[("triton_grpc_error", "true")]).await;
    stream.send(&asked("wrong", 0, true)).await;
    let refused = stream.end().await.unwrap_err();
    assert_eq!(refused.code, INVALID_ARGUMENT, "{refused:?}");
    assert!(refused.message.contains("max_tokens is 0"), "{refused:?}");
    server.is_idle("smol").await;
}

/// More texts are asked for over one stream than it has under way: none is lost, and the stream ends behind the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_stream_ends_behind_its_texts() {
    let server = Server::start([Service::smollm2("smol")]).await;
    let mut stream = Stream::open(server.data, PATH, &[]).await;
    let count = 20;
    for number in 0..count {
        stream.send(&asked(&number.to_string(), 2, true)).await;
    }
    stream.close();
    let mut ended = Vec::new();
    while ended.len() < count {
        let piece = next(&mut stream).await;
        if is_last(&piece) {
            ended.push(piece.id.parse::<usize>().unwrap());
        }
    }
    ended.sort_unstable();
    assert_eq!(ended, (0..count).collect::<Vec<_>>());
    stream.end().await.unwrap();
}
