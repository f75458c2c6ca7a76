//! The small files of a folder: read within a bound, and errors that name them.

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::model::LoadError;
use crate::storage;

/// The most bytes of a configuration. Those in use have a few thousand.
pub const LARGEST_CONFIG: u64 = 1 << 20;

/// A model's folder, and where what it links to may lie.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    folder: &'a Path,
    roots: &'a [PathBuf],
}

impl<'a> Files<'a> {
    /// Files may lie anywhere where `roots` is empty, and within one of them otherwise, wherever links lead.
    pub fn new(folder: &'a Path, roots: &'a [PathBuf]) -> Result<Files<'a>, LoadError> {
        if !folder.is_dir() {
            return Err(LoadError(format!(
                "{} is no folder: an embedder is a folder with config.json, tokenizer.json and its weights",
                folder.display()
            )));
        }
        storage::check_within(folder, roots)?;
        Ok(Files { folder, roots })
    }

    pub fn folder(&self) -> &'a Path {
        self.folder
    }

    /// A file of the folder, if it is there. The name is ours.
    pub fn find(&self, name: &str) -> Result<Option<PathBuf>, LoadError> {
        let path = self.folder.join(name);
        if !path.is_file() {
            return Ok(None);
        }
        storage::check_within(&path, self.roots)?;
        Ok(Some(path))
    }

    /// A folder that a file names, as a part of this one.
    pub fn part(&self, name: &str) -> Result<String, LoadError> {
        let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
        if Path::new(name).components().all(plain) {
            return Ok(name.trim_end_matches('/').to_owned());
        }
        let short: String = name.chars().take(80).collect();
        Err(LoadError(format!(
            "modules.json names the folder '{short}', which is not within {}",
            self.folder.display()
        )))
    }

    /// The bytes of a file, if it is there.
    pub fn read(&self, name: &str, most: u64) -> Result<Option<Vec<u8>>, LoadError> {
        let Some(path) = self.find(name)? else { return Ok(None) };
        let refuse = |error: &dyn std::fmt::Display| LoadError(format!("{}: {error}", path.display()));
        let mut bytes = Vec::new();
        let file = File::open(&path).map_err(|error| refuse(&error))?;
        file.take(most + 1).read_to_end(&mut bytes).map_err(|error| refuse(&error))?;
        if bytes.len() as u64 > most {
            return Err(refuse(&format!("has more than {most} bytes, which is the limit")));
        }
        Ok(Some(bytes))
    }

    /// A configuration, if it is there.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, LoadError> {
        let Some(bytes) = self.read(name, LARGEST_CONFIG)? else { return Ok(None) };
        let value = serde_json::from_slice(&bytes).map_err(|error| self.refuse(name, error))?;
        Ok(Some(value))
    }

    /// The same for one that has to be there.
    pub fn needed<T: DeserializeOwned>(&self, name: &str) -> Result<T, LoadError> {
        self.json(name)?.ok_or_else(|| self.missing(name))
    }

    pub fn missing(&self, name: &str) -> LoadError {
        LoadError(format!("{} has no {name}, which an embedder needs", self.folder.display()))
    }

    /// An error that names a file of the folder.
    pub fn refuse(&self, name: &str, error: impl std::fmt::Display) -> LoadError {
        LoadError(format!("{}: {error}", self.folder.join(name).display()))
    }
}
