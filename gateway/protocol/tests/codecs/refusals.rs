//! Each refusal, with its text.

use bytes::Bytes;
use weirgate_protocol::{Datatype, InferRequest, InferResponse, Shape, Tensor, v2};

use crate::support::{one_tensor, refusal};

/// Replaces the single quotes of a readable body.
fn body(text: &str) -> Bytes {
    text.replace('\'', "\"").into()
}

#[test]
fn malformed_requests() {
    let cases = [
        ("", "body: expected an object, found the end of the body (byte 0)"),
        ("[]", "body: expected an object, found an array (byte 0)"),
        ("{}", "inputs: is missing: give the model's inputs (byte 2)"),
        ("{'inputs':7}", "inputs: expected an array, found 7 (byte 10)"),
        ("{'inputs':[7]}", "inputs[0]: expected an object, found 7 (byte 11)"),
        ("{'inputs':[{}]}", "inputs[0].name: is missing (byte 11)"),
        ("{'inputs':[{'name':'x'}]}", "inputs[0].shape: is missing (byte 11)"),
        ("{'inputs':[{'name':'x','shape':[]}]}", "inputs[0].datatype: is missing (byte 11)"),
        (
            "{'inputs':[{'name':'x','shape':[],'datatype':'INT8'}]}",
            "inputs[0]: has neither data nor binary_data_size: give one of them (byte 11)",
        ),
        (
            "{'inputs':[{'name':'x','shape':[],'datatype':'INT8','data':[1],'parameters':{'binary_data_size':1}}]}",
            "inputs[0]: has both data and binary_data_size: give one of them (byte 11)",
        ),
        ("{'id':1,'id':2}", "id: expected a string, found 1 (byte 6)"),
        ("{'id':'a','id':'b'}", "id: is given twice (byte 15)"),
        ("{'inputs':[{'name':'x','name':'y'}]}", "inputs[0].name: is given twice (byte 30)"),
        (
            "{'parameters':{'binary_data_output':'yes'}}",
            "parameters.binary_data_output: expected true or false, found the string \"yes\" (byte 36)",
        ),
        (
            "{'outputs':[{'name':'y','parameters':{'binary_data':1}}]}",
            "outputs[0].parameters.binary_data: expected true or false, found 1 (byte 52)",
        ),
        (
            "{'outputs':[{'name':'y','parameters':{'classification':3}}]}",
            "outputs[0].parameters.classification: is not supported: leave it out (byte 55)",
        ),
        (
            "{'parameters':{'sequence_id':7}}",
            "parameters.sequence_id: is not supported: each call stands alone, so leave it out (byte 29)",
        ),
        (
            "{'parameters':{'sequence_start':true}}",
            "parameters.sequence_start: is not supported: each call stands alone, so leave it out (byte 32)",
        ),
        ("{'outputs':[{}]}", "outputs[0].name: is missing (byte 12)"),
        (
            "{'inputs':[{'parameters':{'binary_data_size':-4}}]}",
            "inputs[0].parameters.binary_data_size: expected a whole number of 0 or more, found -4 (byte 45)",
        ),
        ("{'a':1,}", "body: expected a string, found '}' (byte 7)"),
        ("{'a' 1}", "a: expected ':', found 1 (byte 5)"),
        ("{'a':tru}", "a: expected a value, found tru (byte 5)"),
        ("{'a':1 'b'}", "body: expected ',' or '}', found the string \"b\" (byte 7)"),
        ("{'a':'\\ud800'}", "a: string has half of a surrogate pair (byte 6)"),
        ("{'a':'\\ud800\\u0041'}", "a: string has half of a surrogate pair (byte 6)"),
        ("{'a':'\\u12'}", "a: string has a \\u escape without four hexadecimal digits (byte 6)"),
        ("{'a':'\\x'}", "a: string has an unknown escape (byte 6)"),
        ("{'a':'\n'}", "a: string has the control character 0x0a: escape it (byte 6)"),
        ("{'a':'b", "a: string has no end (byte 6)"),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(body(text)), expected, "{text}");
    }
    let not_utf8 = [&b"{\"id\":\"a"[..], &[0xff], b"\"}"].concat();
    assert_eq!(refusal(not_utf8), "id: string is not UTF-8: send the tensor in binary, over V2 (byte 8)");
}

