//! The gRPC messages: round trips, refusals, and the numbers that clients were built with.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message as _;
use weirgate_protocol::oip::infer_parameter::ParameterChoice;
use weirgate_protocol::oip::model_infer_request::InferInputTensor;
use weirgate_protocol::oip::{self, InferParameter, InferTensorContents, ModelInferRequest};
use weirgate_protocol::{Datatype, Dim, InferResponse, ModelSpec, TensorSpec};

use crate::support::{Elements, request, tensor};

proptest! {
    #[test]
    fn request_typed_and_raw(request in request(Elements::Any), raw in any::<bool>()) {
        let message = oip::encode_request("m", Some("1"), request.clone(), raw).unwrap();
        let sent = Bytes::from(message.encode_to_vec());
        let (read, was_raw) = oip::decode_request(ModelInferRequest::decode(sent).unwrap()).unwrap();
        prop_assert_eq!(was_raw, raw || request.inputs.iter().any(|input| matches!(input.datatype, Datatype::Fp16 | Datatype::Bf16)));
        prop_assert_eq!(read.id, request.id.filter(|id| !id.is_empty()));
        prop_assert_eq!(read.inputs, request.inputs);
        let names = |outputs: &[weirgate_protocol::RequestedOutput]| {
            outputs.iter().map(|output| output.name.clone()).collect::<Vec<_>>()
        };
        prop_assert_eq!(names(&read.outputs), names(&request.outputs));
    }

    #[test]
    fn response_typed_and_raw(
        outputs in proptest::collection::vec(tensor("y", Elements::Any), 0..3),
        raw in any::<bool>(),
    ) {
        let response = InferResponse {
            model_name: "m".into(),
            model_version: Some("3".into()),
            id: Some("i".into()),
            outputs,
        };
        let message = oip::encode_response(response.clone(), raw).unwrap();
        let sent = Bytes::from(message.encode_to_vec());
        let read = oip::decode_response(oip::ModelInferResponse::decode(sent).unwrap()).unwrap();
        prop_assert_eq!(read, response);
    }
}

fn input(datatype: &str, shape: &[i64], contents: Option<InferTensorContents>) -> InferInputTensor {
    InferInputTensor {
        name: "x".into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
        contents,
        ..Default::default()
    }
}

fn refusal(inputs: Vec<InferInputTensor>, raw: Vec<Bytes>) -> String {
    let message = ModelInferRequest { inputs, raw_input_contents: raw, ..Default::default() };
    let error = oip::decode_request(message).expect_err("a refusal");
    assert_eq!(error.row().grpc, 3);
    error.message().to_owned()
}

#[test]
fn a_call_of_a_sequence_is_refused_by_name() {
    let decode = |name: &str, choice: ParameterChoice| {
        let parameters = [(name.to_owned(), InferParameter { parameter_choice: Some(choice) })].into();
        oip::decode_request(ModelInferRequest { parameters, ..Default::default() })
    };
    let text = "parameter 'sequence_id' is not supported: each call stands alone, so leave it out";
    for id in [ParameterChoice::Int64Param(7), ParameterChoice::StringParam("seven".into())] {
        assert_eq!(decode("sequence_id", id).unwrap_err().message(), text);
    }
    assert!(decode("sequence_end", ParameterChoice::BoolParam(true)).is_err());
    assert!(decode("sequence_id", ParameterChoice::Int64Param(0)).is_ok());
    assert!(decode("sequence_start", ParameterChoice::BoolParam(false)).is_ok());
    assert!(decode("priority", ParameterChoice::Uint64Param(7)).is_ok());
}

