//! GGUF files: a real one, small ones made here, and hostile ones.

#![allow(clippy::unwrap_used)]

mod hostile;
mod parameters;
mod real;
mod writer;
