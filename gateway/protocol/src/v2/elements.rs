//! A JSON tensor's `data`, read straight into the tensor's raw form.

use bytes::Bytes;

use super::fault::Fault;
use super::json::{Cursor, MAX_DEPTH, Parsed};
use super::number::Number;
use crate::tensor::{Datatype, raw_bytes};

/// Raw elements and how many they are.
pub(super) struct Elements {
    pub data: Bytes,
    pub count: usize,
}

/// Reads `data`, flat or nested. Nesting only brackets elements that are in row-major order anyhow, and clients differ
/// in how they bracket; so it is the count that must fit, and `expected` is that count where the shape is known already.
pub(super) fn read(cursor: &mut Cursor<'_>, datatype: Datatype, expected: Option<usize>) -> Parsed<Elements> {
    match datatype {
        Datatype::Bool => numbers(cursor, expected, bool_byte),
        Datatype::Uint8 => numbers(cursor, expected, integer::<u8>),
        Datatype::Uint16 => numbers(cursor, expected, integer::<u16>),
        Datatype::Uint32 => numbers(cursor, expected, integer::<u32>),
        Datatype::Uint64 => numbers(cursor, expected, integer::<u64>),
        Datatype::Int8 => numbers(cursor, expected, integer::<i8>),
        Datatype::Int16 => numbers(cursor, expected, integer::<i16>),
        Datatype::Int32 => numbers(cursor, expected, integer::<i32>),
        Datatype::Int64 => numbers(cursor, expected, integer::<i64>),
        Datatype::Fp16 => numbers(cursor, expected, |cursor| float(cursor, Datatype::Fp16, |number| number.to_f16())),
        Datatype::Fp32 => numbers(cursor, expected, |cursor| float(cursor, Datatype::Fp32, |number| number.to_f32())),
        Datatype::Fp64 => numbers(cursor, expected, |cursor| float(cursor, Datatype::Fp64, |number| number.to_f64())),
        Datatype::Bytes => strings(cursor, expected),
    }
}

fn numbers<T: bytemuck::NoUninit + Send + 'static>(
    cursor: &mut Cursor<'_>,
    expected: Option<usize>,
    read: impl Fn(&mut Cursor<'_>) -> Parsed<T>,
) -> Parsed<Elements> {
    // A claimed shape never reserves more than what is left of the body could fill, at two bytes for an element.
    let mut values = Vec::with_capacity(expected.unwrap_or(0).min(cursor.left() / 2 + 1));
    let count = walk(cursor, expected, |cursor| {
        values.push(read(cursor)?);
        Ok(())
    })?;
    Ok(Elements { data: raw_bytes(values), count })
}

fn strings(cursor: &mut Cursor<'_>, expected: Option<usize>) -> Parsed<Elements> {
    let mut data = Vec::new();
    let count = walk(cursor, expected, |cursor| {
        let prefix = data.len();
        let at = cursor.at();
        data.extend_from_slice(&[0; 4]);
        cursor.string_into("a string for BYTES", &mut data)?;
        let length = u32::try_from(data.len() - prefix - 4).map_err(|_| Fault::new(at, "string of 4 GiB or more"))?;
        data[prefix..prefix + 4].copy_from_slice(&length.to_le_bytes());
        Ok(())
    })?;
    Ok(Elements { data: data.into(), count })
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

fn bool_byte(cursor: &mut Cursor<'_>) -> Parsed<u8> {
    match cursor.peek() {
        Some(b'0' | b'1') => cursor.number(
            || "true or false for BOOL".to_owned(),
            |number| match number.to_integer() {
                Some(0) => Some(0),
                Some(1) => Some(1),
                _ => None,
            },
        ),
        _ => cursor.bool("true or false for BOOL").map(u8::from),
    }
}

/// An integer type of the protocol.
trait Integer: TryFrom<i128> + std::fmt::Display {
    const DATATYPE: Datatype;
    const MIN: Self;
    const MAX: Self;
}

macro_rules! integers {
    ($($type:ty: $datatype:ident),*) => {$(
        impl Integer for $type {
            const DATATYPE: Datatype = Datatype::$datatype;
            const MIN: Self = <$type>::MIN;
            const MAX: Self = <$type>::MAX;
        }
    )*};
}

integers!(u8: Uint8, u16: Uint16, u32: Uint32, u64: Uint64, i8: Int8, i16: Int16, i32: Int32, i64: Int64);

#[inline(always)]
fn integer<T: Integer>(cursor: &mut Cursor<'_>) -> Parsed<T> {
    cursor.number(
        || format!("an integer from {} to {} for {}", T::MIN, T::MAX, T::DATATYPE),
        |number| T::try_from(number.to_integer()?).ok(),
    )
}

#[inline(always)]
fn float<T>(cursor: &mut Cursor<'_>, datatype: Datatype, convert: impl Fn(Number<'_>) -> Option<T>) -> Parsed<T> {
    cursor.number(|| format!("a number within the range of {datatype}"), convert)
}
