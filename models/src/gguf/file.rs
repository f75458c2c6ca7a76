//! A GGUF file that is open.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::header::Header;
use super::hyper_parameters::HyperParameters;
use super::metadata::Metadata;
use super::tensor::TensorInfo;
use crate::model::LoadError;

/// A GGUF file, its header read and checked. Tensors are read when they are asked for, from any thread.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    file: File,
    header: Header,
    by_name: HashMap<String, usize>,
}

impl GgufFile {
    pub fn open(path: &Path) -> Result<GgufFile, LoadError> {
        let refuse = |error: &dyn std::fmt::Display| LoadError(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(|error| refuse(&error))?;
        let size = file.metadata().map_err(|error| refuse(&error))?.len();
        let header = Header::read(BufReader::with_capacity(1 << 16, &file), size).map_err(|error| refuse(&error))?;
        let by_name = header.tensors.iter().enumerate().map(|(at, tensor)| (tensor.name.clone(), at)).collect();
        Ok(GgufFile { path: path.to_owned(), file, header, by_name })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn metadata(&self) -> &Metadata {
        &self.header.metadata
    }

    /// In the order in which they lie in the file: who reads all of them reads the file from its begin to its end.
    pub fn tensors(&self) -> &[TensorInfo] {
        &self.header.tensors
    }

    /// Where a tensor lies, if there is one of that name.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.by_name.get(name).and_then(|&at| self.header.tensors.get(at))
    }

    /// What the network is like.
    pub fn hyper_parameters(&self) -> Result<HyperParameters, LoadError> {
        HyperParameters::of(self.metadata(), |name| self.tensor(name)).map_err(|error| self.refuse(error))
    }

    /// A tensor's bytes, as the file has them. Its size was held against the file's when that was opened.
    pub fn read(&self, tensor: &TensorInfo) -> Result<Vec<u8>, LoadError> {
        let size = usize::try_from(tensor.bytes)
            .map_err(|_| self.refuse(format!("the tensor '{}' has {} bytes", tensor.name, tensor.bytes)))?;
        let mut bytes = vec![0; size];
        self.read_into(tensor, &mut bytes)?;
        Ok(bytes)
    }

    /// The same into memory that is there already, of just the tensor's size.
    pub fn read_into(&self, tensor: &TensorInfo, bytes: &mut [u8]) -> Result<(), LoadError> {
        if bytes.len() as u64 != tensor.bytes {
            let (name, size) = (&tensor.name, tensor.bytes);
            return Err(self.refuse(format!("the tensor '{name}' has {size} bytes, and {} are asked for", bytes.len())));
        }
        self.read_part(tensor, 0, bytes)
    }

    /// A part of a tensor's bytes, from `first` on.
    pub fn read_part(&self, tensor: &TensorInfo, first: u64, bytes: &mut [u8]) -> Result<(), LoadError> {
        let name = &tensor.name;
        if first.checked_add(bytes.len() as u64).is_none_or(|end| end > tensor.bytes) {
            let (size, count) = (tensor.bytes, bytes.len());
            return Err(
                self.refuse(format!("the tensor '{name}' has {size} bytes, and {count} from {first} on are asked for"))
            );
        }
        self.file
            .read_exact_at(bytes, tensor.offset + first)
            .map_err(|error| self.refuse(format!("the tensor '{name}' can't be read: {error}")))
    }

    /// An error that names the file.
    pub fn refuse(&self, error: impl std::fmt::Display) -> LoadError {
        LoadError(format!("{}: {error}", self.path.display()))
    }
}
