//! Safetensors files: a length, a table of tensors in JSON, and their bytes.
//!
//! The table is read and held against the file's size when it is opened; tensors are read when they are asked for. Memory is
//! taken in proportion to what is read, and the table is bounded.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use serde::Deserialize;

use crate::model::LoadError;

/// The most bytes of a table. Those of the largest models have a hundredth of it.
const LARGEST_TABLE: u64 = 64 << 20;
/// The most tensors of a file.
const MOST_TENSORS: usize = 1 << 16;

/// A type of numbers that networks are run from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    F32,
    F16,
    Bf16,
}

/// A file that is open, its table read and checked.
#[derive(Debug)]
pub struct Safetensors {
    path: PathBuf,
    file: File,
    table: Table,
}

/// All of a file that is not numbers of tensors.
#[derive(Debug)]
pub struct Table {
    tensors: HashMap<String, Info>,
    /// Where the tensors' bytes begin.
    base: u64,
}

#[derive(Clone, Debug, Deserialize)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl Safetensors {
    pub fn open(path: &Path) -> Result<Safetensors, LoadError> {
        let refuse = |error: &dyn std::fmt::Display| LoadError(format!("{}: {error}", path.display()));
        let file = File::open(path).map_err(|error| refuse(&error))?;
        let size = file.metadata().map_err(|error| refuse(&error))?.len();
        let table = Table::read(&file, size).map_err(|error| refuse(&error))?;
        Ok(Safetensors { path: path.to_owned(), file, table })
    }

    /// An error that names the file.
    pub fn refuse(&self, error: impl std::fmt::Display) -> LoadError {
        LoadError(format!("{}: {error}", self.path.display()))
    }

    /// The tensors' names, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.table.tensors.keys().map(String::as_str)
    }

    pub fn has(&self, name: &str) -> bool {
        self.table.tensors.contains_key(name)
    }

    /// A tensor's bytes, little-endian, and what they are. It has to be there, of just this shape.
    pub fn read(&self, name: &str, shape: &[usize]) -> Result<(Element, Vec<u8>), LoadError> {
        let Some(info) = self.table.tensors.get(name) else {
            return Err(self.refuse(format!("the tensor '{name}' is missing; one of shape {shape:?} was expected")));
        };
        if info.shape != shape {
            let found = &info.shape;
            return Err(self.refuse(format!("the tensor '{name}' has the shape {found:?}; {shape:?} was expected")));
        }
        let (element, bytes) = match info.dtype.as_str() {
            "F32" => (Element::F32, 4),
            "F16" => (Element::F16, 2),
            "BF16" => (Element::Bf16, 2),
            other => {
                let short: String = other.chars().take(20).collect();
                return Err(
                    self.refuse(format!("the tensor '{name}' is of type {short}; supported are F32, F16 and BF16"))
                );
            }
        };
        let size = shape.iter().try_fold(bytes, |size: u64, &length| size.checked_mul(length as u64));
        let (begin, end) = info.data_offsets;
        if size != Some(end - begin) {
            let found = end - begin;
            return Err(self.refuse(format!("the tensor '{name}' of shape {shape:?} has {found} bytes")));
        }
        // The file has as many, which was checked when it was opened.
        let mut data = vec![0; (end - begin) as usize];
        self.file
            .read_exact_at(&mut data, self.table.base + begin)
            .map_err(|error| self.refuse(format!("the tensor '{name}' can't be read: {error}")))?;
        Ok((element, data))
    }

    /// A tensor's values as floats.
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, LoadError> {
        let (element, data) = self.read(name, shape)?;
        let pairs = || data.as_chunks::<2>().0.iter().copied();
        Ok(match element {
            Element::F32 => data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Element::F16 => pairs().map(|bytes| f16::from_le_bytes(bytes).to_f32()).collect(),
            Element::Bf16 => pairs().map(|bytes| bf16::from_le_bytes(bytes).to_f32()).collect(),
        })
    }
}

