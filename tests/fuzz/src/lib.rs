//! What must hold of bytes from outside, whatever they are: no panic, and more. Each target is a function of bytes; the
//! fuzzer calls it with what it makes up, and a test of the workspace with the seeds and with what was once found.
//!
//! A target checks three things where they apply: what is accepted is accepted by an independent reader too; what was
//! decoded, encoded and decoded again is the same; and nothing decoded is larger than its bytes allow.

mod events;
mod grpc;
mod manifests;
mod models;
mod texts;
mod v1;
mod v2;

pub use events::{cloud_event, openai_peek};
pub use grpc::grpc;
pub use manifests::manifest;
pub use models::{chat_template, gguf, safetensors, tokenizer_json};
pub use texts::openai_request;
pub use v1::{v1, v1_answer};
pub use v2::{v2_binary, v2_json};

use std::collections::HashSet;

use weirgate_protocol::{Extras, InferRequest};

/// One target: bytes in, a panic where something does not hold. Says whether the bytes were accepted: a target that refused
/// everything would hold for anything.
pub type Target = fn(&[u8]) -> bool;

/// Every target, by the name of its folder of seeds.
pub const TARGETS: [(&str, Target); 13] = [
    ("v2_json", v2_json),
    ("v2_binary", v2_binary),
    ("v1", v1),
    ("v1_answer", v1_answer),
    ("grpc", grpc),
    ("cloud_event", cloud_event),
    ("openai_peek", openai_peek),
    ("openai_request", openai_request),
    ("manifest", manifest),
    ("gguf", gguf),
    ("chat_template", chat_template),
    ("safetensors", safetensors),
    ("tokenizer_json", tokenizer_json),
];

/// Tensors hold as many bytes as a small factor of what came allows: a digit becomes 8 bytes at most, and an entry of text
/// takes a length of 4.
fn assert_bounded(request: &InferRequest, came: usize) {
    let held: usize = request.inputs.iter().map(|input| input.data.len()).sum();
    assert!(held <= 8 * came, "{held} bytes of tensors out of {came} bytes");
}

/// Requests are equal where NaN is: their text tells.
fn assert_same(first: &InferRequest, second: &InferRequest) {
    assert_eq!(format!("{:?}", written(first)), format!("{:?}", written(second)));
}

/// What of a request is written again: nobody knows what fields mean that nobody knows, nor whose parameters are those of two
/// tensors of one name.
fn written(request: &InferRequest) -> InferRequest {
    let mut request = request.clone();
    let (mut inputs, mut outputs) = (HashSet::new(), HashSet::new());
    let unique = request.inputs.iter().all(|input| inputs.insert(&input.name))
        && request.outputs.iter().all(|output| outputs.insert(&output.name));
    request.extras = request.extras.take().filter(|_| unique).and_then(|mut extras| {
        extras.unknown = false;
        (*extras != Extras::default()).then_some(extras)
    });
    request
}
