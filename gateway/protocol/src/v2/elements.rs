//! A JSON tensor's `data`, read straight into the tensor's raw form.

use bytes::Bytes;

use crate::json::elements::{self, Elements};
use crate::json::{Cursor, Fault, MAX_DEPTH, Parsed};
use crate::tensor::{Datatype, raw_bytes};

/// Raw elements and how many they are.
pub(super) struct Flat {
    pub data: Bytes,
    pub count: usize,
}

/// Reads `data`, flat or nested. Nesting only brackets elements that are in row-major order anyhow, and clients differ
/// in how they bracket; so it is the count that must fit, and `expected` is that count where the shape is known already.
pub(super) fn read(cursor: &mut Cursor<'_>, datatype: Datatype, expected: Option<usize>) -> Parsed<Flat> {
    elements::read(cursor, datatype, Expected(expected))
}

/// How many elements there should be.
struct Expected(Option<usize>);

impl<'a> Elements<'a> for Expected {
    type Read = Flat;

    fn numbers<T>(self, cursor: &mut Cursor<'a>, read: impl Fn(&mut Cursor<'a>) -> Parsed<T>) -> Parsed<Flat>
    where
        T: bytemuck::NoUninit + Send + 'static,
    {
        // A claimed shape never reserves more than what is left of the body could fill, at two bytes for an element.
        let mut values = Vec::with_capacity(self.0.unwrap_or(0).min(cursor.left() / 2 + 1));
        let count = walk(cursor, self.0, |cursor| {
            values.push(read(cursor)?);
            Ok(())
        })?;
        Ok(Flat { data: raw_bytes(values), count })
    }

    fn strings(self, cursor: &mut Cursor<'a>) -> Parsed<Flat> {
        let mut data = Vec::new();
        let count = walk(cursor, self.0, |cursor| elements::string(cursor, &mut data))?;
        Ok(Flat { data: data.into(), count })
    }
}

/// Calls `element` at each element, however the arrays nest, and returns how many there were.
#[inline]
fn walk<'a>(
    cursor: &mut Cursor<'a>,
    expected: Option<usize>,
    mut element: impl FnMut(&mut Cursor<'a>) -> Parsed<()>,
) -> Parsed<usize> {
    if !cursor.eat(b'[') {
        return Err(cursor.expected("an array"));
    }
    let limit = expected.unwrap_or(usize::MAX);
    let mut depth = 1;
    let mut count = 0;
    // Only an array that was just opened may be closed without an element.
    let mut opened = true;
    loop {
        match cursor.peek() {
            Some(b'[') if depth == MAX_DEPTH => return Err(cursor.too_deep()),
            Some(b'[') => {
                cursor.eat(b'[');
                depth += 1;
                opened = true;
                continue;
            }
            Some(b']') if opened => {}
            _ => {
                if count == limit {
                    return Err(Fault::new(
                        cursor.at(),
                        format!("has elements beyond the {limit} that its shape asks for"),
                    ));
                }
                element(cursor).map_err(|fault| fault.in_item(count))?;
                count += 1;
            }
        }
        if !cursor.eat(b',') {
            while cursor.eat(b']') {
                depth -= 1;
                if depth == 0 {
                    return Ok(count);
                }
            }
            if !cursor.eat(b',') {
                return Err(cursor.expected("',' or ']'"));
            }
        }
        opened = false;
    }
}
