//! Where a replica's model comes from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::store::{Copy, Hold};
use crate::model::LoadError;
use crate::stop::Stop;

/// A place on this machine, or a URL.
pub enum Source {
    /// A file or a folder, below one of `roots`, if there are any.
    Local {
        location: PathBuf,
        roots: Arc<[PathBuf]>,
    },
    Remote(Hold),
}

/// A source that is on this machine now, and stays as it is for as long as this lives.
pub enum Place<'a> {
    Local { location: &'a Path, roots: &'a [PathBuf] },
    Copy(Copy),
}

impl Source {
    /// Brings it here, where it is not; that may take its time, and ends soon after a stop is asked for.
    pub fn fetch(&self, service: &str, stop: &Stop) -> Result<Place<'_>, LoadError> {
        match self {
            Source::Local { location, roots } => Ok(Place::Local { location, roots }),
            Source::Remote(hold) => hold.fetch(service, stop).map(Place::Copy),
        }
    }
}

impl Place<'_> {
    pub fn path(&self) -> &Path {
        match self {
            Place::Local { location, .. } => location,
            Place::Copy(copy) => copy.path(),
        }
    }

    /// Says where a model that can't be loaded comes from, as its manifest has it.
    pub fn named(&self, error: LoadError) -> LoadError {
        match self {
            Place::Local { .. } => error,
            Place::Copy(copy) => copy.named(error),
        }
    }

    /// Folders that its files must lie in; none: anywhere. In a copy there is no link that could lead out.
    pub fn roots(&self) -> &[PathBuf] {
        match self {
            Place::Local { roots, .. } => roots,
            Place::Copy(_) => &[],
        }
    }
}
