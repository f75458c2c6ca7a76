//! A tensor's elements, one after the other: which reader each datatype has.

use half::{bf16, f16};

use super::cursor::{Cursor, Parsed};
use super::fault::Fault;
use super::number::Number;
use crate::tensor::Datatype;

/// What is done with elements: where they are bracketed, and where they go.
pub(crate) trait Elements<'a> {
    type Read;

    /// Reads numbers or bools, each with `read`.
    fn numbers<T>(self, cursor: &mut Cursor<'a>, read: impl Fn(&mut Cursor<'a>) -> Parsed<T>) -> Parsed<Self::Read>
    where
        T: bytemuck::NoUninit + Send + 'static;

    /// Reads the elements of `BYTES`.
    fn strings(self, cursor: &mut Cursor<'a>) -> Parsed<Self::Read>;
}

/// Reads elements of a datatype.
pub(crate) fn read<'a, E: Elements<'a>>(cursor: &mut Cursor<'a>, datatype: Datatype, elements: E) -> Parsed<E::Read> {
    match datatype {
        Datatype::Bool => elements.numbers(cursor, bool_byte),
        Datatype::Uint8 => elements.numbers(cursor, integer::<u8>),
        Datatype::Uint16 => elements.numbers(cursor, integer::<u16>),
        Datatype::Uint32 => elements.numbers(cursor, integer::<u32>),
        Datatype::Uint64 => elements.numbers(cursor, integer::<u64>),
        Datatype::Int8 => elements.numbers(cursor, integer::<i8>),
        Datatype::Int16 => elements.numbers(cursor, integer::<i16>),
        Datatype::Int32 => elements.numbers(cursor, integer::<i32>),
        Datatype::Int64 => elements.numbers(cursor, integer::<i64>),
        Datatype::Fp16 => elements.numbers(cursor, float::<f16>),
        Datatype::Bf16 => elements.numbers(cursor, float::<bf16>),
        Datatype::Fp32 => elements.numbers(cursor, float::<f32>),
        Datatype::Fp64 => elements.numbers(cursor, float::<f64>),
        Datatype::Bytes => elements.strings(cursor),
    }
}

/// Appends one element of `BYTES`: what `write` writes, with its length before it.
pub(crate) fn prefixed(at: usize, data: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Parsed<()>) -> Parsed<()> {
    let prefix = data.len();
    data.extend_from_slice(&[0; 4]);
    write(data)?;
    let length = u32::try_from(data.len() - prefix - 4).map_err(|_| Fault::new(at, "string of 4 GiB or more"))?;
    data[prefix..prefix + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Appends one element of `BYTES` that is written as a string.
pub(crate) fn string(cursor: &mut Cursor<'_>, data: &mut Vec<u8>) -> Parsed<()> {
    prefixed(cursor.at(), data, |data| cursor.string_into("a string for BYTES", data))
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

/// A floating-point type of the protocol.
trait Float: Sized {
    const DATATYPE: Datatype;

    /// The nearest value, ties to even; `None` where that would be an infinity.
    fn nearest(number: Number<'_>) -> Option<Self>;
}

macro_rules! floats {
    ($($type:ty: $datatype:ident by $convert:ident),*) => {$(
        impl Float for $type {
            const DATATYPE: Datatype = Datatype::$datatype;

            #[inline(always)]
            fn nearest(number: Number<'_>) -> Option<Self> {
                number.$convert()
            }
        }
    )*};
}

floats!(f16: Fp16 by to_f16, bf16: Bf16 by to_bf16, f32: Fp32 by to_f32, f64: Fp64 by to_f64);

#[inline(always)]
fn float<T: Float>(cursor: &mut Cursor<'_>) -> Parsed<T> {
    cursor.number(|| format!("a number within the range of {}", T::DATATYPE), T::nearest)
}
