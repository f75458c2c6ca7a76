//! What a replica of an ONNX model loads.

use std::num::NonZeroUsize;
use std::sync::Arc;

use weirgate_models::onnx::{OnnxModel, OnnxOptions};
use weirgate_models::storage::{self, Source};
use weirgate_models::{LoadError, Model, Stop};

use crate::local::Loader;

/// Loads the one model of `source` for a service; its runs use this many threads.
pub fn onnx_loader(service: String, source: Source, intra_threads: NonZeroUsize) -> Arc<Loader> {
    Arc::new(move |stop| load(&service, &source, intra_threads, stop))
}

fn load(service: &str, source: &Source, intra_threads: NonZeroUsize, stop: &Stop) -> Result<Box<dyn Model>, LoadError> {
    let place = source.fetch(service, stop)?;
    let file = storage::find(place.path(), "onnx")?;
    storage::check_within(&file, place.roots())?;
    Ok(Box::new(OnnxModel::load(&file, OnnxOptions { intra_threads: intra_threads.get() })?))
}
