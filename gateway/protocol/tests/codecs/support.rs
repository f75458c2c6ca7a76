//! Tensors to test with, and JSON written another way than the encoder does.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use weirgate_protocol::tensor::push_bytes_element;
use weirgate_protocol::{
    Datatype, Extras, InferRequest, ModelSpec, Parameter, Parameters, RequestedOutput, Shape, Tensor, TensorSpec, v2,
};

/// A model that takes and gives this.
pub fn model(inputs: Vec<TensorSpec>, outputs: Vec<TensorSpec>) -> ModelSpec {
    ModelSpec { version: None, platform: "test", inputs, outputs, pads: false }
}

/// Which elements a tensor may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Elements {
    /// What JSON can carry: no NaN, no infinity, text in BYTES.
    Json,
    /// Any bits at all.
    Any,
}

pub fn tensor(name: &'static str, elements: Elements) -> impl Strategy<Value = Tensor> {
    (proptest::sample::select(&Datatype::ALL[..]), vec(0usize..4, 0..4))
        .prop_flat_map(move |(datatype, shape)| tensor_of(name, datatype, shape, elements))
}

pub fn tensor_of(
    name: &'static str,
    datatype: Datatype,
    shape: Vec<usize>,
    elements: Elements,
) -> BoxedStrategy<Tensor> {
    let count = shape.iter().product::<usize>();
    let build = move |data: Vec<u8>| {
        Tensor::new(name, datatype, Shape::from_slice(&shape), data.into()).expect("a tensor that fits its shape")
    };
    match datatype.size() {
        Some(size) => vec(vec(any::<u8>(), size), count)
            .prop_map(move |raw| build(raw.into_iter().flat_map(|raw| tame(datatype, elements, raw)).collect()))
            .boxed(),
        None => {
            let element = match elements {
                Elements::Json => any::<String>().prop_map(String::into_bytes).boxed(),
                Elements::Any => vec(any::<u8>(), 0..20).boxed(),
            };
            vec(element, count)
                .prop_map(move |strings| {
                    let mut data = Vec::new();
                    strings.iter().for_each(|string| push_bytes_element(&mut data, string).expect("a short element"));
                    build(data)
                })
                .boxed()
        }
    }
}

/// Clears one exponent bit where all are set, and makes bools 0 or 1.
fn tame(datatype: Datatype, elements: Elements, mut raw: Vec<u8>) -> Vec<u8> {
    let top = raw.len() - 1;
    match datatype {
        Datatype::Bool => raw[0] &= 1,
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Fp64 if elements == Elements::Json => {
            let high = u16::from_le_bytes([raw.get(top - 1).copied().unwrap_or(0), raw[top]]);
            let exponent = match datatype {
                Datatype::Fp16 => 0x7C00,
                Datatype::Bf16 | Datatype::Fp32 => 0x7F80,
                _ => 0x7FF0,
            };
            if high & exponent == exponent {
                raw[top] &= !0x40;
            }
        }
        _ => {}
    }
    raw
}

pub fn request(elements: Elements) -> impl Strategy<Value = InferRequest> {
    let output = (any::<String>(), any::<Option<bool>>());
    let output = output.prop_map(|(name, binary)| RequestedOutput { name: name.into(), binary });
    let id = proptest::option::of(any::<String>());
    let rest = vec(tensor("ü\"\\\n", elements), 0..3);
    (id, tensor("a", elements), rest, vec(output, 0..3), any::<bool>(), extras()).prop_map(
        |(id, first, rest, outputs, binary_outputs, extras)| {
            let inputs = std::iter::once(first).chain(rest).collect();
            InferRequest { id, inputs, outputs, binary_outputs, extras }
        },
    )
}

