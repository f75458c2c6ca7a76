//! What a replica of an ONNX model loads.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use weirgate_models::onnx::{OnnxModel, OnnxOptions};
use weirgate_models::repository::Version;
use weirgate_models::{LoadError, Model, repository, storage};

use crate::local::Loader;
use crate::versions::Versions;

/// Where a model lies, and how it runs.
#[derive(Clone, Debug)]
pub struct OnnxSource {
    /// The service's name, which its folder in a model repository has.
    pub model: String,
    /// A file or a folder.
    pub location: PathBuf,
    /// Folders below which it must lie; none: anywhere.
    pub roots: Arc<[PathBuf]>,
    /// Threads that each run uses.
    pub intra_threads: NonZeroUsize,
}

/// Loads the versions of the model that are to be served.
pub fn onnx_loader(source: OnnxSource) -> Arc<Loader> {
    Arc::new(move || load(&source))
}

fn load(source: &OnnxSource) -> Result<Versions, LoadError> {
    let options = OnnxOptions { intra_threads: source.intra_threads.get() };
    let load = |Version { name, file }: Version| -> Result<Box<dyn Model>, LoadError> {
        storage::check_within(&file, &source.roots)?;
        Ok(Box::new(OnnxModel::load(&file, name, options)?))
    };
    let mut versions = repository::versions(&source.location, &source.model, "onnx")?.into_iter().map(load);
    let newest = versions.next().ok_or_else(|| LoadError("the version policy chooses no version".to_owned()))??;
    Ok(Versions::new(newest, versions.collect::<Result<_, _>>()?))
}
