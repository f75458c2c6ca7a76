//! Every tensor comes out as it went in, by every way.

use proptest::prelude::*;
use weirgate_protocol::{InferRequest, InferResponse, RequestedOutput, Tensor, v2};

use crate::support::{Elements, element_texts, nested, request, tensor};

fn sent(encoded: v2::Encoded) -> (bytes::Bytes, Option<String>) {
    let header = encoded.header_length.map(|length| length.to_string());
    let length = encoded.content_length();
    let body = encoded.into_bytes();
    assert_eq!(body.len(), length);
    (body, header)
}

proptest! {
    #[test]
    fn json_request(request in request(Elements::Json)) {
        let (body, header) = sent(v2::encode_request(&request, false).unwrap());
        prop_assert_eq!(&header, &None);
        prop_assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        prop_assert_eq!(v2::decode_request(&body, None).unwrap(), request);
    }

    #[test]
    fn binary_request(request in request(Elements::Any)) {
        let (body, header) = sent(v2::encode_request(&request, true).unwrap());
        prop_assert!(header.is_some());
        prop_assert_eq!(v2::decode_request(&body, header.as_deref()).unwrap(), request);
    }

    #[test]
    fn response_with_some_outputs_in_binary(
        json in tensor("json", Elements::Json),
        binary in tensor("binary", Elements::Any),
        by_default in any::<bool>(),
        id in proptest::option::of(any::<String>()),
        version in proptest::option::of(any::<String>()),
    ) {
        let outputs = vec![
            RequestedOutput { name: "binary".into(), binary: Some(true) },
            RequestedOutput { name: "json".into(), binary: Some(false) },
        ];
        let request = InferRequest { outputs, binary_outputs: by_default, ..Default::default() };
        let response = InferResponse {
            model_name: "m/é".into(),
            model_version: version.map(Into::into),
            id,
            outputs: vec![json, binary],
        };
        let (body, header) = sent(v2::encode_response(&response, &request).unwrap());
        prop_assert_eq!(v2::decode_response(&body, header.as_deref()).unwrap(), response);
    }

    #[test]
    fn nested_data_and_keys_in_any_order(
        tensor in tensor("x", Elements::Json),
        order in Just(vec![0, 1, 2, 3, 4]).prop_shuffle(),
    ) {
        let fields = [
            r#""name": "\u0078""#.to_owned(),
            format!(r#""d\u0061tatype":"{}""#, tensor.datatype),
            format!(r#""shape" :{:?}"#, &tensor.shape[..]),
            format!(r#""data":{}"#, nested(&element_texts(&tensor), &tensor.shape)),
            r#""x-unknown":{"data":[[null,{"a":"}"}],1e999]}"#.to_owned(),
        ];
        let fields: Vec<_> = order.into_iter().map(|index: usize| fields[index].clone()).collect();
        let body = format!(r#" {{"parameters":null,"inputs" : [{{{}}} ] }} "#, fields.join(","));
        let request = v2::decode_request(&body.into(), None).unwrap();
        prop_assert_eq!(request.inputs, vec![tensor]);
    }
}

#[test]
fn binary_tensors_are_not_copied() {
    let tensor = Tensor::new("x", weirgate_protocol::Datatype::Fp32, [2].into_iter().collect(), vec![7; 8].into());
    let request = InferRequest { inputs: vec![tensor.unwrap()], ..Default::default() };
    let encoded = v2::encode_request(&request, true).unwrap();
    assert_eq!(encoded.parts[1].as_ptr(), request.inputs[0].data.as_ptr());
    assert_eq!(encoded.content_type(), "application/octet-stream");
    let header = encoded.header_length.unwrap().to_string();
    let body = encoded.into_bytes();
    let decoded = v2::decode_request(&body, Some(&header)).unwrap();
    assert_eq!(decoded.inputs[0].data.as_ptr(), body[body.len() - 8..].as_ptr());
}

#[test]
fn the_json_is_as_the_protocol_writes_it() {
    let tensor = Tensor::new("y", weirgate_protocol::Datatype::Fp32, [1, 2].into_iter().collect(), {
        [0.1f32, -2.0].iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>().into()
    });
    let mut response = InferResponse { model_name: "m".into(), outputs: vec![tensor.unwrap()], ..Default::default() };
    let request = InferRequest { id: Some("7".into()), ..Default::default() };
    let encoded = v2::encode_response(&response, &request).unwrap();
    assert_eq!(encoded.content_type(), "application/json");
    let expected =
        r#"{"model_name":"m","id":"7","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"data":[0.1,-2.0]}]}"#;
    assert_eq!(encoded.into_bytes(), expected);

    response.model_version = Some("2".into());
    let request = InferRequest { binary_outputs: true, ..Default::default() };
    let encoded = v2::encode_response(&response, &request).unwrap();
    let expected = r#"{"model_name":"m","model_version":"2","outputs":[{"name":"y","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}"#;
    assert_eq!(encoded.header_length, Some(expected.len()));
    assert_eq!(encoded.parts[0], expected);
}
