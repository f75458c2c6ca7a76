//! Metadata and tensors of a GGUF file, as networks want them.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use candle_core::quantized::GgmlDType;
use candle_core::quantized::gguf_file::{Content, TensorInfo, Value};

use super::cpu::pack::Type;
use super::error::NetworkError;

/// An open file. Its tensors are read one by one.
pub struct Gguf {
    path: String,
    content: Content,
    reader: BufReader<File>,
}

/// The types in a file that [`Type`] has, as users read them.
const KNOWN: &str = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K";

impl Gguf {
    pub fn open(path: &Path) -> Result<Gguf, NetworkError> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| NetworkError::File { path: name.clone(), error })?;
        let mut reader = BufReader::new(file);
        let content = Content::read(&mut reader)
            .map_err(|error| NetworkError::Format { path: name.clone(), error: error.to_string() })?;
        Ok(Gguf { path: name, content, reader })
    }

    pub fn value(&self, key: &str) -> Option<&Value> {
        self.content.metadata.get(key)
    }

    pub fn tensors(&self) -> impl Iterator<Item = &str> {
        self.content.tensor_infos.keys().map(String::as_str)
    }

    pub fn has(&self, tensor: &str) -> bool {
        self.content.tensor_infos.contains_key(tensor)
    }

    /// A tensor's type and shape, the slowest dimension first.
    pub fn tensor(&self, name: &str) -> Option<(Result<Type, NetworkError>, Vec<usize>)> {
        let info = self.content.tensor_infos.get(name)?;
        Some((kind(name, info), info.shape.dims().to_vec()))
    }

    /// The bytes of a tensor, as they are in the file.
    pub fn read(&mut self, name: &str) -> Result<Vec<u8>, NetworkError> {
        let short = |error: std::io::Error| NetworkError::File { path: self.path.clone(), error };
        let Some(info) = self.content.tensor_infos.get(name) else {
            return Err(NetworkError::MissingTensor { name: name.to_owned(), expected: "a tensor".to_owned() });
        };
        let dtype = info.ggml_dtype;
        let elements = info.shape.dims().iter().try_fold(1u64, |product, size| product.checked_mul(*size as u64));
        let size = elements.and_then(|elements| {
            elements.is_multiple_of(dtype.block_size() as u64).then_some(elements / dtype.block_size() as u64)
        });
        let Some(size) = size.and_then(|blocks| blocks.checked_mul(dtype.type_size() as u64)) else {
            let found = format!("{:?} of {dtype:?}", info.shape.dims());
            return Err(NetworkError::Shape { name: name.to_owned(), found, expected: "whole blocks".to_owned() });
        };
        let start = self.content.tensor_data_offset.saturating_add(info.offset);
        self.reader.seek(SeekFrom::Start(start)).map_err(short)?;
        // Only as much is set aside as there is in the file, whatever its header says.
        let mut bytes = Vec::new();
        (&mut self.reader).take(size).read_to_end(&mut bytes).map_err(short)?;
        if bytes.len() as u64 != size {
            let found = format!("only {} of {size} bytes", bytes.len());
            return Err(NetworkError::Shape { name: name.to_owned(), found, expected: "all of it".to_owned() });
        }
        Ok(bytes)
    }
}

fn kind(name: &str, info: &TensorInfo) -> Result<Type, NetworkError> {
    Ok(match info.ggml_dtype {
        GgmlDType::F32 => Type::F32,
        GgmlDType::F16 => Type::F16,
        GgmlDType::BF16 => Type::Bf16,
        GgmlDType::Q4_0 => Type::Q4_0,
        GgmlDType::Q4_1 => Type::Q4_1,
        GgmlDType::Q5_0 => Type::Q5_0,
        GgmlDType::Q5_1 => Type::Q5_1,
        GgmlDType::Q8_0 => Type::Q8_0,
        GgmlDType::Q4K => Type::Q4K,
        GgmlDType::Q5K => Type::Q5K,
        GgmlDType::Q6K => Type::Q6K,
        other => {
            let found = format!("{other:?}");
            return Err(NetworkError::Type { name: name.to_owned(), found, known: KNOWN });
        }
    })
}
