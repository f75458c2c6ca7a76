//! What is wrong with a body, and where.

use std::borrow::Cow;

use crate::error::{Error, Shown};

/// A refusal on its way up through the nested values, each of which puts its own step before the path. One pointer
/// wide, so that results in the number loops stay in registers.
#[derive(Debug)]
pub(crate) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    path: String,
    at: usize,
    text: Cow<'static, str>,
}

impl Fault {
    #[cold]
    pub fn new(at: usize, text: impl Into<Cow<'static, str>>) -> Self {
        Fault(Box::new(Inner { path: String::new(), at, text: text.into() }))
    }

    #[cold]
    pub fn in_field(mut self, key: &str) -> Self {
        let joint = if self.0.path.is_empty() || self.0.path.starts_with('[') { "" } else { "." };
        self.0.path = format!("{}{joint}{}", Shown(key), self.0.path);
        self
    }

    #[cold]
    pub fn in_item(mut self, index: usize) -> Self {
        let joint = if self.0.path.is_empty() || self.0.path.starts_with('[') { "" } else { "." };
        self.0.path = format!("[{index}]{joint}{}", self.0.path);
        self
    }
}

impl From<Fault> for Error {
    fn from(Fault(inner): Fault) -> Self {
        let path = if inner.path.is_empty() { "body" } else { &inner.path };
        Error::invalid(format!("{path}: {} (byte {})", inner.text, inner.at))
    }
}
