//! JSON as the codecs read and write it: a cursor over the text, no tree of values.

pub(crate) mod base64;
mod cursor;
pub(crate) mod elements;
mod fault;
mod number;
pub(crate) mod write;

pub(crate) use cursor::{Cursor, MAX_DEPTH, Parsed};
pub(crate) use fault::Fault;

/// Fills a field, once.
pub(crate) fn set<T>(field: &mut Option<T>, at: usize, value: T) -> Parsed<()> {
    match field.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::new(at, "is given twice")),
    }
}

/// Many clients write fields that they don't use as null.
pub(crate) fn unless_null<T>(
    cursor: &mut Cursor<'_>,
    read: impl FnOnce(&mut Cursor<'_>) -> Parsed<T>,
) -> Parsed<Option<T>> {
    if cursor.literal("null") { Ok(None) } else { read(cursor).map(Some) }
}

/// A string of its own.
pub(crate) fn owned_string(cursor: &mut Cursor<'_>) -> Parsed<String> {
    cursor.string().map(Into::into)
}
