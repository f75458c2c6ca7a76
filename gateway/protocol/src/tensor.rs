//! Tensors as they travel: a datatype, a shape and raw little-endian, row-major bytes.
//!
//! One form serves every codec and engine. A fixed-width tensor's `data` holds `elements × size` bytes. A `BYTES`
//! tensor's `data` holds each element as a 4-byte little-endian length and its bytes: the form both V2 wires use, so it is
//! never taken apart on the way.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::error::{Error, Result, Shown};

#[cfg(target_endian = "big")]
compile_error!("tensor bytes are little-endian and used in place: big-endian targets need a conversion here");

/// Dimensions of a concrete tensor.
pub type Shape = SmallVec<[usize; 4]>;

/// The most dimensions a tensor may have, as numpy has it.
pub const MAX_DIMENSIONS: usize = 64;

/// The V2 protocol's element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Datatype {
    Bool,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Int8,
    Int16,
    Int32,
    Int64,
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    pub const ALL: [Datatype; 14] = [
        Datatype::Bool,
        Datatype::Uint8,
        Datatype::Uint16,
        Datatype::Uint32,
        Datatype::Uint64,
        Datatype::Int8,
        Datatype::Int16,
        Datatype::Int32,
        Datatype::Int64,
        Datatype::Fp16,
        Datatype::Bf16,
        Datatype::Fp32,
        Datatype::Fp64,
        Datatype::Bytes,
    ];

    /// The V2 name, as `FP32`.
    pub const fn name(self) -> &'static str {
        match self {
            Datatype::Bool => "BOOL",
            Datatype::Uint8 => "UINT8",
            Datatype::Uint16 => "UINT16",
            Datatype::Uint32 => "UINT32",
            Datatype::Uint64 => "UINT64",
            Datatype::Int8 => "INT8",
            Datatype::Int16 => "INT16",
            Datatype::Int32 => "INT32",
            Datatype::Int64 => "INT64",
            Datatype::Fp16 => "FP16",
            Datatype::Bf16 => "BF16",
            Datatype::Fp32 => "FP32",
            Datatype::Fp64 => "FP64",
            Datatype::Bytes => "BYTES",
        }
    }

    /// Bytes an element takes; `None` for `BYTES`, whose elements differ.
    pub const fn size(self) -> Option<usize> {
        match self {
            Datatype::Bool | Datatype::Uint8 | Datatype::Int8 => Some(1),
            Datatype::Uint16 | Datatype::Int16 | Datatype::Fp16 | Datatype::Bf16 => Some(2),
            Datatype::Uint32 | Datatype::Int32 | Datatype::Fp32 => Some(4),
            Datatype::Uint64 | Datatype::Int64 | Datatype::Fp64 => Some(8),
            Datatype::Bytes => None,
        }
    }

    /// The datatype of a V2 name. The error lists what is known.
    pub fn parse(name: &str) -> Result<Datatype> {
        Datatype::ALL.into_iter().find(|datatype| datatype.name() == name).ok_or_else(|| {
            let known: Vec<_> = Datatype::ALL.iter().map(|datatype| datatype.name()).collect();
            Error::invalid(format!("datatype '{}' is not supported: use one of {}", Shown(name), known.join(", ")))
        })
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A named tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    pub name: Arc<str>,
    pub datatype: Datatype,
    pub shape: Shape,
    /// Raw elements; see the module's text for the layout.
    pub data: Bytes,
}

/// The number of elements a shape asks for, or `None` where it does not fit a `usize`.
pub fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim))
}

impl Tensor {
    /// Builds a tensor and checks that `data` holds exactly the elements `shape` asks for.
    pub fn new(name: impl Into<Arc<str>>, datatype: Datatype, shape: Shape, data: Bytes) -> Result<Tensor> {
        let tensor = Tensor { name: name.into(), datatype, shape, data };
        tensor.check()?;
        Ok(tensor)
    }

