//! What a replica of an ONNX model loads.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use weirgate_models::onnx::{OnnxModel, OnnxOptions};
use weirgate_models::{LoadError, Model, storage};

use crate::local::Loader;

/// Loads the one model at `location`, a file or a folder below one of `roots`, if there are any; its runs use this many
/// threads.
pub fn onnx_loader(location: PathBuf, roots: Arc<[PathBuf]>, intra_threads: NonZeroUsize) -> Arc<Loader> {
    Arc::new(move || load(&location, &roots, intra_threads))
}

fn load(location: &Path, roots: &[PathBuf], intra_threads: NonZeroUsize) -> Result<Box<dyn Model>, LoadError> {
    let file = storage::find(location, "onnx")?;
    storage::check_within(&file, roots)?;
    Ok(Box::new(OnnxModel::load(&file, OnnxOptions { intra_threads: intra_threads.get() })?))
}
