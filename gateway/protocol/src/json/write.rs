//! JSON text of strings and of tensors' elements.

use half::{bf16, f16};

use super::base64;
use super::cursor::find_special;
use crate::tensor::{BytesElements, Datatype, Tensor};

/// An element that JSON can't carry.
#[derive(Debug)]
pub(crate) struct Unfit {
    pub element: usize,
    pub problem: &'static str,
}

/// How the elements of `BYTES` are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strings {
    /// As strings; what is not UTF-8 does not fit.
    Text,
    /// As `{"b64": …}`, which fits all.
    Base64,
}

/// Appends a tensor's elements as one flat array.
pub(crate) fn elements(out: &mut Vec<u8>, tensor: &Tensor) -> Result<(), Unfit> {
    out.push(b'[');
    list(out, tensor.datatype, &tensor.data, Strings::Text)?;
    out.push(b']');
    Ok(())
}

/// Appends raw elements with commas between them.
pub(crate) fn list(out: &mut Vec<u8>, datatype: Datatype, data: &[u8], strings: Strings) -> Result<(), Unfit> {
    match datatype {
        Datatype::Bool => each(out, data, |out, [byte]| {
            out.extend_from_slice(if byte == 0 { b"false" } else { b"true" });
            true
        }),
        Datatype::Uint8 => each(out, data, |out, bytes| integer(out, u8::from_le_bytes(bytes))),
        Datatype::Uint16 => each(out, data, |out, bytes| integer(out, u16::from_le_bytes(bytes))),
        Datatype::Uint32 => each(out, data, |out, bytes| integer(out, u32::from_le_bytes(bytes))),
        Datatype::Uint64 => each(out, data, |out, bytes| integer(out, u64::from_le_bytes(bytes))),
        Datatype::Int8 => each(out, data, |out, bytes| integer(out, i8::from_le_bytes(bytes))),
        Datatype::Int16 => each(out, data, |out, bytes| integer(out, i16::from_le_bytes(bytes))),
        Datatype::Int32 => each(out, data, |out, bytes| integer(out, i32::from_le_bytes(bytes))),
        Datatype::Int64 => each(out, data, |out, bytes| integer(out, i64::from_le_bytes(bytes))),
        Datatype::Fp16 => each(out, data, |out, bytes| float(out, f16::from_le_bytes(bytes).to_f32())),
        Datatype::Bf16 => each(out, data, |out, bytes| float(out, bf16::from_le_bytes(bytes).to_f32())),
        Datatype::Fp32 => each(out, data, |out, bytes| float(out, f32::from_le_bytes(bytes))),
        Datatype::Fp64 => each(out, data, |out, bytes| float(out, f64::from_le_bytes(bytes))),
        Datatype::Bytes => strings_of(out, data, strings),
    }
}

/// About how many bytes of JSON a tensor becomes: one allocation is usually enough.
pub(crate) fn estimate(tensor: &Tensor) -> usize {
    let element = match tensor.datatype {
        Datatype::Bool => 6,
        Datatype::Uint8 | Datatype::Int8 => 4,
        Datatype::Uint16 | Datatype::Int16 => 6,
        Datatype::Fp16 | Datatype::Bf16 | Datatype::Fp32 | Datatype::Uint32 | Datatype::Int32 => 13,
        Datatype::Fp64 | Datatype::Uint64 | Datatype::Int64 => 20,
        Datatype::Bytes => return tensor.data.len() + 16,
    };
    tensor.elements().saturating_mul(element).saturating_add(16)
}

/// Writes every element; `write` says whether it could.
#[inline]
fn each<const SIZE: usize>(
    out: &mut Vec<u8>,
    data: &[u8],
    write: impl Fn(&mut Vec<u8>, [u8; SIZE]) -> bool,
) -> Result<(), Unfit> {
    for (element, &bytes) in data.as_chunks::<SIZE>().0.iter().enumerate() {
        if element > 0 {
            out.push(b',');
        }
        if !write(out, bytes) {
            return Err(Unfit { element, problem: "is NaN or infinite" });
        }
    }
    Ok(())
}

pub(crate) fn integer(out: &mut Vec<u8>, value: impl itoa::Integer) -> bool {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    true
}

/// The shortest text that reads back as the same number of the same width; `false` where there is none.
pub(crate) fn float<F: zmij::Float + Copy + Into<f64>>(out: &mut Vec<u8>, value: F) -> bool {
    if !value.into().is_finite() {
        return false;
    }
    out.extend_from_slice(zmij::Buffer::new().format_finite(value).as_bytes());
    true
}

fn strings_of(out: &mut Vec<u8>, data: &[u8], strings: Strings) -> Result<(), Unfit> {
    for (element, bytes) in BytesElements::new(data).enumerate() {
        if element > 0 {
            out.push(b',');
        }
        let bytes = bytes.map_err(|_| Unfit { element, problem: "is cut off" })?;
        match strings {
            Strings::Text => {
                let text = std::str::from_utf8(bytes).map_err(|_| Unfit { element, problem: "is not UTF-8" })?;
                string(out, text);
            }
            Strings::Base64 => {
                out.extend_from_slice(br#"{"b64":"#);
                base64::encode(bytes, out);
                out.push(b'}');
            }
        }
    }
    Ok(())
}

/// Appends a string with its quotes. Only what JSON demands is escaped.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.push(b'"');
    let mut rest = text.as_bytes();
    while let Some(length) = find_special(rest) {
        out.extend_from_slice(&rest[..length]);
        match rest[length] {
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            byte => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&digits);
            }
        }
        rest = &rest[length + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}
