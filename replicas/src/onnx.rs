//! What a replica of an ONNX model loads.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weirgate_models::onnx::{OnnxModel, OnnxOptions};
use weirgate_models::{LoadError, Model, storage};

use crate::local::Loader;

/// Loads the one model at `location`, a file or a folder; its runs use this many threads.
pub fn onnx_loader(location: PathBuf, intra_threads: NonZeroUsize) -> Arc<Loader> {
    Arc::new(move || load(&location, intra_threads))
}

fn load(location: &Path, intra_threads: NonZeroUsize) -> Result<Box<dyn Model>, LoadError> {
    let file = storage::find(location, "onnx")?;
    Ok(Box::new(OnnxModel::load(&file, OnnxOptions { intra_threads: intra_threads.get() })?))
}
