//! Answers of V1 whose model nobody knows.

use weirgate_protocol::tensor::push_bytes_element;
use weirgate_protocol::{Datatype, Tensor, v1};

fn read(predictions: &str) -> Vec<Tensor> {
    let body = format!(r#"{{"model_name":"m","predictions":{predictions},"more":[1,{{}}]}}"#);
    v1::decode_undescribed(body.as_bytes()).unwrap_or_else(|error| panic!("{predictions}: {error}"))
}

/// Its name, datatype, shape and data.
fn parts(tensor: &Tensor) -> (&str, Datatype, &[usize], Vec<u8>) {
    (&tensor.name, tensor.datatype, &tensor.shape, tensor.data.to_vec())
}

fn integers(values: &[i64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn texts(values: &[&str]) -> Vec<u8> {
    let mut data = Vec::new();
    values.iter().for_each(|value| push_bytes_element(&mut data, value.as_bytes()).expect("a short text"));
    data
}

#[test]
fn what_a_tensor_is_is_seen_from_how_it_is_written() {
    let one = |predictions: &str, datatype, shape: &[usize], data: Vec<u8>| {
        let outputs = read(predictions);
        assert_eq!(outputs.len(), 1, "{predictions}");
        assert_eq!(parts(&outputs[0]), ("output-0", datatype, shape, data), "{predictions}");
    };
    one("[1, -2, 3]", Datatype::Int64, &[3], integers(&[1, -2, 3]));
    one("[[1],[2]]", Datatype::Int64, &[2, 1], integers(&[1, 2]));
    one("[[1, 2.5],[3,4]]", Datatype::Fp64, &[2, 2], doubles(&[1.0, 2.5, 3.0, 4.0]));
    one("[1,2e0]", Datatype::Fp64, &[2], doubles(&[1.0, 2.0]));
    one("[9223372036854775807]", Datatype::Int64, &[1], integers(&[i64::MAX]));
    one("[9223372036854775808]", Datatype::Fp64, &[1], doubles(&[9_223_372_036_854_775_808.0]));
    one("7", Datatype::Int64, &[], integers(&[7]));
    one("[true,false]", Datatype::Bool, &[2], vec![1, 0]);
    one(r#"["a,b","c]"]"#, Datatype::Bytes, &[2], texts(&["a,b", "c]"]));
    one(r#"[{"b64":"YQ=="}]"#, Datatype::Bytes, &[1], texts(&["a"]));
    one("[[[ 1 , 2 ]]]", Datatype::Int64, &[1, 1, 2], integers(&[1, 2]));
}

#[test]
fn fields_of_objects_are_tensors_by_name() {
    for predictions in [r#"[{"y":1,"p":[0.5,1]},{"p":[2,3],"y":4}]"#, r#"{"y":[1,4],"p":[[0.5,1],[2,3]]}"#] {
        let outputs = read(predictions);
        assert_eq!(parts(&outputs[0]), ("y", Datatype::Int64, &[2][..], integers(&[1, 4])), "{predictions}");
        assert_eq!(parts(&outputs[1]), ("p", Datatype::Fp64, &[2, 2][..], doubles(&[0.5, 1.0, 2.0, 3.0])));
    }
    let outputs = read(r#"[{"y":1},{"y":2.5}]"#);
    assert_eq!(parts(&outputs[0]), ("y", Datatype::Fp64, &[2][..], doubles(&[1.0, 2.5])), "a later row has a point");
    assert_eq!(parts(&read(r#"{"y":[1]}"#)[0]), ("y", Datatype::Int64, &[1][..], integers(&[1])));
}

#[test]
fn what_is_no_tensor_is_the_servers_fault() {
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    for (predictions, why) in [
        ("[]", "is empty"),
        ("[[],[]]", "is empty"),
        ("{}", "has no fields"),
        ("[{},{}]", "has no fields"),
        ("null", "is null"),
        ("[1,null]", "expected"),
        ("[1,[2]]", "expected"),
        ("[[1,2],[3]]", "has 1 elements"),
        (r#"[1,"a"]"#, "expected"),
        (r#"[{"a":1},{"b":2}]"#, "is missing"),
        (r#"[{"a":1},2]"#, "expected an object"),
        (r#"[{"a":{"b":1}}]"#, "b64"),
        (&deep, "nested deeper"),
    ] {
        let body = format!(r#"{{"predictions":{predictions}}}"#);
        let error = v1::decode_undescribed(body.as_bytes()).expect_err(predictions);
        assert!((500..503).contains(&error.row().http), "{error:?}");
        assert!(error.message().contains(why), "{predictions}: {error}");
    }
    for body in ["", "[]", "{}", r#"{"outputs":[1]}"#, r#"{"predictions":[1],"predictions":[2]}"#, "<html>"] {
        assert!(v1::decode_undescribed(body.as_bytes()).is_err(), "{body}");
    }
}
