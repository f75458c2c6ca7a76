//! Tensors to ONNX Runtime's values and back, without a copy where the memory allows it.

use std::borrow::Cow;

use bytemuck::{AnyBitPattern, NoUninit};
use bytes::Bytes;
use half::{bf16, f16};
use ort::session::SessionInputValue;
use ort::value::{DynValue, Outlet, PrimitiveTensorElementType, TensorElementType, TensorRef, ValueType};
use weirgate_protocol::tensor::{BytesElements, push_bytes_element};
use weirgate_protocol::{Datatype, Dim, Shape, Tensor, TensorSpec};

use super::runtime::one_line;
use crate::model::{LoadError, RunError};

pub(super) fn datatype(element: TensorElementType) -> Option<Datatype> {
    Some(match element {
        TensorElementType::Bool => Datatype::Bool,
        TensorElementType::Uint8 => Datatype::Uint8,
        TensorElementType::Uint16 => Datatype::Uint16,
        TensorElementType::Uint32 => Datatype::Uint32,
        TensorElementType::Uint64 => Datatype::Uint64,
        TensorElementType::Int8 => Datatype::Int8,
        TensorElementType::Int16 => Datatype::Int16,
        TensorElementType::Int32 => Datatype::Int32,
        TensorElementType::Int64 => Datatype::Int64,
        TensorElementType::Float16 => Datatype::Fp16,
        TensorElementType::Bfloat16 => Datatype::Bf16,
        TensorElementType::Float32 => Datatype::Fp32,
        TensorElementType::Float64 => Datatype::Fp64,
        TensorElementType::String => Datatype::Bytes,
        _ => return None,
    })
}

/// The spec of one of a session's inputs or outputs.
pub(super) fn tensor_spec(outlet: &Outlet) -> Result<TensorSpec, LoadError> {
    let name = outlet.name();
    let ValueType::Tensor { ty, shape, dimension_symbols } = outlet.dtype() else {
        return Err(LoadError(format!(
            "'{name}' is a {}, which has no V2 form: export the model with tensors only (for scikit-learn: zipmap off)",
            outlet.dtype()
        )));
    };
    let datatype = datatype(*ty)
        .ok_or_else(|| LoadError(format!("'{name}' has elements of type {ty}, which is not supported yet")))?;
    let symbols = dimension_symbols.iter().map(Some).chain(std::iter::repeat(None));
    let dim = |(&size, symbol): (&i64, Option<&String>)| match usize::try_from(size) {
        Ok(size) => Dim::Fixed(size),
        Err(_) => Dim::Dynamic(symbol.map_or("", |symbol| symbol.as_str()).into()),
    };
    Ok(TensorSpec { name: name.into(), datatype, shape: shape.iter().zip(symbols).map(dim).collect() })
}

/// A tensor's elements in memory aligned for `T`: borrowed where they already are.
fn aligned<T: AnyBitPattern + NoUninit>(data: &[u8]) -> Cow<'_, [T]> {
    match bytemuck::try_cast_slice(data) {
        Ok(elements) => Cow::Borrowed(elements),
        Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(data)),
    }
}

