//! Why a network can't be made of a file.

use super::cpu::matrix::PackError;

#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    #[error("{path}: {error}")]
    File { path: String, error: std::io::Error },
    #[error("{path} is not a GGUF file that can be read: {error}")]
    Format { path: String, error: String },
    #[error("architecture {found:?} is not built in; these are: {known}")]
    Architecture { found: String, known: String },
    #[error("the file has no metadata {key:?}, which {architecture} networks need")]
    MissingKey { key: String, architecture: &'static str },
    #[error("metadata {key:?} is {found}: {expected}")]
    Key { key: String, found: String, expected: String },
    #[error("tensor {name:?} is missing; {expected} was expected")]
    MissingTensor { name: String, expected: String },
    #[error("tensor {name:?} is {found}; {expected} was expected")]
    Shape { name: String, found: String, expected: String },
    #[error("tensor {name:?} is of type {found}; {known} are built in")]
    Type { name: String, found: String, known: &'static str },
    #[error("tensor {name:?} can't be packed: {error}")]
    Pack { name: String, error: PackError },
    #[error(
        "nothing is known of tensor {name:?} in a network of architecture {architecture}, so its answers would be wrong"
    )]
    UnknownTensor { name: String, architecture: &'static str },
    #[error("{what} is {found}; {expected}")]
    Config { what: &'static str, found: usize, expected: String },
    #[error("a thread can't be started: {0}")]
    Thread(std::io::Error),
}