/// Parameters that both protocols can carry, of the request and of its input `a`.
fn extras() -> impl Strategy<Value = Option<Box<Extras>>> {
    let value = prop_oneof![
        any::<bool>().prop_map(Parameter::Bool),
        any::<i64>().prop_map(Parameter::Integer),
        (1 << 63..=u64::MAX).prop_map(Parameter::Unsigned),
        (-1e300..1e300).prop_map(Parameter::Double),
        any::<String>().prop_map(Parameter::Text),
    ];
    let parameters = || proptest::collection::btree_map("p[a-zü\"]{0,3}", value.clone(), 0..3);
    let parameters =
        || parameters().prop_map(|all| all.into_iter().map(|(name, value)| (name.into(), value)).collect());
    (parameters(), parameters()).prop_map(|(request, input): (Parameters, Parameters)| {
        let inputs = if input.is_empty() { Vec::new() } else { vec![("a".into(), input)] };
        let extras = Extras { request, inputs, ..Extras::default() };
        (extras != Extras::default()).then(|| Box::new(extras))
    })
}

/// A request of one JSON tensor, with everything else in place.
pub fn one_tensor(datatype: &str, shape: &str, data: &str) -> Bytes {
    format!(r#"{{"inputs":[{{"name":"x","datatype":"{datatype}","shape":{shape},"data":{data}}}]}}"#).into()
}

/// The raw bytes that `data` is read as.
pub fn read(datatype: &str, shape: &str, data: &str) -> Bytes {
    let body = one_tensor(datatype, shape, data);
    let request = v2::decode_request(&body, None).unwrap_or_else(|error| panic!("{data} as {datatype}: {error}"));
    request.inputs[0].data.clone()
}

/// Why a JSON body is refused.
pub fn refusal(body: impl Into<Bytes>) -> String {
    let error = v2::decode_request(&body.into(), None).expect_err("a refusal");
    assert_eq!(error.row().http, 400);
    error.message().to_owned()
}

/// The JSON text of each element.
pub fn element_texts(tensor: &Tensor) -> Vec<String> {
    let mut rest = tensor.data.clone();
    let mut texts = Vec::new();
    for _ in 0..tensor.elements() {
        let size = tensor
            .datatype
            .size()
            .unwrap_or_else(|| 4 + u32::from_le_bytes(rest[..4].try_into().expect("a length prefix")) as usize);
        let one = Tensor::new("", tensor.datatype, Shape::from_slice(&[1]), rest.split_to(size)).expect("one element");
        let request = InferRequest { inputs: vec![one], ..Default::default() };
        let json = v2::encode_request(&request, false).expect("JSON").into_bytes();
        let json = String::from_utf8(json.to_vec()).expect("UTF-8");
        let start = json.find(r#""data":["#).expect("data") + r#""data":["#.len();
        texts.push(json[start..json.len() - "]}]}".len()].to_owned());
    }
    texts
}

/// `data` in arrays nested as `shape` has it.
pub fn nested(texts: &[String], shape: &[usize]) -> String {
    match shape {
        [] => format!("[{}]", texts.join(" ,\t")),
        [_] => format!("[{}]", texts.join(" ,\t")),
        [first, rest @ ..] => {
            let size = rest.iter().product::<usize>();
            let rows = (0..*first).map(|row| nested(&texts[row * size..(row + 1) * size], rest));
            format!("[ {} ]", rows.collect::<Vec<_>>().join("\n,"))
        }
    }
}

/// Pieces that bodies are made of, and pieces that are wrong in them.
pub const TOKENS: [&str; 37] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "\\",
    "\"inputs\":",
    "\"instances\":",
    "\"a\":",
    "\"b64\":",
    "\"outputs\":",
    "\"name\":",
    "\"shape\":",
    "\"datatype\":",
    "\"data\":",
    "\"parameters\":",
    "\"binary_data_size\":",
    "\"id\":",
    "\"FP32\"",
    "\"BYTES\"",
    "\"INT64\"",
    "null",
    "true",
    "0",
    "-",
    "1e5",
    "1.0",
    "99999999999999999999",
    "\"x\"",
    " ",
    "\\ud83d",
    "\\ude00",
    "é",
    "NaN",
    "1e999",
];
