//! The `model` of a request's body, found before the body is whole.

use crate::error::Result;
use crate::json::{Cursor, Parsed, owned_string, unless_null};

/// What the head of a body says of its model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peeked {
    Model(String),
    /// The body has no model.
    Missing,
    /// It may come later.
    More,
}

/// Looks for the top-level `model` in what has come of a body; `complete` says whether that is all. Before that, an error
/// may be nothing but the missing rest.
pub fn peek(head: &[u8], complete: bool) -> Result<Peeked> {
    match read(&mut Cursor::without_tensors(head)) {
        Ok(Some(model)) => Ok(Peeked::Model(model)),
        Ok(None) => Ok(Peeked::Missing),
        Err(_) if !complete => Ok(Peeked::More),
        Err(fault) => Err(fault.into()),
    }
}

fn read(cursor: &mut Cursor<'_>) -> Parsed<Option<String>> {
    if !cursor.seek("model")? {
        return cursor.end().map(|()| None);
    }
    unless_null(cursor, owned_string).map_err(|fault| fault.in_field("model"))
}
