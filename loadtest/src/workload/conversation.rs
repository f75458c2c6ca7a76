//! Turns that build on the answers before.

/// Where in a conversation a request stands.
#[derive(Clone, Debug)]
pub struct Turn {}
