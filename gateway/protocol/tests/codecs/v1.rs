//! V1: rows and columns, the shapes that nesting makes, and each refusal with its text.

use weirgate_protocol::tensor::{push_bytes_element, raw_bytes};
use weirgate_protocol::{Datatype, Dim, InferRequest, InferResponse, ModelSpec, Shape, Tensor, TensorSpec, v1};

use crate::support::model;

fn spec(name: &str, datatype: Datatype, shape: &[i64]) -> TensorSpec {
    let dim = |&size: &i64| usize::try_from(size).map_or_else(|_| Dim::Dynamic("".into()), Dim::Fixed);
    TensorSpec { name: name.into(), datatype, shape: shape.iter().map(dim).collect() }
}

fn one(datatype: Datatype, shape: &[i64]) -> ModelSpec {
    model(vec![spec("x", datatype, shape)], vec![])
}

fn two() -> ModelSpec {
    model(vec![spec("a", Datatype::Fp32, &[-1, 2]), spec("n", Datatype::Int64, &[-1])], vec![])
}

/// Replaces the single quotes of a readable body.
fn body(text: &str) -> String {
    text.replace('\'', "\"")
}

fn decode(text: &str, spec: &ModelSpec) -> (Vec<Tensor>, v1::Form) {
    let (request, form) =
        v1::decode_request(body(text).as_bytes(), spec).unwrap_or_else(|error| panic!("{text}: {error}"));
    (request.inputs, form)
}

fn refused(text: &str, spec: &ModelSpec) -> String {
    let error = v1::decode_request(body(text).as_bytes(), spec).expect_err(text);
    assert_eq!(error.row().http, 400);
    error.message().to_owned()
}

fn floats(name: &str, shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::new(name, Datatype::Fp32, Shape::from_slice(shape), raw_bytes(values.to_vec()))
        .expect("a tensor that fits its shape")
}

fn integers(name: &str, shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::new(name, Datatype::Int64, Shape::from_slice(shape), raw_bytes(values.to_vec()))
        .expect("a tensor that fits its shape")
}

fn strings(name: &str, shape: &[usize], values: &[&[u8]]) -> Tensor {
    let mut data = Vec::new();
    values.iter().for_each(|value| push_bytes_element(&mut data, value).expect("a tensor that fits its shape"));
    Tensor::new(name, Datatype::Bytes, Shape::from_slice(shape), data.into()).expect("a tensor that fits its shape")
}

#[test]
fn rows_and_columns_of_one_input() {
    let matrix = one(Datatype::Fp32, &[-1, -1]);
    let x = floats("x", &[2, 2], &[1.0, 2.5, -3.0, 4e10]);
    for (text, outputs) in [
        ("{'instances':[[1,2.5],[-3,4e10]]}", false),
        ("{'instances':[{'x':[1,2.5]},{'x':[-3,4e10]}]}", false),
        ("{'inputs':[[1,2.5],[-3,4e10]]}", false),
        ("{'inputs':{'x':[[1,2.5],[-3,4e10]]}}", true),
        ("{'parameters':{'a':[1]},'instances':[[1,2.5],[-3,4e10]],'signature_name':'serving_default'}", false),
        ("{'signature_name':null,'instances':[[1,2.5],[-3,4e10]]}", false),
        ("{'signature_name':'','instances':[[1,2.5],[-3,4e10]]}", false),
    ] {
        let (inputs, form) = decode(text, &matrix);
        assert_eq!(inputs, std::slice::from_ref(&x), "{text}");
        assert_eq!(form, v1::Form { rows: 2, outputs }, "{text}");
    }
    let (inputs, _) = decode("{'instances':[1,2]}", &one(Datatype::Fp32, &[-1]));
    assert_eq!(inputs, [floats("x", &[2], &[1.0, 2.0])]);
    let (inputs, form) = decode("{'inputs':7}", &one(Datatype::Fp32, &[]));
    assert_eq!((inputs, form.rows), (vec![floats("x", &[], &[7.0])], 1));
    let (inputs, _) = decode("{'instances':[[[1],[2]],[[3],[4]]]}", &one(Datatype::Fp32, &[2, -1, 1]));
    assert_eq!(inputs, [floats("x", &[2, 2, 1], &[1.0, 2.0, 3.0, 4.0])]);
}