    fn check(&self) -> Result<()> {
        let name = Shown(&self.name);
        if self.shape.len() > MAX_DIMENSIONS {
            return Err(Error::invalid(format!(
                "tensor '{name}' has {} dimensions: the limit is {MAX_DIMENSIONS}",
                self.shape.len()
            )));
        }
        let wanted = elements(&self.shape).ok_or_else(|| {
            Error::invalid(format!(
                "tensor '{name}': shape {:?} has more elements than can be addressed",
                &self.shape[..]
            ))
        })?;
        match self.datatype.size() {
            Some(size) => {
                let bytes = wanted.checked_mul(size);
                if bytes != Some(self.data.len()) {
                    return Err(Error::invalid(format!(
                        "tensor '{name}': shape {:?} of {} needs {} bytes, got {}",
                        &self.shape[..],
                        self.datatype,
                        bytes.map_or_else(|| "too many".to_owned(), |bytes| bytes.to_string()),
                        self.data.len()
                    )));
                }
            }
            None => {
                let count =
                    BytesElements::new(&self.data).try_fold(0usize, |count, element| element.map(|_| count + 1));
                let count = count.map_err(|error| Error::invalid(format!("tensor '{name}': {error}")))?;
                if count != wanted {
                    return Err(Error::invalid(format!(
                        "tensor '{name}': shape {:?} of BYTES needs {wanted} elements, got {count}",
                        &self.shape[..]
                    )));
                }
            }
        }
        Ok(())
    }

    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A vector of numbers seen as bytes, so that it can be shared without a copy.
struct AsBytes<T>(Vec<T>);

impl<T: bytemuck::NoUninit> AsRef<[u8]> for AsBytes<T> {
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.0)
    }
}

/// The raw form of numbers, in the memory they already have.
pub fn raw_bytes<T: bytemuck::NoUninit + Send + 'static>(values: Vec<T>) -> Bytes {
    if values.is_empty() { Bytes::new() } else { Bytes::from_owner(AsBytes(values)) }
}

/// Walks the elements of `BYTES` data.
#[derive(Clone, Debug)]
pub struct BytesElements<'a> {
    rest: &'a [u8],
    index: usize,
}

impl<'a> BytesElements<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        BytesElements { rest: data, index: 0 }
    }
}

impl<'a> Iterator for BytesElements<'a> {
    type Item = Result<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let index = self.index;
        self.index += 1;
        let Some((prefix, rest)) = self.rest.split_first_chunk::<4>() else {
            let left = self.rest.len();
            self.rest = &[];
            return Some(Err(Error::invalid(format!(
                "BYTES element {index} is cut off: 4 bytes of length expected, {left} left"
            ))));
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > rest.len() {
            let left = rest.len();
            self.rest = &[];
            return Some(Err(Error::invalid(format!("BYTES element {index} claims {length} bytes, {left} left"))));
        }
        let (element, rest) = rest.split_at(length);
        self.rest = rest;
        Some(Ok(element))
    }
}

/// Appends one `BYTES` element.
pub fn push_bytes_element(data: &mut Vec<u8>, element: &[u8]) -> Result<()> {
    let length = u32::try_from(element.len())
        .map_err(|_| Error::invalid(format!("BYTES element of {} bytes: the limit is {}", element.len(), u32::MAX)))?;
    data.extend_from_slice(&length.to_le_bytes());
    data.extend_from_slice(element);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_must_match_the_shape() {
        let data = Bytes::from_static(&[0; 12]);
        assert!(Tensor::new("x", Datatype::Fp32, Shape::from_slice(&[3]), data.clone()).is_ok());
        let error = Tensor::new("x", Datatype::Fp32, Shape::from_slice(&[2, 2]), data).unwrap_err();
        assert_eq!(error.message(), "tensor 'x': shape [2, 2] of FP32 needs 16 bytes, got 12");
        let huge = Shape::from_slice(&[usize::MAX, 2]);
        assert!(Tensor::new("x", Datatype::Fp32, huge, Bytes::new()).is_err());
        let deep = Shape::from_elem(1, MAX_DIMENSIONS + 1);
        let error = Tensor::new("x", Datatype::Int8, deep, Bytes::from_static(&[0])).unwrap_err();
        assert_eq!(error.message(), "tensor 'x' has 65 dimensions: the limit is 64");
    }

    #[test]
    fn bytes_elements_are_counted_and_cut_ones_refused() {
        let mut data = Vec::new();
        push_bytes_element(&mut data, b"ab").unwrap();
        push_bytes_element(&mut data, b"").unwrap();
        let shape = Shape::from_slice(&[2, 1]);
        assert!(Tensor::new("s", Datatype::Bytes, shape.clone(), Bytes::from(data.clone())).is_ok());
        data.truncate(5);
        assert!(Tensor::new("s", Datatype::Bytes, shape, Bytes::from(data)).is_err());
    }

    #[test]
    fn unknown_datatypes_are_named() {
        assert_eq!(Datatype::parse("FP32"), Ok(Datatype::Fp32));
        assert!(Datatype::parse("FP8").unwrap_err().message().contains("'FP8' is not supported"));
    }
}
