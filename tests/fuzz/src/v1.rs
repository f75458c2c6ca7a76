//! V1: requests, read for models of several kinds, and answers of models that nobody knows.

use std::sync::LazyLock;

use weirgate_protocol::{Datatype, Dim, InferRequest, InferResponse, ModelSpec, TensorSpec, v1 as codec};

use super::{assert_bounded, assert_same};

fn input(name: &str, datatype: Datatype, shape: &[Dim]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, shape: shape.to_vec() }
}

fn model(inputs: Vec<TensorSpec>) -> ModelSpec {
    ModelSpec { version: None, platform: "none", inputs, outputs: Vec::new(), pads: false }
}

/// One input of numbers, one of text, and several.
static MODELS: LazyLock<[ModelSpec; 3]> = LazyLock::new(|| {
    let any = || Dim::Dynamic("".into());
    let rows = [any(), any()];
    [
        model(vec![input("x", Datatype::Fp32, &rows)]),
        model(vec![input("x", Datatype::Bytes, &rows)]),
        model(vec![
            input("a", Datatype::Fp64, &[any(), Dim::Fixed(3)]),
            input("b", Datatype::Bool, &[any()]),
            input("id", Datatype::Int64, &[any(), Dim::Fixed(1)]),
        ]),
    ]
});

/// A prediction request.
pub fn v1(bytes: &[u8]) -> bool {
    let mut accepted = false;
    for model in MODELS.iter() {
        let Ok((request, _)) = codec::decode_request(bytes, model) else { continue };
        accepted = true;
        serde_json::from_slice::<serde_json::Value>(bytes).expect("what is accepted is JSON");
        assert_bounded(&request, bytes.len());
        // Columns may differ in their rows, or have none; then they can't be written in rows.
        let Ok(encoded) = codec::encode_request(&request) else { continue };
        let (again, _) = codec::decode_request(&encoded, model).expect("our own request is read");
        assert_same(&request, &again);
    }
    accepted
}

/// The answer of a server whose model nobody knows.
pub fn v1_answer(bytes: &[u8]) -> bool {
    let Ok(outputs) = codec::decode_undescribed(bytes) else { return false };
    serde_json::from_slice::<serde_json::Value>(bytes).expect("what is accepted is JSON");
    let request = InferRequest { inputs: outputs.clone(), ..InferRequest::default() };
    assert_bounded(&request, bytes.len());
    let rows = outputs.first().and_then(|output| output.shape.first()).copied().unwrap_or_default();
    let response = InferResponse { outputs, ..InferResponse::default() };
    let form = codec::Form { rows, outputs: false };
    let encoded = codec::encode_response(&response, form).expect("what was read as JSON is written as JSON");
    let mut again = codec::decode_undescribed(&encoded).expect("our own answer is read");
    if let ([first], [second]) = (&response.outputs[..], &mut again[..]) {
        // One alone is written without its name.
        second.name = first.name.clone();
    }
    assert_same(&request, &InferRequest { inputs: again, ..InferRequest::default() });
    true
}
