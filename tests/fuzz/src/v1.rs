//! V1 requests, read for models of several kinds.

use std::sync::LazyLock;

use weirgate_protocol::{Datatype, Dim, ModelSpec, TensorSpec, v1 as codec};

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
