//! Model formats and the backends that run them.
//!
//! A [`Model`] is one loaded session, owned by one engine thread. Today there is one backend: ONNX through ONNX Runtime's
//! shared library, which is loaded when the first service needs it.
//!
//! Language models come as GGUF files: [`gguf`] reads these, and [`text`] has their tokens, prompts and stop strings. Embedders
//! come as folders: [`embed`] reads these.

pub mod embed;
pub mod gguf;
pub mod model;
mod model_config;
pub mod network;
pub mod onnx;
pub mod repository;
pub mod safetensors;
mod stop;
pub mod storage;
pub mod text;
mod text_format;
mod version_policy;

pub use model::{Interrupt, LoadError, Model, RunError};
pub use stop::Stop;