#[test]
fn refusals() {
    let ints = |values: &[i32]| Some(InferTensorContents { int_contents: values.to_vec(), ..Default::default() });
    let floats = |values: &[f32]| Some(InferTensorContents { fp32_contents: values.to_vec(), ..Default::default() });
    let raw = || vec![Bytes::from_static(&[0; 4])];
    assert_eq!(
        refusal(vec![input("FP32", &[1], None), input("FP32", &[1], None)], raw()),
        "raw_input_contents has 1 entries for 2 inputs: give one for each input"
    );
    assert_eq!(
        refusal(vec![input("FP32", &[1], floats(&[1.0]))], raw()),
        "input 'x': has contents beside raw_input_contents: send every tensor raw, or none"
    );
    for half in ["FP16", "BF16"] {
        assert_eq!(
            refusal(vec![input(half, &[1], floats(&[1.0]))], vec![]),
            format!("tensor 'x' has datatype {half}, which has no typed contents: send it raw")
        );
    }
    assert_eq!(
        refusal(vec![input("INT64", &[1], ints(&[1]))], vec![]),
        "tensor 'x' has 1 elements in int_contents: INT64 elements belong in int64_contents"
    );
    assert_eq!(
        refusal(vec![input("INT8", &[2], ints(&[1, 128]))], vec![]),
        "tensor 'x' element 1: 128 does not fit INT8"
    );
    assert_eq!(
        refusal(vec![input("INT8", &[3], ints(&[1, 2]))], vec![]),
        "tensor 'x': shape [3] of INT8 needs 3 bytes, got 2"
    );
    assert_eq!(refusal(vec![input("FP32", &[2], None)], raw()), "tensor 'x': shape [2] of FP32 needs 8 bytes, got 4");
    assert_eq!(
        refusal(vec![input("INT8", &[i64::MAX, i64::MAX], ints(&[1]))], vec![]),
        "tensor 'x': shape [9223372036854775807, 9223372036854775807] has more elements than can be addressed"
    );
    assert!(refusal(vec![input("FP33", &[1], None)], raw()).starts_with("input 'x': datatype 'FP33' is not supported"));
    let mut shared = input("FP32", &[1], None);
    let region = InferParameter { parameter_choice: Some(ParameterChoice::StringParam("r".into())) };
    shared.parameters.insert("shared_memory_region".into(), region);
    assert_eq!(
        refusal(vec![shared], vec![]),
        "input 'x': parameter 'shared_memory_region' is not supported: leave it out"
    );
}

#[test]
fn raw_and_wide_contents_are_not_copied() {
    let raw = Bytes::from(vec![0; 8]);
    let message = ModelInferRequest {
        inputs: vec![input("FP32", &[2], None)],
        raw_input_contents: vec![raw.clone()],
        ..Default::default()
    };
    assert_eq!(oip::decode_request(message).unwrap().0.inputs[0].data.as_ptr(), raw.as_ptr());

    let values = vec![1.0f64, 2.0];
    let memory = values.as_ptr().cast::<u8>();
    let contents = InferTensorContents { fp64_contents: values, ..Default::default() };
    let message = ModelInferRequest { inputs: vec![input("FP64", &[2], Some(contents))], ..Default::default() };
    assert_eq!(oip::decode_request(message).unwrap().0.inputs[0].data.as_ptr(), memory);
}

#[test]
fn a_bad_answer_is_the_replicas_fault() {
    let message = oip::ModelInferResponse { raw_output_contents: vec![Bytes::new()], ..Default::default() };
    let error = oip::decode_response(message).unwrap_err();
    assert_eq!(error.row().grpc, 13);
    assert_eq!(
        error.message(),
        "the replica's answer can't be read: raw_output_contents has 1 entries for 0 outputs: give one for each output"
    );
}

#[test]
fn metadata() {
    let spec = ModelSpec {
        version: None,
        pads: false,
        platform: "test",
        inputs: vec![TensorSpec {
            name: "x".into(),
            datatype: Datatype::Fp32,
            shape: vec![Dim::Dynamic("batch".into()), Dim::Fixed(3)],
        }],
        outputs: vec![],
    };
    let message = oip::model_metadata("m", &["1", "2"], &spec);
    assert_eq!(message.versions, ["1", "2"]);
    assert_eq!((message.inputs[0].datatype.as_str(), &message.inputs[0].shape[..]), ("FP32", &[-1, 3][..]));
}

/// A message written byte by byte, as any other client's library writes it.
#[test]
fn field_numbers_are_those_of_existing_clients() {
    let field = |number: u8, payload: &[u8]| [&[number << 3 | 2, payload.len() as u8], payload].concat();
    let parameter = [field(1, b"p"), field(2, &[5 << 3, 7])].concat();
    let contents = field(6, &1.5f32.to_le_bytes());
    let tensor =
        [field(1, b"x"), field(2, b"FP32"), field(3, &[1]), field(4, &parameter), field(5, &contents)].concat();
    let output = [field(1, b"y"), field(2, &parameter)].concat();
    let wire =
        [field(1, b"m"), field(2, b"v"), field(3, b"i"), field(4, &parameter), field(5, &tensor), field(6, &output)]
            .concat();
    let message = ModelInferRequest::decode(&wire[..]).unwrap();
    assert_eq!(message.parameters["p"].parameter_choice, Some(ParameterChoice::Uint64Param(7)));
    assert_eq!(message.inputs[0].contents.as_ref().unwrap().fp32_contents, [1.5]);
    assert_eq!((message.model_name.as_str(), message.model_version.as_str(), message.id.as_str()), ("m", "v", "i"));
    assert_eq!(message.outputs[0].name, "y");
    assert_eq!(message.encode_to_vec(), wire);
    let raw = ModelInferRequest::decode(&field(7, &[1, 2])[..]).unwrap();
    assert_eq!(raw.raw_input_contents, [Bytes::from_static(&[1, 2])]);
}
