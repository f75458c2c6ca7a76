//! The small bodies, letter by letter.

use weirgate_protocol::{Datatype, Dim, Error, ModelSpec, TensorSpec, v2};

#[test]
fn health_and_metadata() {
    assert_eq!(v2::live(true), r#"{"live":true}"#);
    assert_eq!(v2::ready(false), r#"{"ready":false}"#);
    assert_eq!(v2::model_ready("m\"", true), r#"{"name":"m\"","ready":true}"#);
    let server = v2::server_metadata("weirgate", "0.1.0", &["binary_tensor_data"]);
    assert_eq!(server, r#"{"name":"weirgate","version":"0.1.0","extensions":["binary_tensor_data"]}"#);
}

#[test]
fn model_metadata_has_minus_one_for_dynamic_dimensions() {
    let tensor = |name: &str, shape| TensorSpec { name: name.into(), datatype: Datatype::Fp32, shape };
    let spec = ModelSpec {
        version: None,
        pads: false,
        platform: "test",
        inputs: vec![tensor("x", vec![Dim::Dynamic("batch".into()), Dim::Fixed(3)])],
        outputs: vec![tensor("y", vec![])],
    };
    let expected = concat!(
        r#"{"name":"m","versions":["1"],"platform":"test","#,
        r#""inputs":[{"name":"x","datatype":"FP32","shape":[-1,3]}],"#,
        r#""outputs":[{"name":"y","datatype":"FP32","shape":[]}]}"#
    );
    assert_eq!(v2::model_metadata("m", &["1"], &spec), expected);
    assert_eq!(v2::model_metadata("m", &[] as &[&str], &spec), expected.replace(r#""versions":["1"],"#, ""));
}

#[test]
fn errors() {
    assert_eq!(v2::error_body(&Error::invalid("a\nb\u{1}")), r#"{"error":"a\nb\u0001"}"#);
}
