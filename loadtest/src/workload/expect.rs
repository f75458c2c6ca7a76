//! What an answer must be, besides well-formed and without an error.

/// One expectation.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {}
