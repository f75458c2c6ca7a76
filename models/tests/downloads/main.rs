//! Downloads from servers that are good, slow, broken or hostile.

#![allow(clippy::unwrap_used)]

mod cache;
mod faults;
mod origin;
mod refusals;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use weirgate_models::storage::{Hold, Store, StoreConfig};
use weirgate_models::{LoadError, Stop};
use weirgate_protocol::RemoteUrl;

/// A store in a folder of its own.
struct World {
    folder: TempDir,
    store: Arc<Store>,
}

impl World {
    fn new() -> World {
        World::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut StoreConfig)) -> World {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("models"), config(change));
        World { folder, store }
    }

    /// The process ends, and another one starts in the same folder.
    fn restart(self, change: impl FnOnce(&mut StoreConfig)) -> World {
        let World { folder, store } = self;
        assert_eq!(Arc::strong_count(&store), 1, "somebody still holds a model");
        let store = Store::new(folder.path().join("models"), config(change));
        World { folder, store }
    }

    fn hold(&self, url: &str) -> Hold {
        self.store.hold(RemoteUrl::parse(url).unwrap())
    }

    /// The file that comes of a URL.
    fn fetch(&self, url: &str) -> Result<Vec<u8>, LoadError> {
        let copy = self.hold(url).fetch("default/sum", &Stop::default())?;
        Ok(std::fs::read(copy.path()).unwrap())
    }

    fn refusal(&self, url: &str) -> String {
        self.fetch(url).unwrap_err().0
    }

    /// Names of files below the store's folder, at any depth.
    fn files(&self) -> Vec<String> {
        fn walk(folder: &Path, into: &mut Vec<String>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, into);
                } else {
                    into.push(path.file_name().unwrap().to_str().unwrap().to_owned());
                }
            }
        }
        let mut files = Vec::new();
        walk(&self.folder.path().join("models"), &mut files);
        files.sort();
        files
    }
}

fn config(change: impl FnOnce(&mut StoreConfig)) -> StoreConfig {
    let mut config = StoreConfig::new(10 << 20, 10 << 20, Arc::default());
    config.pauses = vec![Duration::from_millis(1); 4];
    change(&mut config);
    config
}

/// A file that differs everywhere.
fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|index| (index * 31 + index / 251) as u8).collect()
}
