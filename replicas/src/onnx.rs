//! What a replica of an ONNX model loads.

use std::num::NonZeroUsize;
use std::sync::Arc;

use weirgate_models::onnx::{OnnxModel, OnnxOptions};
use weirgate_models::repository::{self, Version};
use weirgate_models::storage::{self, Place, Source};
use weirgate_models::{LoadError, Model, Stop};

use crate::local::Loader;
use crate::versions::Versions;

/// Where a model comes from, and how it runs.
pub struct OnnxSource {
    /// Shown in logs: `namespace/name`.
    pub service: String,
    /// The service's name, which its folder in a model repository has.
    pub model: String,
    pub source: Source,
    /// Threads that each run uses.
    pub intra_threads: NonZeroUsize,
}

/// Loads the versions of the model that are to be served.
pub fn onnx_loader(source: OnnxSource) -> Arc<Loader> {
    Arc::new(move |stop| load(&source, stop))
}

fn load(of: &OnnxSource, stop: &Stop) -> Result<Versions, LoadError> {
    let place = of.source.fetch(&of.service, stop)?;
    load_from(&place, of).map_err(|error| place.named(error))
}

fn load_from(place: &Place<'_>, of: &OnnxSource) -> Result<Versions, LoadError> {
    let options = OnnxOptions { intra_threads: of.intra_threads.get() };
    let load = |Version { name, file }: Version| -> Result<Box<dyn Model>, LoadError> {
        storage::check_within(&file, place.roots())?;
        Ok(Box::new(OnnxModel::load(&file, name, options)?))
    };
    let mut versions = repository::versions(place.path(), &of.model, "onnx")?.into_iter().map(load);
    let newest = versions.next().ok_or_else(|| LoadError("the version policy chooses no version".to_owned()))??;
    Ok(Versions::new(newest, versions.collect::<Result<Vec<_>, _>>()?))
}
