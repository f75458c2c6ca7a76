//! V2 over HTTP: JSON, and JSON with raw tensors behind it.

use bytes::Bytes;
use weirgate_protocol::{Datatype, InferRequest, v2};

use super::{assert_bounded, assert_same};

/// A request in JSON.
pub fn v2_json(bytes: &[u8]) -> bool {
    let Ok(request) = v2::decode_request(&Bytes::copy_from_slice(bytes), None) else { return false };
    serde_json::from_slice::<serde_json::Value>(bytes).expect("what is accepted is JSON");
    assert_bounded(&request, bytes.len());
    encodes_and_comes_back(&request, false);
    true
}

/// A request with raw tensors: a line with the header, and the body.
pub fn v2_binary(bytes: &[u8]) -> bool {
    let Some(end) = bytes.iter().position(|&byte| byte == b'\n') else { return false };
    let (header, body) = (String::from_utf8_lossy(&bytes[..end]), &bytes[end + 1..]);
    let Ok(request) = v2::decode_request(&Bytes::copy_from_slice(body), Some(&header)) else { return false };
    let length: usize = header.trim().parse().expect("a header that is accepted is a number");
    serde_json::from_slice::<serde_json::Value>(&body[..length]).expect("what is accepted begins with JSON");
    assert_bounded(&request, body.len());
    encodes_and_comes_back(&request, true);
    true
}

fn encodes_and_comes_back(request: &InferRequest, binary: bool) {
    // JSON has no form of these.
    let half = |datatype| matches!(datatype, Datatype::Fp16 | Datatype::Bf16);
    let binary = binary || request.inputs.iter().any(|input| half(input.datatype));
    let encoded = match v2::encode_request(request, binary) {
        Ok(encoded) => encoded,
        Err(error) => panic!("what was decoded can't be encoded: {error}"),
    };
    let header = encoded.header_length.map(|length| length.to_string());
    let again = v2::decode_request(&encoded.into_bytes(), header.as_deref()).expect("our own request is read");
    assert_same(request, &again);
}