#[test]
fn rows_and_columns_of_several_inputs() {
    let inputs = [floats("a", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), integers("n", &[2], &[5, 6])];
    for text in ["{'instances':[{'a':[1,2],'n':5},{'n':6,'a':[3,4]}]}", "{'inputs':{'n':[5,6],'a':[[1,2],[3,4]]}}"] {
        assert_eq!(decode(text, &two()).0, inputs, "{text}");
    }
}

#[test]
fn complaint_18_bytes_are_strings_or_base64() {
    let words = one(Datatype::Bytes, &[-1]);
    let x = strings("x", &[3], &["é".as_bytes(), &[0xff, 0x00], b""]);
    for text in [
        "{'instances':['é',{'b64':'/wA='},'']}",
        "{'instances':[{'x':'\\u00e9'},{'x':{'b64':'/wA'}},{'x':{'b64':''}}]}",
        "{'inputs':[{'b64':'w6k='},{'b64':'/wA='},'']}",
        "{'inputs':{'x':['é',{'b64':'/wA='},'']}}",
    ] {
        assert_eq!(decode(text, &words).0, std::slice::from_ref(&x), "{text}");
    }
    // The first instance decides what an object is, and its key may be an element's or an input's.
    let (inputs, _) = decode("{'instances':[{'b64':'/wA='},'a']}", &words);
    assert_eq!(inputs, [strings("x", &[2], &[&[0xff, 0x00], b"a"])]);
    let named = model(vec![spec("b64", Datatype::Bytes, &[-1])], vec![]);
    let (inputs, _) = decode("{'instances':[{'b64':'/wA='}]}", &named);
    assert_eq!(inputs, [strings("b64", &[1], &[b"/wA="])]);
}