#[test]
fn what_asks_for_nothing_is_taken() {
    let request = |text: &str| v2::decode_request(&body(text), None).unwrap();
    assert!(request("{'inputs':[]}").inputs.is_empty(), "some models have none");
    request("{'inputs':[],'parameters':{'sequence_id':0,'sequence_start':false,'sequence_end':null}}");
    request("{'inputs':[],'parameters':{'sequence_id':'','priority':0,'timeout':1000}}");
}

#[test]
fn wrong_data() {
    let cases = [
        ("FP32", "[2]", "[1]", "inputs[0].data: element count 1 does not match shape [2], which asks for 2 (byte 60)"),
        ("FP32", "[1]", "[1,2]", "inputs[0].data: has elements beyond the 1 that its shape asks for (byte 63)"),
        ("FP32", "[1]", "1", "inputs[0].data: expected an array, found 1 (byte 60)"),
        (
            "FP32",
            "[4]",
            "[1,2,3,'a']",
            "inputs[0].data[3]: expected a number within the range of FP32, found the string \"a\" (byte 67)",
        ),
        (
            "FP32",
            "[1]",
            "[1e39]",
            "inputs[0].data[0]: expected a number within the range of FP32, found 1e39 (byte 61)",
        ),
        (
            "FP16",
            "[1]",
            "[65520]",
            "inputs[0].data[0]: expected a number within the range of FP16, found 65520 (byte 61)",
        ),
        (
            "FP32",
            "[1]",
            "[NaN]",
            "inputs[0].data[0]: expected a number within the range of FP32, found NaN or Infinity, which JSON does not have: send the tensor in binary, over V2 (byte 61)",
        ),
        (
            "FP64",
            "[1]",
            "[-Infinity]",
            "inputs[0].data[0]: expected a number within the range of FP64, found NaN or Infinity, which JSON does not have: send the tensor in binary, over V2 (byte 61)",
        ),
        (
            "FP32",
            "[1]",
            "[null]",
            "inputs[0].data[0]: expected a number within the range of FP32, found null (byte 61)",
        ),
        (
            "INT8",
            "[2]",
            "[1,300]",
            "inputs[0].data[1]: expected an integer from -128 to 127 for INT8, found 300 (byte 63)",
        ),
        ("UINT8", "[1]", "[-1]", "inputs[0].data[0]: expected an integer from 0 to 255 for UINT8, found -1 (byte 62)"),
        (
            "INT32",
            "[1]",
            "[1.5]",
            "inputs[0].data[0]: expected an integer from -2147483648 to 2147483647 for INT32, found 1.5 (byte 62)",
        ),
        ("BOOL", "[1]", "[2]", "inputs[0].data[0]: expected true or false for BOOL, found 2 (byte 61)"),
        ("BOOL", "[1]", "[1.5]", "inputs[0].data[0]: expected true or false for BOOL, found 1.5 (byte 61)"),
        ("BYTES", "[1]", "[1]", "inputs[0].data[0]: expected a string for BYTES, found 1 (byte 62)"),
        ("INT8", "[1]", "[01]", "inputs[0].data[0]: expected an integer from -128 to 127 for INT8, found 01 (byte 61)"),
        ("INT8", "[1]", "[1,]", "inputs[0].data: has elements beyond the 1 that its shape asks for (byte 63)"),
        (
            "INT8",
            "[2]",
            "[1,]",
            "inputs[0].data[1]: expected an integer from -128 to 127 for INT8, found ']' (byte 63)",
        ),
        ("INT8", "[1]", "[1 1]", "inputs[0].data: expected ',' or ']', found 1 (byte 63)"),
        (
            "FP33",
            "[1]",
            "[1]",
            "inputs[0].datatype: datatype 'FP33' is not supported: use one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, BF16, FP32, FP64, BYTES (byte 34)",
        ),
        ("INT8", "[1.5]", "[1]", "inputs[0].shape[0]: expected a whole number of 0 or more, found 1.5 (byte 50)"),
        ("INT8", "3", "[1]", "inputs[0].shape: expected an array, found 3 (byte 49)"),
        (
            "INT8",
            "[99999999999,99999999999]",
            "[1]",
            "inputs[0].shape: has more elements than can be addressed: give smaller dimensions (byte 11)",
        ),
    ];
    for (datatype, shape, data, expected) in cases {
        assert_eq!(
            refusal(one_tensor(datatype, shape, &data.replace('\'', "\""))),
            expected,
            "{datatype} {shape} {data}"
        );
    }
}

