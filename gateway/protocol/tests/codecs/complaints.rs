//! What users of other servers ran into, by its number in the list of complaints this project keeps.

use bytes::Bytes;
use weirgate_protocol::oip::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use weirgate_protocol::{Datatype, InferRequest, InferResponse, Shape, Tensor, oip, v2};

use crate::support::{one_tensor, read, refusal};

const TWO_STRINGS: &[u8] = b"\x01\0\0\0a\x02\0\0\0\xc3\xa9";

#[test]
fn complaint_18_bytes_as_json_strings() {
    assert_eq!(read("BYTES", "[2]", r#"["a", "é"]"#), TWO_STRINGS);
    assert_eq!(read("BYTES", "[2]", r#"["\u0061", "\u00E9"]"#), TWO_STRINGS);
    assert_eq!(&read("BYTES", "[1]", r#"["\ud83d\ude00\n\/\u0000"]"#)[4..], "\u{1F600}\n/\0".as_bytes());
    assert_eq!(v2::error_body(&weirgate_protocol::Error::invalid("a \"b\"")), r#"{"error":"a \"b\""}"#);
}

#[test]
fn complaint_19_nested_or_flat_bytes() {
    for data in [r#"[["a"],["é"]]"#, r#"["a","é"]"#, r#"[["a","é"]]"#, r#"[[],["a"],[["é"]]]"#] {
        assert_eq!(read("BYTES", "[2,1]", data), TWO_STRINGS, "{data}");
    }
    let refused = refusal(one_tensor("BYTES", "[2,1]", r#"[["a"]]"#));
    assert_eq!(refused, "inputs[0].data: element count 1 does not match shape [2, 1], which asks for 2 (byte 63)");
}

#[test]
fn complaint_20_negative_shape_is_refused() {
    let refused = refusal(one_tensor("INT8", "\"-1\"", "[1]"));
    assert_eq!(refused, "inputs[0].shape: expected an array, found the string \"-1\" (byte 49)");
    let refused = refusal(one_tensor("INT8", "[\"-1\"]", "[1]"));
    assert_eq!(refused, "inputs[0].shape[0]: expected a whole number of 0 or more, found the string \"-1\" (byte 50)");
    let refused = refusal(one_tensor("INT8", "[1,-1]", "[1]"));
    assert_eq!(refused, "inputs[0].shape[1]: expected a whole number of 0 or more, found -1 (byte 52)");

    let input =
        InferInputTensor { name: "x".into(), datatype: "INT8".into(), shape: vec![-1, 2], ..Default::default() };
    let message = oip::ModelInferRequest { inputs: vec![input], ..Default::default() };
    let error = oip::decode_request(message).unwrap_err();
    assert_eq!(error.message(), "input 'x': shape[0] is -1: give a whole number of 0 or more");
    assert_eq!(error.row().grpc, 3);
}

#[test]
fn complaint_21_binary_header() {
    let json = r#"{"inputs":[{"name":"x","shape":[2],"datatype":"INT16","parameters":{"binary_data_size":4}}]}"#;
    let body = Bytes::from([json.as_bytes(), &[1, 0, 2, 0]].concat());
    let refused =
        |body: &Bytes, header: Option<&str>| v2::decode_request(body, header).unwrap_err().message().to_owned();
    let length = json.len().to_string();
    assert_eq!(v2::decode_request(&body, Some(&length)).unwrap().inputs[0].data, [1, 0, 2, 0][..]);

    assert_eq!(
        refused(&body, None),
        "inputs[0]: binary_data_size needs the header Inference-Header-Content-Length, which is missing (byte 11)"
    );
    assert_eq!(
        refused(&body, Some("1000")),
        "header Inference-Header-Content-Length is 1000, the body has 96 bytes: give the length in bytes of the JSON at \
         its start"
    );
    for value in ["", "ten", "-1", "+5", "1.0", "0x10"] {
        assert_eq!(
            refused(&body, Some(value)),
            format!(
                "header Inference-Header-Content-Length is '{value}': give the length in bytes of the JSON at the \
                 start of the body"
            )
        );
    }
    let too_short = refused(&body, Some("91"));
    assert_eq!(too_short, "body: expected ',' or '}', found the end of the body (byte 91)");
    let too_long = refused(&body, Some("93"));
    assert_eq!(too_long, "inputs[0]: binary_data_size is 4, and 3 bytes of the body are left for it (byte 11)");
    let more = Bytes::from([&body[..], &[0]].concat());
    assert_eq!(
        refused(&more, Some(&length)),
        "body: 1 bytes are left behind the last binary tensor: check binary_data_size and Inference-Header-Content-Length"
    );
    // Lengths beyond 32 and 64 bits.
    for size in ["3000000000", "18446744073709551615"] {
        let huge = json.replace(":4}", &format!(":{size}}}"));
        let header = huge.len().to_string();
        let expected =
            format!("inputs[0]: binary_data_size is {size}, and 0 bytes of the body are left for it (byte 11)");
        assert_eq!(refused(&huge.into(), Some(&header)), expected);
        assert!(refused(&body, Some(size)).starts_with("header Inference-Header-Content-Length is "));
    }
    let wrong_size = json.replace("[2]", "[3]");
    let wrong = Bytes::from([wrong_size.as_bytes(), &[1, 0, 2, 0]].concat());
    assert_eq!(
        refused(&wrong, Some(&length)),
        "inputs[0]: tensor 'x': shape [3] of INT16 needs 6 bytes, got 4 (byte 11)"
    );
}

#[test]
fn complaint_22_fp16_and_bf16_go_raw_and_take_all_along() {
    let tensor = |name: &str, datatype, size: usize| {
        Tensor::new(name, datatype, Shape::from_slice(&[2]), vec![0; 2 * size].into()).unwrap()
    };
    for half in [Datatype::Fp16, Datatype::Bf16] {
        let outputs = vec![tensor("a", Datatype::Fp32, 4), tensor("b", half, 2)];
        let response = InferResponse { outputs, ..Default::default() };
        let message = oip::encode_response(response, false).unwrap();
        assert_eq!(message.raw_output_contents.len(), 2);
        assert!(message.outputs.iter().all(|output| output.contents.is_none()));
    }

    // In JSON, which has no form of its own for them, their values are plain numbers.
    assert_eq!(read("FP16", "[2]", "[1, -0.5]"), [0x00, 0x3C, 0x00, 0xB8][..]);
    assert_eq!(read("BF16", "[2]", "[1, -0.5]"), [0x80, 0x3F, 0x00, 0xBF][..]);
}

#[test]
fn complaint_23_outputs_id_and_version_are_kept() {
    let body = r#"{"id":"42","outputs":[{"name":"b"},{"name":"a"}],
                   "inputs":[{"name":"x","shape":[1],"datatype":"INT8","data":[1]}]}"#;
    let request = v2::decode_request(&body.into(), None).unwrap();
    assert_eq!(request.id.as_deref(), Some("42"));
    assert_eq!(request.outputs.iter().map(|output| &*output.name).collect::<Vec<_>>(), ["b", "a"]);
    let response =
        InferResponse { model_name: "m".into(), model_version: Some("2".into()), id: request.id, outputs: vec![] };
    let encoded = v2::encode_response(&response, &InferRequest::default()).unwrap();
    assert_eq!(encoded.into_bytes(), r#"{"model_name":"m","model_version":"2","id":"42","outputs":[]}"#);

    let input = InferInputTensor {
        name: "x".into(),
        datatype: "INT8".into(),
        contents: Some(oip::InferTensorContents { int_contents: vec![1], ..Default::default() }),
        ..Default::default()
    };
    let output = InferRequestedOutputTensor { name: "b".into(), ..Default::default() };
    let message =
        oip::ModelInferRequest { id: "42".into(), inputs: vec![input], outputs: vec![output], ..Default::default() };
    let (request, raw) = oip::decode_request(message).unwrap();
    assert!(!raw);
    assert_eq!(request.id.as_deref(), Some("42"));
    assert_eq!(&*request.outputs[0].name, "b");
    let message = oip::encode_response(response, false).unwrap();
    assert_eq!((message.id.as_str(), message.model_version.as_str()), ("42", "2"));
}