/// The memory of an input while a run uses it.
pub(super) enum Input<'a> {
    U8(&'a [u8]),
    Bool(&'a [bool]),
    U16(Cow<'a, [u16]>),
    U32(Cow<'a, [u32]>),
    U64(Cow<'a, [u64]>),
    I8(&'a [i8]),
    I16(Cow<'a, [i16]>),
    I32(Cow<'a, [i32]>),
    I64(Cow<'a, [i64]>),
    F16(Cow<'a, [f16]>),
    Bf16(Cow<'a, [bf16]>),
    F32(Cow<'a, [f32]>),
    F64(Cow<'a, [f64]>),
    Strings(Vec<String>),
}

impl<'a> Input<'a> {
    pub(super) fn new(tensor: &'a Tensor) -> Result<Input<'a>, RunError> {
        let data: &[u8] = &tensor.data;
        Ok(match tensor.datatype {
            Datatype::Bool => {
                Input::Bool(bytemuck::checked::try_cast_slice(data).map_err(|_| {
                    RunError::Input(format!("input '{}' is BOOL: each byte must be 0 or 1", tensor.name))
                })?)
            }
            Datatype::Uint8 => Input::U8(data),
            Datatype::Uint16 => Input::U16(aligned(data)),
            Datatype::Uint32 => Input::U32(aligned(data)),
            Datatype::Uint64 => Input::U64(aligned(data)),
            Datatype::Int8 => Input::I8(bytemuck::cast_slice(data)),
            Datatype::Int16 => Input::I16(aligned(data)),
            Datatype::Int32 => Input::I32(aligned(data)),
            Datatype::Int64 => Input::I64(aligned(data)),
            Datatype::Fp16 => Input::F16(aligned(data)),
            Datatype::Bf16 => Input::Bf16(aligned(data)),
            Datatype::Fp32 => Input::F32(aligned(data)),
            Datatype::Fp64 => Input::F64(aligned(data)),
            Datatype::Bytes => Input::Strings(strings(tensor)?),
        })
    }

    pub(super) fn value<'v>(&'v self, shape: &'v [usize]) -> Result<SessionInputValue<'v>, RunError> {
        fn view<'v, T>(shape: &'v [usize], data: &'v [T]) -> Result<SessionInputValue<'v>, RunError>
        where
            T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static,
        {
            TensorRef::from_array_view((shape, data)).map(Into::into).map_err(input_error)
        }
        match self {
            Input::U8(data) => view(shape, data),
            Input::Bool(data) => view(shape, data),
            Input::U16(data) => view(shape, data),
            Input::U32(data) => view(shape, data),
            Input::U64(data) => view(shape, data),
            Input::I8(data) => view(shape, data),
            Input::I16(data) => view(shape, data),
            Input::I32(data) => view(shape, data),
            Input::I64(data) => view(shape, data),
            Input::F16(data) => view(shape, data),
            Input::Bf16(data) => view(shape, data),
            Input::F32(data) => view(shape, data),
            Input::F64(data) => view(shape, data),
            Input::Strings(data) => {
                ort::value::Tensor::from_string_array((shape, data.as_slice())).map(Into::into).map_err(input_error)
            }
        }
    }
}

fn input_error(error: ort::Error) -> RunError {
    RunError::Input(one_line(error.message()))
}

fn strings(tensor: &Tensor) -> Result<Vec<String>, RunError> {
    let refuse = |text: String| RunError::Input(format!("input '{}': {text}", tensor.name));
    BytesElements::new(&tensor.data)
        .enumerate()
        .map(|(index, element)| {
            let element = element.map_err(|error| refuse(error.message().to_owned()))?;
            let text = std::str::from_utf8(element)
                .map_err(|_| refuse(format!("BYTES element {index} is not UTF-8, and the model takes strings")))?;
            // ONNX Runtime takes strings that end at a NUL, and would cut this one short.
            if text.contains('\0') {
                return Err(refuse(format!("BYTES element {index} holds a NUL, which the model's strings can't")));
            }
            Ok(text.to_owned())
        })
        .collect()
}

/// An output of ONNX Runtime, kept alive by the answers that point into it.
struct OutputMemory {
    value: DynValue,
    datatype: Datatype,
}

impl AsRef<[u8]> for OutputMemory {
    fn as_ref(&self) -> &[u8] {
        fn raw<T: PrimitiveTensorElementType + NoUninit>(value: &DynValue) -> &[u8] {
            // The datatype was read from this very value, so the extraction can't fail; an empty slice would be refused
            // by the length check in `tensor`.
            value.try_extract_tensor::<T>().map_or(&[], |(_, data)| bytemuck::cast_slice(data))
        }
        match self.datatype {
            Datatype::Bool => raw::<bool>(&self.value),
            Datatype::Uint8 => raw::<u8>(&self.value),
            Datatype::Uint16 => raw::<u16>(&self.value),
            Datatype::Uint32 => raw::<u32>(&self.value),
            Datatype::Uint64 => raw::<u64>(&self.value),
            Datatype::Int8 => raw::<i8>(&self.value),
            Datatype::Int16 => raw::<i16>(&self.value),
            Datatype::Int32 => raw::<i32>(&self.value),
            Datatype::Int64 => raw::<i64>(&self.value),
            Datatype::Fp16 => raw::<f16>(&self.value),
            Datatype::Bf16 => raw::<bf16>(&self.value),
            Datatype::Fp32 => raw::<f32>(&self.value),
            Datatype::Fp64 => raw::<f64>(&self.value),
            Datatype::Bytes => &[],
        }
    }
}

/// An output value as a tensor named by its spec.
pub(super) fn tensor(spec: &TensorSpec, value: DynValue) -> Result<Tensor, RunError> {
    let refuse = |text: String| RunError::Engine(format!("output '{}': {text}", spec.name));
    let ValueType::Tensor { ty, shape, .. } = value.dtype() else {
        return Err(refuse(format!("is a {}, not a tensor", value.dtype())));
    };
    let datatype = datatype(*ty).ok_or_else(|| refuse(format!("has elements of type {ty}")))?;
    let shape: Option<Shape> = shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    let shape = shape.ok_or_else(|| refuse("has a negative dimension".to_owned()))?;
    let data = match datatype {
        Datatype::Bytes => string_bytes(&value).map_err(refuse)?,
        _ => Bytes::from_owner(OutputMemory { value, datatype }),
    };
    Tensor::new(spec.name.clone(), datatype, shape, data).map_err(|error| RunError::Engine(error.message().to_owned()))
}

fn string_bytes(value: &DynValue) -> Result<Bytes, String> {
    let (_, strings) = value.try_extract_strings().map_err(|error| one_line(error.message()))?;
    let mut data = Vec::with_capacity(strings.iter().map(|string| string.len() + 4).sum());
    for string in &strings {
        push_bytes_element(&mut data, string.as_bytes()).map_err(|error| error.message().to_owned())?;
    }
    Ok(data.into())
}
