//! The header: metadata, then the index of the tensors.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use super::cursor::Cursor;
use super::metadata::Metadata;
use super::tensor::{TensorInfo, TensorType};
use super::value::{self, Value};

/// The most bytes of a header: metadata and index. Those of the largest vocabularies are a tenth of it.
pub const LARGEST_HEADER: u64 = 256 << 20;
/// The most entries of the metadata.
pub const MOST_ENTRIES: u64 = 1 << 12;
/// The most tensors.
pub const MOST_TENSORS: u64 = 1 << 16;
/// The most bytes of an entry's key, as the format says.
const LONGEST_KEY: u64 = (1 << 16) - 1;
/// The most bytes of a tensor's name.
const LONGEST_NAME: u64 = 256;
/// Dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;
/// What the tensors' places are multiples of, unless the file says otherwise.
const ALIGNMENT: u64 = 32;
const LARGEST_ALIGNMENT: u64 = 1 << 20;

/// All of a file that is not numbers of tensors.
#[derive(Clone, Debug)]
pub struct Header {
    pub metadata: Metadata,
    /// In the order in which they lie in the file.
    pub tensors: Vec<TensorInfo>,
}

impl Header {
    /// Reads the header of a file of `size` bytes. Takes memory in proportion to what it reads, and at most
    /// [`LARGEST_HEADER`] of that.
    pub fn read(input: impl Read, size: u64) -> Result<Header, String> {
        let mut cursor = Cursor::new(input, size.min(LARGEST_HEADER));
        if &cursor.bytes::<4>().map_err(|_| "is no GGUF file: it is too short".to_owned())? != b"GGUF" {
            return Err("is no GGUF file: it does not begin with GGUF".to_owned());
        }
        match cursor.u32()? {
            2 | 3 => {}
            // A number whose small bytes are where the large ones belong.
            version if version.swap_bytes() <= 3 => {
                return Err("is big-endian, and supported is little-endian: convert the model again".to_owned());
            }
            version => {
                return Err(format!("is of version {version}, and supported are 2 and 3: convert the model again"));
            }
        }
        let (tensors, entries) = (cursor.u64()?, cursor.u64()?);
        let limits = [("tensors", tensors, MOST_TENSORS), ("entries of metadata", entries, MOST_ENTRIES)];
        for (what, count, limit) in limits {
            if count > limit {
                return Err(format!("has {count} {what}, the limit is {limit}"));
            }
        }
        let metadata = read_metadata(&mut cursor, entries)?;
        if let Some(parts) = metadata.u64("split.count")?.filter(|&parts| parts > 1) {
            return Err(format!("is one of {parts} parts of a model, which is not supported: join them to one file"));
        }
        let alignment = metadata.u64("general.alignment")?.unwrap_or(ALIGNMENT);
        if !alignment.is_power_of_two() || alignment > LARGEST_ALIGNMENT {
            return Err(format!(
                "general.alignment is {alignment}, and has to be a power of two, of {LARGEST_ALIGNMENT} at most"
            ));
        }
        let mut index = (0..tensors).map(|_| read_tensor(&mut cursor)).collect::<Result<Vec<_>, _>>()?;
        // The places count from here.
        let base = cursor.at().next_multiple_of(alignment);
        place(&mut index, base, alignment, size)?;
        Ok(Header { metadata, tensors: index })
    }
}

fn read_metadata<R: Read>(cursor: &mut Cursor<R>, count: u64) -> Result<Metadata, String> {
    let mut entries: HashMap<String, Value> = HashMap::new();
    for _ in 0..count {
        let key = cursor.string(LONGEST_KEY)?;
        let value = value::read(cursor).map_err(|error| format!("{}: {error}", short(&key)))?;
        if entries.contains_key(&key) {
            return Err(format!("{} is there twice", short(&key)));
        }
        entries.insert(key, value);
    }
    Ok(Metadata::new(entries))
}

/// A tensor whose `offset` still counts from the begin of the tensors.
fn read_tensor<R: Read>(cursor: &mut Cursor<R>) -> Result<TensorInfo, String> {
    let name = cursor.string(LONGEST_NAME)?;
    let (shape, kind, offset) = read_place(cursor).map_err(|error| format!("the tensor '{}' {error}", short(&name)))?;
    let bytes = size(&shape, kind).map_err(|error| format!("the tensor '{}' {error}", short(&name)))?;
    Ok(TensorInfo { name, shape, kind, offset, bytes })
}

fn read_place<R: Read>(cursor: &mut Cursor<R>) -> Result<(Vec<usize>, TensorType, u64), String> {
    let count = cursor.u32()?;
    if count > MOST_DIMENSIONS {
        return Err(format!("has {count} dimensions, the limit is {MOST_DIMENSIONS}"));
    }
    let mut shape = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let length = cursor.u64()?;
        let length = usize::try_from(length).map_err(|_| format!("has a dimension of {length}"))?;
        shape.push(length);
    }
    let kind = TensorType::of(cursor.u32()?)?;
    Ok((shape, kind, cursor.u64()?))
}

/// Bytes of a tensor.
fn size(shape: &[usize], kind: TensorType) -> Result<u64, String> {
    let row = shape.first().map_or(1, |&row| row as u64);
    if !row.is_multiple_of(kind.block()) {
        let (name, block) = (kind.name(), kind.block());
        return Err(format!("has rows of {row} elements, and {name} keeps them in blocks of {block}"));
    }
    let count = shape.iter().try_fold(1u64, |count, &length| count.checked_mul(length as u64));
    match count.and_then(|count| (count / kind.block()).checked_mul(kind.block_bytes())) {
        Some(0) => Err(format!("has the shape {shape:?}, which is empty")),
        Some(bytes) => Ok(bytes),
        None => Err(format!("has the shape {shape:?}, which no file can hold")),
    }
}

/// Brings the tensors into the order of their places, and refuses places that are taken, odd, or past the file's end.
fn place(index: &mut [TensorInfo], base: u64, alignment: u64, size: u64) -> Result<(), String> {
    for tensor in &mut *index {
        let name = &tensor.name;
        if !tensor.offset.is_multiple_of(alignment) {
            let offset = tensor.offset;
            return Err(format!("the tensor '{name}' lies at {offset}, which is no multiple of {alignment}"));
        }
        let begin = tensor.offset.checked_add(base);
        match begin.and_then(|begin| begin.checked_add(tensor.bytes)) {
            Some(end) if end <= size => tensor.offset = end - tensor.bytes,
            _ => {
                return Err(format!(
                    "the tensor '{name}' of {} bytes lies at {}, past the end of the file of {size} bytes: it was cut off, \
                     or is not whole yet",
                    tensor.bytes, tensor.offset
                ));
            }
        }
    }
    index.sort_by_key(|tensor| tensor.offset);
    for pair in index.windows(2) {
        if pair[0].offset + pair[0].bytes > pair[1].offset {
            return Err(format!("the tensors '{}' and '{}' lie upon each other", pair[0].name, pair[1].name));
        }
    }
    let mut names = HashSet::new();
    match index.iter().find(|tensor| !names.insert(&*tensor.name)) {
        Some(twice) => Err(format!("the tensor '{}' is there twice", twice.name)),
        None => Ok(()),
    }
}

/// A name out of the file, short enough for a log.
fn short(name: &str) -> String {
    if name.chars().count() <= 80 {
        name.to_owned()
    } else {
        format!("{}…", name.chars().take(80).collect::<String>())
    }
}
