//! Tokenizers, chat templates and stop strings, held against others' answers.

#![allow(clippy::unwrap_used)]

mod refusals;
mod support;
mod templates;
mod tokens;
