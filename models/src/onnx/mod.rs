//! ONNX models through ONNX Runtime.
//!
//! How often tensor bytes are copied: an input whose memory is aligned for its type is handed to ONNX Runtime as it is;
//! one that is not (a binary tensor right behind a JSON head of odd length) is copied once. Outputs are not copied: their
//! bytes stay ONNX Runtime's until the last caller's answer is sent. Strings (`BYTES`) are copied both ways, because ONNX
//! Runtime keeps them in its own objects.

mod convert;
mod padding;
mod runtime;
mod session;

pub use runtime::{DYLIB_ENV, environment};
pub use session::{OnnxModel, OnnxOptions};
