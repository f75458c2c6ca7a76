//! A value of the metadata.

use std::io::Read;

use super::cursor::Cursor;

/// The most bytes of one string. The longest that models bring is a chat template.
pub const LONGEST_STRING: u64 = 1 << 20;
/// The most elements of one array. The largest vocabularies have a quarter of a million tokens, and twice as many merges.
pub const LONGEST_ARRAY: u64 = 1 << 21;
/// Arrays within arrays.
const DEEPEST: usize = 4;

/// A value, as wide as its kind allows. Arrays are kept by the kind of their elements, so that they take little more
/// memory than they took of the file.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    String(String),
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Bools(Vec<bool>),
    Strings(Vec<Box<str>>),
    /// An array of arrays. Nothing that is read here has any: it is checked, and not kept.
    Nested,
}

impl Value {
    /// What it is, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Unsigned(_) | Value::Signed(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Bool(_) => "a bool",
            Value::String(_) => "a string",
            Value::Integers(_) => "an array of whole numbers",
            Value::Floats(_) => "an array of numbers",
            Value::Bools(_) => "an array of bools",
            Value::Strings(_) => "an array of strings",
            Value::Nested => "an array of arrays",
        }
    }
}

/// The kinds of values, by their number in the file.
#[derive(Clone, Copy)]
enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    String,
    Array,
    U64,
    I64,
    F64,
}

impl Kind {
    fn read<R: Read>(cursor: &mut Cursor<R>) -> Result<Kind, String> {
        use Kind::*;
        let number = cursor.u32()?;
        let kinds = [U8, I8, U16, I16, U32, I32, F32, Bool, String, Array, U64, I64, F64];
        let kind = usize::try_from(number).ok().and_then(|number| kinds.get(number));
        kind.copied().ok_or_else(|| format!("has the type {number}, and there are the types 0 to {}", kinds.len() - 1))
    }

    /// The fewest bytes that an element takes.
    fn smallest(self) -> u64 {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::String | Kind::U64 | Kind::I64 | Kind::F64 => 8,
            Kind::Array => 12,
        }
    }
}

/// Reads a value with the number of its type before it.
pub(super) fn read<R: Read>(cursor: &mut Cursor<R>) -> Result<Value, String> {
    let kind = Kind::read(cursor)?;
    match kind {
        Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 => unsigned(cursor, kind).map(Value::Unsigned),
        Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 => signed(cursor, kind).map(Value::Signed),
        Kind::F32 | Kind::F64 => float(cursor, kind).map(Value::Float),
        Kind::Bool => bool(cursor).map(Value::Bool),
        Kind::String => cursor.string(LONGEST_STRING).map(Value::String),
        Kind::Array => array(cursor, 1),
    }
}

fn array<R: Read>(cursor: &mut Cursor<R>, depth: usize) -> Result<Value, String> {
    let kind = Kind::read(cursor)?;
    let count = cursor.u64()?;
    if count > LONGEST_ARRAY {
        return Err(format!("has {count} elements, the limit is {LONGEST_ARRAY}"));
    }
    cursor.expect(count, kind.smallest())?;
    Ok(match kind {
        Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 => Value::Integers(elements(count, || {
            let number = unsigned(cursor, kind)?;
            i64::try_from(number).map_err(|_| format!("has {number} in an array, the limit is {}", i64::MAX))
        })?),
        Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 => Value::Integers(elements(count, || signed(cursor, kind))?),
        Kind::F32 | Kind::F64 => Value::Floats(elements(count, || float(cursor, kind))?),
        Kind::Bool => Value::Bools(elements(count, || bool(cursor))?),
        Kind::String => Value::Strings(elements(count, || cursor.string(LONGEST_STRING).map(String::into_boxed_str))?),
        Kind::Array if depth == DEEPEST => return Err(format!("has more than {DEEPEST} arrays in each other")),
        Kind::Array => {
            for _ in 0..count {
                array(cursor, depth + 1)?;
            }
            Value::Nested
        }
    })
}

fn elements<T>(count: u64, mut read: impl FnMut() -> Result<T, String>) -> Result<Vec<T>, String> {
    // The count was held against the limit and against the rest of the file.
    let mut elements = Vec::with_capacity(count as usize);
    for _ in 0..count {
        elements.push(read()?);
    }
    Ok(elements)
}

fn unsigned<R: Read>(cursor: &mut Cursor<R>, kind: Kind) -> Result<u64, String> {
    match kind {
        Kind::U8 => cursor.u8().map(u64::from),
        Kind::U16 => cursor.bytes().map(|bytes| u16::from_le_bytes(bytes).into()),
        Kind::U32 => cursor.u32().map(u64::from),
        _ => cursor.u64(),
    }
}

fn signed<R: Read>(cursor: &mut Cursor<R>, kind: Kind) -> Result<i64, String> {
    match kind {
        Kind::I8 => cursor.bytes().map(|bytes| i8::from_le_bytes(bytes).into()),
        Kind::I16 => cursor.bytes().map(|bytes| i16::from_le_bytes(bytes).into()),
        Kind::I32 => cursor.bytes().map(|bytes| i32::from_le_bytes(bytes).into()),
        _ => cursor.bytes().map(i64::from_le_bytes),
    }
}

fn float<R: Read>(cursor: &mut Cursor<R>, kind: Kind) -> Result<f64, String> {
    match kind {
        Kind::F32 => cursor.bytes().map(|bytes| f32::from_le_bytes(bytes).into()),
        _ => cursor.bytes().map(f64::from_le_bytes),
    }
}

fn bool<R: Read>(cursor: &mut Cursor<R>) -> Result<bool, String> {
    match cursor.u8()? {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(format!("is a bool, and {other} is neither 0 nor 1")),
    }
}
