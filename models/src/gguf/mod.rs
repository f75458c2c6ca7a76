//! GGUF files: what they say of a model, and where its tensors lie.
//!
//! The header is read by hand, as a model's file may come from anywhere: every count, length, dimension and offset is held
//! against a limit and against the file's size before anything is allocated for it, arrays are kept as compact as they come,
//! and tensors that lie past the end or upon each other are found when the file is opened. A file that is refused says which
//! entry is wrong.
//!
//! Tensors are read from the file when they are asked for. Nothing is mapped into memory: a file that is cut short while it
//! is mapped ends the process, and one that is read is an error.

mod architecture;
mod cursor;
mod file;
mod header;
mod hyper_parameters;
mod metadata;
mod tensor;
mod value;

pub use architecture::Architecture;
pub use file::GgufFile;
pub use header::{Header, LARGEST_HEADER, MOST_ENTRIES, MOST_TENSORS};
pub use hyper_parameters::{HyperParameters, RopeScaling, RopeStyle};
pub use metadata::Metadata;
pub(crate) use metadata::missing;
pub use tensor::{TensorInfo, TensorType};
pub use value::{LONGEST_ARRAY, LONGEST_STRING, Value};
