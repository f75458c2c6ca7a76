//! Does reading tensors straight out of the JSON pay, against building a tree first?
//!
//! Request side: one FP32 [1, 1000] body. `weirgate` is the decoder as it serves; `value` parses the body into a
//! `serde_json::Value` and converts its `data`, the naive way; `typed` lets serde fill a struct with a `Vec<f32>`. Each
//! is run on numbers as a float32 prints (`short`) and as Python prints the same numbers (`python`: widened to float64,
//! up to 17 digits). Response side: FP32 [1, 1000] written by `weirgate` and by serde from a struct.
//!
//! Read the ratios: the machine's own speed is not the question.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::{Deserialize, Serialize};
use weirgate_protocol::{Datatype, InferRequest, InferResponse, Shape, Tensor, v2};

const ELEMENTS: usize = 1000;

#[derive(Deserialize, Serialize)]
struct Typed<'a> {
    #[serde(borrow)]
    inputs: Vec<TypedTensor<'a>>,
}

#[derive(Deserialize, Serialize)]
struct TypedTensor<'a> {
    name: &'a str,
    datatype: &'a str,
    shape: Vec<usize>,
    data: Vec<f32>,
}

/// Numbers such as a network's activations: spread over a few orders of magnitude, both signs, all digits used.
fn numbers() -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..ELEMENTS).map(|_| (next() - 0.5) * 8.0).collect()
}

fn body(print: impl Fn(f32) -> String) -> Bytes {
    let data: Vec<_> = numbers().into_iter().map(print).collect();
    let data = data.join(",");
    format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{ELEMENTS}],"data":[{data}]}}]}}"#).into()
}

fn weirgate(body: &Bytes) -> InferRequest {
    v2::decode_request(body, None).expect("valid body")
}

fn value(body: &[u8]) -> Vec<f32> {
    let value: serde_json::Value = serde_json::from_slice(body).expect("valid body");
    let data = value["inputs"][0]["data"].as_array().expect("an array");
    data.iter().map(|number| number.as_f64().expect("a number") as f32).collect()
}

fn typed(body: &[u8]) -> Vec<f32> {
    let mut request: Typed<'_> = serde_json::from_slice(body).expect("valid body");
    request.inputs.remove(0).data
}

fn read_request(criterion: &mut Criterion) {
    let bodies =
        [("short", body(|number| number.to_string())), ("python", body(|number| f64::from(number).to_string()))];
    let mut group = criterion.benchmark_group("read_request_fp32_1x1000");
    for (digits, body) in &bodies {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("weirgate", digits), body, |b, body| {
            b.iter(|| weirgate(black_box(body)))
        });
        group.bench_with_input(BenchmarkId::new("value", digits), body, |b, body| b.iter(|| value(black_box(body))));
        group.bench_with_input(BenchmarkId::new("typed", digits), body, |b, body| b.iter(|| typed(black_box(body))));
    }
    group.finish();
}

fn write_response(criterion: &mut Criterion) {
    let data: Vec<u8> = numbers().into_iter().flat_map(f32::to_le_bytes).collect();
    let shape = Shape::from_slice(&[1, ELEMENTS]);
    let tensor = Tensor::new("y", Datatype::Fp32, shape, data.into()).expect("valid tensor");
    let response = InferResponse { model_name: "m".into(), outputs: vec![tensor], ..Default::default() };
    let request = InferRequest::default();
    let mut group = criterion.benchmark_group("write_response_fp32_1x1000");
    group.bench_function("weirgate", |b| b.iter(|| v2::encode_response(black_box(&response), &request)));
    let tensor = TypedTensor { name: "y", datatype: "FP32", shape: vec![1, ELEMENTS], data: numbers() };
    let typed = Typed { inputs: vec![tensor] };
    group.bench_function("typed", |b| b.iter(|| serde_json::to_vec(black_box(&typed))));
    group.finish();
}

criterion_group!(benches, read_request, write_response);
criterion_main!(benches);