#[test]
fn every_refusal_says_where_and_what() {
    let matrix = one(Datatype::Fp32, &[-1, -1]);
    let cube = one(Datatype::Fp32, &[-1, -1, -1]);
    let four = one(Datatype::Int8, &[-1, 4]);
    let fixed = one(Datatype::Fp32, &[2, 3]);
    let words = one(Datatype::Bytes, &[-1]);
    let scalar = one(Datatype::Fp32, &[]);
    let two = two();
    for (spec, text, expected) in [
        (&matrix, "", "body: expected an object, found the end of the body (byte 0)"),
        (&matrix, "[[1]]", "body: expected an object, found an array (byte 0)"),
        (
            &matrix,
            "{}",
            "body: has neither instances nor inputs: give one of them, and for V2 call /v2/models/…/infer (byte 2)",
        ),
        (&matrix, "{'instances':[[1]]} x", "body: expected the end of the JSON, found x (byte 20)"),
        (&matrix, "{'instances':[]}", "instances: is empty: give at least one row (byte 13)"),
        (&matrix, "{'instances':7}", "instances: expected an array, found 7 (byte 13)"),
        (&matrix, "{'instances':null}", "instances: expected an array, found null (byte 13)"),
        (
            &matrix,
            "{'instances':[[1]],'inputs':[[1]]}",
            "inputs: is a second set of inputs: give either instances or inputs, once (byte 28)",
        ),
        (
            &matrix,
            "{'instances':[[1]],'instances':[[1]]}",
            "instances: is a second set of inputs: give either instances or inputs, once (byte 31)",
        ),
        (
            &matrix,
            "{'signature_name':'other','instances':[[1]]}",
            "signature_name: 'other' is not known: the model has serving_default alone, so leave it out (byte 18)",
        ),
        (&matrix, "{'instances':[[1,2],[3]]}", "instances[1]: has 1 elements, instances[0] has 2 (byte 20)"),
        (
            &cube,
            "{'instances':[[[1,2],[3,4]],[[5,6],[7,8,9]]]}",
            "instances[1][1]: has 3 elements, instances[0][0] has 2 (byte 35)",
        ),
        (&matrix, "{'inputs':[[1,2],[3]]}", "inputs[1]: has 1 elements, inputs[0] has 2 (byte 17)"),
        (
            &matrix,
            "{'instances':[{'x':[1,2]},{'x':[3]}]}",
            "instances[1].x: has 1 elements, instances[0].x has 2 (byte 31)",
        ),
        (&matrix, "{'inputs':{'x':[[1,2],[3]]}}", "inputs.x[1]: has 1 elements, inputs.x[0] has 2 (byte 22)"),
        (
            &matrix,
            "{'instances':[1]}",
            "instances[0]: expected an array for input 'x' of shape [-1, -1], found 1 (byte 14)",
        ),
        (
            &matrix,
            "{'instances':[[[1]]]}",
            "instances[0][0]: expected an element for input 'x' of shape [-1, -1], found an array (byte 15)",
        ),
        (
            &matrix,
            "{'instances':[[]]}",
            "instances[0]: is empty: every dimension of input 'x' of shape [-1, -1] must be at least 1 (byte 14)",
        ),
        (
            &matrix,
            "{'instances':[[1],{'x':[1]}]}",
            "instances[1]: expected an array for input 'x' of shape [-1, -1], found an object (byte 18)",
        ),
        (
            &matrix,
            "{'instances':[[1,null]]}",
            "instances[0][1]: expected a number within the range of FP32, found null (byte 17)",
        ),
        (
            &matrix,
            "{'instances':[[1e39]]}",
            "instances[0][0]: expected a number within the range of FP32, found 1e39 (byte 15)",
        ),
        (
            &matrix,
            "{'instances':[[NaN]]}",
            "instances[0][0]: expected a number within the range of FP32, found NaN or Infinity, which JSON does not have: send the tensor in binary, over V2 (byte 15)",
        ),
        (&matrix, "{'instances':[{'y':[1]}]}", "instances[0].y: is not known: the model has 'x' (byte 19)"),
        (&matrix, "{'instances':[{}]}", "instances[0].x: is missing (byte 14)"),
        (&matrix, "{'instances':[{'x':[1],'x':[1]}]}", "instances[0].x: is given twice (byte 27)"),
        (
            &four,
            "{'instances':[[1,2,3]]}",
            "instances[0]: has 3 elements, input 'x' of shape [-1, 4] takes 4 (byte 14)",
        ),
        (
            &four,
            "{'instances':[[1,2,3,1.5]]}",
            "instances[0][3]: expected an integer from -128 to 127 for INT8, found 1.5 (byte 21)",
        ),
        (&fixed, "{'instances':[[1,2,3]]}", "instances: has 1 rows, input 'x' of shape [2, 3] takes 2 (byte 13)"),
        (&fixed, "{'inputs':[[1,2,3]]}", "inputs: has 1 rows, input 'x' of shape [2, 3] takes 2 (byte 10)"),
        (&words, "{'instances':[1]}", "instances[0]: expected a string for BYTES, found 1 (byte 14)"),
        (
            &words,
            "{'instances':[{'b64':'YQ==','c':1}]}",
            "instances[0].c: is not expected: an element of BYTES is a string, or an object with b64 alone (byte 32)",
        ),
        (
            &words,
            "{'instances':['a',{}]}",
            "instances[1]: is an object without b64: give a string for BYTES, or b64 (byte 18)",
        ),
        (
            &scalar,
            "{'instances':[1]}",
            "instances[0]: input 'x' is a scalar, and has no rows: give it in inputs (byte 14)",
        ),
        (&two, "{'instances':[[1,2]]}", "instances[0]: expected an object with 'a', 'n', found an array (byte 14)"),
        (&two, "{'instances':[{'a':[1,2]}]}", "instances[0].n: is missing (byte 14)"),
        (
            &two,
            "{'instances':[{'a':[1,2],'n':1},{'a':[1,2],'n':1,'a':[1,2]}]}",
            "instances[1].a: is given twice (byte 53)",
        ),
        (&two, "{'inputs':[[1,2]]}", "inputs: expected an object with 'a', 'n', found an array (byte 10)"),
        (&two, "{'inputs':{'a':[[1,2]]}}", "inputs.n: is missing (byte 10)"),
        (&two, "{'inputs':{'a':[[1,2]],'b':1}}", "inputs.b: is not known: the model has 'a', 'n' (byte 27)"),
    ] {
        assert_eq!(refused(text, spec), expected, "{text}");
    }
    for (text, problem) in [
        ("YW%j", "'%' at character 2 is none of its digits"),
        ("YWJjZ", "5 digits stand for no whole bytes"),
        ("YWK", "its last digit, at character 2, has bits too many"),
    ] {
        let not_base64 = refused(&format!("{{'instances':[{{'b64':'{text}'}}]}}"), &words);
        assert_eq!(not_base64, format!("instances[0].b64: is not base64: {problem} (byte 21)"), "{text}");
    }
}

