//! Embedders: a vector for each text, from a folder as Hugging Face and sentence-transformers lay it out.
//!
//! | module         | what it holds |
//! |----------------|---------------|
//! | `layout`       | what a folder says: weights, pooling, limits; `files` reads it within bounds |
//! | `tokenizer`    | texts to tokens; `bert_text` has the words, `word_piece` their pieces |
//! | `pooling`      | from the vectors of tokens to the one of the text |
//! | `encoder`      | what computes them; `onnx_encoder` through ONNX Runtime, `bert_encoder` with kernels of our own |
//! | `embedder`     | all of it together |
//!
//! A text's vector does not depend on the texts beside it, but for the last digits: ONNX Runtime adds in another order for other
//! shapes. Our own kernels give the same bits in any company.

mod bert_encoder;
mod bert_text;
mod embedder;
mod encoder;
mod files;
mod layout;
mod onnx_encoder;
mod pooling;
mod tokenizer;
mod word_piece;

pub use embedder::{Embedder, EmbedderOptions, EmbedderSpec};
pub use encoder::Company;
pub use layout::{Backend, Matryoshka, Weights};
pub use pooling::Pooling;
pub use tokenizer::{EmbedTokenizer, TokenizerOptions, TooLong, Truncation};