impl Table {
    /// Reads the table of a file of `size` bytes.
    pub fn read(mut file: impl Read, size: u64) -> Result<Table, String> {
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| "is no safetensors file: it is too short".to_owned())?;
        let length = u64::from_le_bytes(length);
        let base = length.checked_add(8).filter(|&base| base <= size);
        let Some(base) = base else {
            return Err(format!(
                "has a table of {length} bytes, and is of {size}: it was cut off, or is no safetensors file"
            ));
        };
        if length > LARGEST_TABLE {
            return Err(format!("has a table of {length} bytes, the limit is {LARGEST_TABLE}"));
        }
        let mut table = vec![0; length as usize];
        file.read_exact(&mut table).map_err(|error| format!("its table can't be read: {error}"))?;
        let mut entries: HashMap<String, serde_json::Value> =
            serde_json::from_slice(&table).map_err(|error| format!("its table is wrong: {error}"))?;
        entries.remove("__metadata__");
        if entries.len() > MOST_TENSORS {
            return Err(format!("has {} tensors, the limit is {MOST_TENSORS}", entries.len()));
        }
        let mut tensors = HashMap::with_capacity(entries.len());
        for (name, entry) in entries {
            let short: String = name.chars().take(80).collect();
            let info: Info = serde_json::from_value(entry).map_err(|error| format!("the tensor '{short}': {error}"))?;
            let (begin, end) = info.data_offsets;
            if begin > end || end > size - base {
                return Err(format!(
                    "the tensor '{short}' lies at {begin} to {end}, and there are {} bytes: it was cut off, or is not whole yet",
                    size - base
                ));
            }
            tensors.insert(name, info);
        }
        Ok(Table { tensors, base })
    }

    /// The tensors' names, and where the bytes of each begin and end in the file.
    pub fn places(&self) -> impl Iterator<Item = (&str, u64, u64)> {
        self.tensors.iter().map(|(name, info)| {
            let (begin, end) = info.data_offsets;
            (name.as_str(), self.base + begin, self.base + end)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(bytes: &[u8]) -> Result<Safetensors, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let prefix = format!("{}: ", file.path().display());
        Safetensors::open(file.path()).map_err(|error| error.0.strip_prefix(&prefix).unwrap().to_owned())
    }

    fn with(table: &str, data: &[u8]) -> Vec<u8> {
        [&(table.len() as u64).to_le_bytes(), table.as_bytes(), data].concat()
    }

    #[test]
    fn each_type_is_read_as_floats() {
        let mut data = 1.5f32.to_le_bytes().to_vec();
        data.extend(f16::from_f32(-2.0).to_le_bytes());
        data.extend(bf16::from_f32(3.0).to_le_bytes());
        let table = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
            "b":{"dtype":"F16","shape":[1,1],"data_offsets":[4,6]},"c":{"dtype":"BF16","shape":[1],"data_offsets":[6,8]},
            "d":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"e":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#;
        let file = open(&with(table, &data)).unwrap();
        assert_eq!(file.floats("a", &[1]).unwrap(), [1.5]);
        assert_eq!(file.floats("b", &[1, 1]).unwrap(), [-2.0]);
        assert_eq!(file.floats("c", &[1]).unwrap(), [3.0]);
        for (name, shape, wrong) in [
            ("d", [1], "the tensor 'd' is of type I64; supported are F32, F16 and BF16"),
            ("e", [3], "the tensor 'e' of shape [3] has 8 bytes"),
            ("a", [2], "the tensor 'a' has the shape [1]; [2] was expected"),
            ("f", [2], "the tensor 'f' is missing; one of shape [2] was expected"),
        ] {
            let error = file.floats(name, &shape).unwrap_err().0;
            assert!(error.ends_with(wrong), "{error}");
        }
    }

    #[test]
    fn broken_files_are_refused_with_what_is_wrong() {
        let cases: [(Vec<u8>, &str); 7] = [
            (vec![1, 2], "is no safetensors file: it is too short"),
            (u64::MAX.to_le_bytes().to_vec(), "has a table of 18446744073709551615 bytes, and is of 8"),
            (with("[]", b""), "its table is wrong: "),
            (with("{", b""), "its table is wrong: "),
            (
                with(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, b"abc"),
                "the tensor 'a' lies at 0 to 4, and there are 3",
            ),
            (
                with(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, b"abcd"),
                "the tensor 'a' lies at 4 to 0",
            ),
            (with(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, b"abcd"), "the tensor 'a': "),
        ];
        for (bytes, wrong) in cases {
            let error = open(&bytes).unwrap_err();
            assert!(error.starts_with(wrong), "{error}");
        }
    }
}
