//! Typed contents: the protocol's seven repeated fields, to and from raw elements.
//!
//! Where the field's elements are as wide as the tensor's, the decoded vector becomes the tensor's memory. Narrower
//! tensors (INT8, UINT16 …) travel in 32-bit fields and are checked on the way in.

use bytes::Bytes;

use super::InferTensorContents;
use crate::error::{Error, Result, Shown};
use crate::tensor::{BytesElements, Datatype, Tensor, push_bytes_element, raw_bytes};

/// The field that carries a datatype; `None` for FP16 and BF16, which have none.
fn field_of(datatype: Datatype) -> Option<&'static str> {
    match datatype {
        Datatype::Bool => Some("bool_contents"),
        Datatype::Int8 | Datatype::Int16 | Datatype::Int32 => Some("int_contents"),
        Datatype::Int64 => Some("int64_contents"),
        Datatype::Uint8 | Datatype::Uint16 | Datatype::Uint32 => Some("uint_contents"),
        Datatype::Uint64 => Some("uint64_contents"),
        Datatype::Fp32 => Some("fp32_contents"),
        Datatype::Fp64 => Some("fp64_contents"),
        Datatype::Bytes => Some("bytes_contents"),
        Datatype::Fp16 | Datatype::Bf16 => None,
    }
}

/// The elements of tensor `name`, taken out of its typed contents.
pub(super) fn into_raw(name: &str, datatype: Datatype, contents: InferTensorContents) -> Result<Bytes> {
    let Some(field) = field_of(datatype) else {
        return Err(Error::invalid(format!(
            "tensor '{}' has datatype {datatype}, which has no typed contents: send it raw",
            Shown(name)
        )));
    };
    if let Some((wrong, elements)) = foreign_field(field, &contents) {
        return Err(Error::invalid(format!(
            "tensor '{}' has {elements} elements in {wrong}: {datatype} elements belong in {field}",
            Shown(name)
        )));
    }
    let out_of_range = |index: usize, value: &dyn std::fmt::Display| {
        Error::invalid(format!("tensor '{}' element {index}: {value} does not fit {datatype}", Shown(name)))
    };
    Ok(match datatype {
        Datatype::Bool => raw_bytes(contents.bool_contents),
        Datatype::Int8 => raw_bytes(narrow::<i32, i8>(&contents.int_contents, out_of_range)?),
        Datatype::Int16 => raw_bytes(narrow::<i32, i16>(&contents.int_contents, out_of_range)?),
        Datatype::Int32 => raw_bytes(contents.int_contents),
        Datatype::Int64 => raw_bytes(contents.int64_contents),
        Datatype::Uint8 => raw_bytes(narrow::<u32, u8>(&contents.uint_contents, out_of_range)?),
        Datatype::Uint16 => raw_bytes(narrow::<u32, u16>(&contents.uint_contents, out_of_range)?),
        Datatype::Uint32 => raw_bytes(contents.uint_contents),
        Datatype::Uint64 => raw_bytes(contents.uint64_contents),
        Datatype::Fp16 | Datatype::Bf16 => Bytes::new(),
        Datatype::Fp32 => raw_bytes(contents.fp32_contents),
        Datatype::Fp64 => raw_bytes(contents.fp64_contents),
        Datatype::Bytes => {
            let size = contents.bytes_contents.iter().map(|element| element.len() + 4).sum();
            let mut data = Vec::with_capacity(size);
            for element in &contents.bytes_contents {
                push_bytes_element(&mut data, element)?;
            }
            Bytes::from(data)
        }
    })
}

/// A field other than `right` that has elements, and how many.
fn foreign_field(right: &str, contents: &InferTensorContents) -> Option<(&'static str, usize)> {
    let fields = [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ];
    fields.into_iter().find(|(field, elements)| *field != right && *elements > 0)
}

fn narrow<Wide, Narrow>(
    values: &[Wide],
    refused: impl Fn(usize, &dyn std::fmt::Display) -> Error,
) -> Result<Vec<Narrow>>
where
    Wide: Copy + std::fmt::Display,
    Narrow: TryFrom<Wide>,
{
    let narrowed = |(index, &value): (usize, &Wide)| Narrow::try_from(value).map_err(|_| refused(index, &value));
    values.iter().enumerate().map(narrowed).collect()
}

/// The typed contents of a tensor. FP16 and BF16 have none: the caller sends such a message raw.
pub(super) fn from_tensor(tensor: &Tensor) -> Result<InferTensorContents> {
    let mut contents = InferTensorContents::default();
    let data = &tensor.data;
    match tensor.datatype {
        Datatype::Bool => contents.bool_contents = data.iter().map(|&byte| byte != 0).collect(),
        Datatype::Int8 => contents.int_contents = each(data, |[byte]| i8::from_le_bytes([byte]).into()),
        Datatype::Int16 => contents.int_contents = each(data, |bytes| i16::from_le_bytes(bytes).into()),
        Datatype::Int32 => contents.int_contents = each(data, i32::from_le_bytes),
        Datatype::Int64 => contents.int64_contents = each(data, i64::from_le_bytes),
        Datatype::Uint8 => contents.uint_contents = each(data, |[byte]| byte.into()),
        Datatype::Uint16 => contents.uint_contents = each(data, |bytes| u16::from_le_bytes(bytes).into()),
        Datatype::Uint32 => contents.uint_contents = each(data, u32::from_le_bytes),
        Datatype::Uint64 => contents.uint64_contents = each(data, u64::from_le_bytes),
        Datatype::Fp32 => contents.fp32_contents = each(data, f32::from_le_bytes),
        Datatype::Fp64 => contents.fp64_contents = each(data, f64::from_le_bytes),
        Datatype::Bytes => {
            let elements = BytesElements::new(data).map(|element| element.map(|element| data.slice_ref(element)));
            contents.bytes_contents = elements.collect::<Result<_>>()?;
        }
        Datatype::Fp16 | Datatype::Bf16 => {
            return Err(Error::internal(format!(
                "tensor '{}' of {} has no typed contents",
                tensor.name, tensor.datatype
            )));
        }
    }
    Ok(contents)
}

fn each<const SIZE: usize, T>(data: &[u8], convert: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
    data.as_chunks::<SIZE>().0.iter().map(|&element| convert(element)).collect()
}
