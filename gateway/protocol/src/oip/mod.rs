//! The Open Inference Protocol over gRPC: the messages of `proto/oip.proto`, and their way to and from tensors.
//!
//! The messages lie here under their own names, so that a service generated elsewhere from the same file can refer to
//! them with `extern_path(".inference", "::weirgate_protocol::oip")`.

mod contents;
mod convert;
mod json;
pub mod peek;
mod triton;

pub use convert::{decode_request, decode_response, encode_request, encode_response, model_metadata};
pub use generated::*;
pub use json::{config_body, statistics_body};
pub use triton::{Batching, LoadRequest, model_config};

#[allow(clippy::all, missing_docs)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

/// The encoded descriptors of `proto/oip.proto`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/oip.fds"));
