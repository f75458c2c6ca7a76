//! FP16 and BF16 by every wire.

use serde_json::json;
use weirgate_protocol::{Datatype, InferRequest, Shape, Tensor, oip, v2};
use weirgate_tests::grpc::{INVALID_ARGUMENT, MODEL_INFER};
use weirgate_tests::http::post;
use weirgate_tests::{Grpc, Http1, Server, Service, calls};

fn one_and_a_half(datatype: Datatype, bits: [u16; 2]) -> InferRequest {
    let data: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let x = Tensor::new("x", datatype, Shape::from_slice(&[1, 2]), data.into()).unwrap();
    InferRequest { inputs: vec![x], ..Default::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn complaint_22_fp16_and_bf16_pass_every_wire() {
    let server = Server::start([Service::new("identity_fp16"), Service::new("identity_bf16")]).await;
    let mut client = Http1::connect(server.data).await;
    let grpc = Grpc::connect(server.data).await;
    for (model, datatype, numbers, nan) in [
        ("identity-fp16", Datatype::Fp16, [0x3E00, 0xFBFF], [0x7E00, 0x7C00]),
        ("identity-bf16", Datatype::Bf16, [0x3FC0, 0xC77F], [0x7FC0, 0xFF80]),
    ] {
        let request = one_and_a_half(datatype, numbers);
        let largest = if datatype == Datatype::Fp16 { -65504.0 } else { -65280.0 };
        // JSON carries the numbers, binary and gRPC the bits.
        let reply = client.infer(model, &request).await;
        assert_eq!(reply.json()["outputs"][0]["data"], json!([1.5, largest]));
        assert_eq!(reply.response().outputs[0].data, request.inputs[0].data);
        for bits in [numbers, nan] {
            let request = one_and_a_half(datatype, bits);
            let (builder, body) = calls::rest(model, &request, true);
            let response = client.send(builder.body(body).unwrap()).await.response();
            assert_eq!(response.outputs[0].data, request.inputs[0].data);
            let message = oip::encode_request(model, None, request.clone(), false).unwrap();
            let answer: oip::ModelInferResponse = grpc.call(MODEL_INFER, &message).await.unwrap();
            assert_eq!(answer.raw_output_contents, [request.inputs[0].data.clone()]);
        }
        let mut typed = oip::encode_request(model, None, request, false).unwrap();
        typed.raw_input_contents.clear();
        typed.inputs[0].contents =
            Some(oip::InferTensorContents { fp32_contents: vec![1.5, 2.0], ..Default::default() });
        let refused = grpc.call::<_, oip::ModelInferResponse>(MODEL_INFER, &typed).await.unwrap_err();
        assert_eq!(refused.code, INVALID_ARGUMENT, "{refused:?}");
        assert!(refused.message.contains("send it raw"), "{refused:?}");
        // V1 has numbers alone.
        let path = format!("/v1/models/{model}:predict");
        let reply = client.send(post(&path, format!(r#"{{"instances":[[1.5,{largest:?}]]}}"#))).await;
        assert_eq!(reply.json(), json!({"predictions": [[1.5, largest]]}));
        // What is not finite comes out in binary alone, and the refusal says so.
        let in_json = InferRequest { binary_outputs: false, ..one_and_a_half(datatype, nan) };
        let encoded = v2::encode_request(&in_json, true).unwrap();
        let call = calls::post(model).header(v2::HEADER_LENGTH, encoded.header_length.unwrap());
        let reply = client.send(call.body(http_body_util::Full::new(encoded.into_bytes())).unwrap()).await;
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(reply.error().contains("ask for it in binary"), "{reply:?}");
    }
}