#[test]
fn depth_is_limited_by_the_model_and_length_by_nothing_claimed() {
    let matrix = one(Datatype::Fp64, &[-1, -1]);
    let deep = format!("{{\"instances\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(refused(&deep, &matrix).starts_with("instances[0][0]: expected an element"));
    let skipped = format!("{{\"other\":{}1{},\"instances\":[[1]]}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(refused(&skipped, &matrix).contains("nested deeper than 64 levels"));
    let long = format!("{{\"instances\":[[{}]]}}", "9".repeat(100_000));
    let text = refused(&long, &matrix);
    assert!(text.contains("within the range of FP64") && text.len() < 300, "{text}");
}

fn answer(outputs: Vec<Tensor>, rows: usize, named: bool) -> String {
    let response = InferResponse { model_name: "m".into(), outputs, ..Default::default() };
    let body = v1::encode_response(&response, v1::Form { rows, outputs: named }).expect("JSON");
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

#[test]
fn predictions_are_rows() {
    let y = floats("y", &[2, 2], &[1.0, 0.1, -3.0, 4.5]);
    let n = integers("n", &[2], &[5, 6]);
    assert_eq!(answer(vec![y.clone()], 2, false), r#"{"predictions":[[1.0,0.1],[-3.0,4.5]]}"#);
    assert_eq!(
        answer(vec![y.clone(), n.clone()], 2, false),
        r#"{"predictions":[{"y":[1.0,0.1],"n":5},{"y":[-3.0,4.5],"n":6}]}"#
    );
    let cube = integers("c", &[2, 1, 2], &[1, 2, 3, 4]);
    assert_eq!(answer(vec![cube], 2, false), r#"{"predictions":[[[1,2]],[[3,4]]]}"#);
    assert_eq!(answer(vec![floats("s", &[], &[0.5])], 1, false), r#"{"predictions":0.5}"#);
    // Outputs that have not a row for each of the inputs' are whole tensors by name.
    assert_eq!(
        answer(vec![y.clone(), integers("k", &[1], &[7])], 2, false),
        r#"{"predictions":{"y":[[1.0,0.1],[-3.0,4.5]],"k":[7]}}"#
    );
    assert_eq!(
        answer(vec![y.clone(), n.clone()], 1, false),
        r#"{"predictions":{"y":[[1.0,0.1],[-3.0,4.5]],"n":[5,6]}}"#
    );
    // Named columns are answered as TensorFlow Serving does, and as KServe does.
    assert_eq!(answer(vec![n.clone()], 2, true), r#"{"outputs":[5,6],"predictions":[5,6]}"#);
    assert_eq!(
        answer(vec![n, y], 2, true),
        r#"{"outputs":{"n":[5,6],"y":[[1.0,0.1],[-3.0,4.5]]},"predictions":[{"n":5,"y":[1.0,0.1]},{"n":6,"y":[-3.0,4.5]}]}"#
    );
}

#[test]
fn bytes_are_text_or_base64_for_all_of_a_tensor() {
    let text = strings("s", &[2, 1], &["é\"".as_bytes(), b""]);
    assert_eq!(answer(vec![text], 2, false), r#"{"predictions":[["é\""],[""]]}"#);
    let binary = strings("s", &[2], &[b"a", &[0xff]]);
    assert_eq!(answer(vec![binary], 2, false), r#"{"predictions":[{"b64":"YQ=="},{"b64":"/w=="}]}"#);
}

#[test]
fn what_json_can_not_carry_is_an_error_with_advice() {
    let response = |y| InferResponse { model_name: "m".into(), outputs: vec![y], ..Default::default() };
    let nan = floats("y", &[2, 2], &[1.0, 2.0, 3.0, f32::NAN]);
    let error = v1::encode_response(&response(nan), v1::Form::default()).unwrap_err();
    assert_eq!(
        error.message(),
        "output 'y' element 3 is NaN or infinite, which JSON can't carry: call /v2/models/m/infer, and ask for it in binary"
    );
    let uneven =
        InferRequest { inputs: vec![floats("a", &[1], &[1.0]), floats("b", &[2], &[1.0, 2.0])], ..Default::default() };
    assert!(v1::encode_request(&uneven).unwrap_err().message().contains("same number of rows"));
    let error = v1::decode_response(b"{}", &model(vec![], vec![spec("y", Datatype::Fp32, &[-1])])).unwrap_err();
    assert_eq!(error.message(), "the replica's answer can't be read: predictions: is missing (byte 2)");
    assert_eq!(error.row().http, 500);
}

mod properties {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::support::{Elements, TOKENS, tensor_of};

    /// Tensors of any datatypes with so many rows each, and what a model says of them.
    fn tensors() -> impl Strategy<Value = Vec<Tensor>> {
        (1usize..4, vec((proptest::sample::select(&Datatype::ALL[..]), vec(1usize..4, 0..3)), 1..4)).prop_flat_map(
            |(rows, tensors)| {
                let names = ["a", "b64", "ü\"\\\n"];
                let each = tensors.into_iter().zip(names).map(|((datatype, inner), name)| {
                    let shape = std::iter::once(rows).chain(inner).collect();
                    tensor_of(name, datatype, shape, Elements::Json)
                });
                each.collect::<Vec<_>>()
            },
        )
    }

    fn dynamic(tensors: &[Tensor]) -> Vec<TensorSpec> {
        tensors.iter().map(|tensor| spec(&tensor.name, tensor.datatype, &vec![-1; tensor.shape.len()])).collect()
    }

    proptest! {
        #[test]
        fn requests_come_back(inputs in tensors()) {
            let spec = model(dynamic(&inputs), vec![]);
            let rows = inputs[0].shape[0];
            let request = InferRequest { inputs, ..Default::default() };
            let body = v1::encode_request(&request).unwrap();
            let (back, form) = v1::decode_request(&body, &spec).unwrap();
            prop_assert_eq!(back, request);
            prop_assert_eq!(form, v1::Form { rows, outputs: false });
        }

        #[test]
        fn answers_come_back(outputs in tensors(), by_rows in any::<bool>(), named in any::<bool>()) {
            let spec = model(vec![], dynamic(&outputs));
            let rows = if by_rows { outputs[0].shape[0] } else { 0 };
            let response = InferResponse { outputs, ..Default::default() };
            let body = v1::encode_response(&response, v1::Form { rows, outputs: named }).unwrap();
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
            prop_assert_eq!(v1::decode_response(&body, &spec).unwrap(), response.outputs);
        }

        #[test]
        fn binary_strings_come_back(elements in vec(vec(any::<u8>(), 0..9), 1..5)) {
            let elements: Vec<_> = elements.iter().map(Vec::as_slice).collect();
            let response = InferResponse { outputs: vec![strings("y", &[elements.len()], &elements)], ..Default::default() };
            let body = v1::encode_response(&response, v1::Form::default()).unwrap();
            let spec = model(vec![], dynamic(&response.outputs));
            prop_assert_eq!(v1::decode_response(&body, &spec).unwrap(), response.outputs);
        }

        #[test]
        fn any_tokens_are_read_or_refused(tokens in vec(proptest::sample::select(&TOKENS[..]), 0..40), inside in any::<bool>()) {
            let mut text = tokens.concat();
            if inside {
                text = format!(r#"{{"instances":[{text}]}}"#);
            }
            for spec in [one(Datatype::Fp32, &[-1, -1]), one(Datatype::Bytes, &[-1]), two()] {
                match v1::decode_request(text.as_bytes(), &spec) {
                    Err(error) => prop_assert!(error.row().http == 400 && error.message().len() < 2000),
                    Ok((request, _)) => {
                        prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
                        for input in request.inputs {
                            Tensor::new(input.name, input.datatype, input.shape, input.data).unwrap();
                        }
                    }
                }
            }
        }
    }
}
