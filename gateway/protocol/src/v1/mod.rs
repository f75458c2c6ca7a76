//! V1, the protocol of KServe's and TensorFlow Serving's `:predict`.
//!
//! A V1 body names neither datatypes nor shapes: those are the model's, and how arrays nest must fit them. Requests come
//! in rows (`instances`: a list with one entry for each row) or in columns (`inputs`: whole tensors), and each form has
//! its answer; see [`encode_response`].

mod column;
mod decode;
mod encode;
mod guess;
pub mod instances;

pub use decode::{decode_request, decode_response, decode_undescribed};
pub use encode::{alive, encode_request, encode_response};
pub use guess::UNNAMED;

/// How a request was written, as far as its answer depends on that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    /// How many rows the inputs had.
    pub rows: usize,
    /// The inputs were given in columns and by name: the answer has TensorFlow Serving's `outputs`, too.
    pub outputs: bool,
}
