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
const BODIES: u64 = 64;

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

/// Numbers such as a network's activations: around zero, both signs, all digits used.
fn numbers(seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..ELEMENTS).map(|_| (next() - 0.5) * 8.0).collect()
}

fn bodies(print: impl Fn(f32) -> String) -> Vec<Bytes> {
    let body = |seed| {
        let data: Vec<_> = numbers(seed).into_iter().map(&print).collect();
        let data = data.join(",");
        format!(r#"{{"inputs":[{{"name":"x","datatype":"FP32","shape":[1,{ELEMENTS}],"data":[{data}]}}]}}"#).into()
    };
    (1..=BODIES).map(body).collect()
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
    let sets =
        [("short", bodies(|number| number.to_string())), ("python", bodies(|number| f64::from(number).to_string()))];
    let mut group = criterion.benchmark_group("read_request_fp32_1x1000");
    for (digits, bodies) in &sets {
        group.throughput(Throughput::Bytes(bodies[0].len() as u64));
        let mut next = bodies.iter().cycle();
        let mut body = || black_box(next.next().expect("bodies"));
        group.bench_function(BenchmarkId::new("weirgate", digits), |b| b.iter(|| weirgate(body())));
        group.bench_function(BenchmarkId::new("value", digits), |b| b.iter(|| value(body())));
        group.bench_function(BenchmarkId::new("typed", digits), |b| b.iter(|| typed(body())));
    }
    group.finish();
}

fn write_response(criterion: &mut Criterion) {
    let response = |seed| {
        let data: Vec<u8> = numbers(seed).into_iter().flat_map(f32::to_le_bytes).collect();
        let shape = Shape::from_slice(&[1, ELEMENTS]);
        let tensor = Tensor::new("y", Datatype::Fp32, shape, data.into()).expect("valid tensor");
        InferResponse { model_name: "m".into(), outputs: vec![tensor], ..Default::default() }
    };
    let typed = |seed| {
        let tensor = TypedTensor { name: "y", datatype: "FP32", shape: vec![1, ELEMENTS], data: numbers(seed) };
        Typed { inputs: vec![tensor] }
    };
    let responses: Vec<_> = (1..=BODIES).map(response).collect();
    let structs: Vec<_> = (1..=BODIES).map(typed).collect();
    let request = InferRequest::default();
    let mut group = criterion.benchmark_group("write_response_fp32_1x1000");
    let mut next = responses.iter().cycle();
    group
        .bench_function("weirgate", |b| b.iter(|| v2::encode_response(black_box(next.next().expect("one")), &request)));
    let mut next = structs.iter().cycle();
    group.bench_function("typed", |b| b.iter(|| serde_json::to_vec(black_box(next.next().expect("one")))));
    group.finish();
}

criterion_group!(benches, read_request, write_response);
criterion_main!(benches);