#[test]
fn depth_and_rank_are_limited() {
    let deep = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(v2::decode_request(&one_tensor("INT8", "[1]", &deep(64)), None).is_ok());
    let refused = refusal(one_tensor("INT8", "[1]", &deep(65)));
    assert_eq!(refused, "inputs[0].data: nested deeper than 64 levels (byte 124)");
    let refused = refusal(format!(r#"{{"x":{}}}"#, deep(100_000)));
    assert!(refused.contains("nested deeper than 64 levels"), "{refused}");
    let shape = format!("[{}1]", "1,".repeat(64));
    let refused = refusal(one_tensor("INT8", &shape, "[1]"));
    assert!(refused.starts_with("inputs[0].shape[64]: a tensor has at most 64 dimensions"), "{refused}");
}

#[test]
fn a_claimed_shape_reserves_no_memory() {
    // Reserving what this asks for would end the process.
    let refused = refusal(one_tensor("FP64", "[1000000000000000]", "[1]"));
    assert_eq!(
        refused,
        "inputs[0].data: element count 1 does not match shape [1000000000000000], which asks for 1000000000000000 (byte 75)"
    );
}

#[test]
fn text_from_outside_is_cut() {
    let refused = refusal(one_tensor(&"F".repeat(100_000), "[1]", "[1]"));
    assert!(refused.len() < 400, "{}", refused.len());
    let refused = refusal(one_tensor("INT8", "[1]", &format!("[{}]", "9".repeat(100_000))));
    assert!(refused.len() < 400, "{}", refused.len());
    let refused = refusal(one_tensor("INT8", "[1]", &format!("[\"{}\"]", "9".repeat(100_000))));
    assert!(refused.len() < 400, "{}", refused.len());
}

#[test]
fn answers_that_json_can_not_carry() {
    let refused = |datatype, data: Vec<u8>| {
        let tensor = Tensor::new("y", datatype, Shape::from_slice(&[1]), data.into()).unwrap();
        let response = InferResponse { outputs: vec![tensor], ..Default::default() };
        v2::encode_response(&response, &InferRequest::default()).unwrap_err().message().to_owned()
    };
    let not_finite =
        "output 'y' element 0 is NaN or infinite, which JSON can't carry: ask for it in binary, with binary_data";
    assert_eq!(refused(Datatype::Fp32, f32::NAN.to_le_bytes().to_vec()), not_finite);
    assert_eq!(refused(Datatype::Fp64, f64::NEG_INFINITY.to_le_bytes().to_vec()), not_finite);
    assert_eq!(refused(Datatype::Fp16, half::f16::INFINITY.to_le_bytes().to_vec()), not_finite);
    assert_eq!(
        refused(Datatype::Bytes, vec![1, 0, 0, 0, 0xff]),
        "output 'y' element 0 is not UTF-8, which JSON can't carry: ask for it in binary, with binary_data"
    );
}

#[test]
fn a_bad_answer_is_the_replicas_fault() {
    let error = v2::decode_response(&Bytes::from_static(b"<html>"), None).unwrap_err();
    assert_eq!(error.row().http, 500);
    assert_eq!(error.message(), "the replica's answer can't be read: body: expected an object, found '<' (byte 0)");
    let error = v2::decode_response(&Bytes::from_static(b"{}"), None).unwrap_err();
    assert_eq!(error.message(), "the replica's answer can't be read: outputs: is missing (byte 2)");
}
