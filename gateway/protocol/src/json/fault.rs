//! What is wrong with a body, and where.

use std::borrow::Cow;

use crate::error::{Error, Shown};

/// What kind of wrong it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It is not written as it must be: the text stands behind a colon, and tells the byte.
    Written,
    /// It is well written, and can't be: the text goes on behind the path, as in `top_p is 2; …`.
    Value,
    /// The same of what is known, and not built.
    Unsupported,
}

/// A refusal on its way up through the nested values, each of which puts its own step before the path. One pointer
/// wide, so that results in the number loops stay in registers.
#[derive(Debug)]
pub(crate) struct Fault(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    path: String,
    at: usize,
    text: Cow<'static, str>,
}

impl Fault {
    #[cold]
    pub fn new(at: usize, text: impl Into<Cow<'static, str>>) -> Self {
        Fault::of(Kind::Written, at, text.into())
    }

    /// A value that can't be. The text goes on behind the field's name: `is 3; it must be from 0 to 2`.
    #[cold]
    pub fn value(at: usize, text: impl Into<Cow<'static, str>>) -> Self {
        Fault::of(Kind::Value, at, text.into())
    }

    /// The same of what is known, and not built.
    #[cold]
    pub fn unsupported(at: usize, text: impl Into<Cow<'static, str>>) -> Self {
        Fault::of(Kind::Unsupported, at, text.into())
    }

    fn of(kind: Kind, at: usize, text: Cow<'static, str>) -> Self {
        Fault(Box::new(Inner { kind, path: String::new(), at, text }))
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
        let text = &inner.text;
        let error = match inner.kind {
            Kind::Written => Error::invalid(format!("{path}: {text} (byte {})", inner.at)),
            Kind::Value => Error::invalid(format!("{path} {text}")),
            Kind::Unsupported => Error::unsupported_parameter(format!("{path} {text}")),
        };
        if inner.path.is_empty() { error } else { error.with_param(inner.path) }
    }
}
