//! The state folder: what was applied, and the token of the control API, kept across restarts and a kill at any moment.
//!
//! ```text
//! lock                              held by the one process that may write; holds its pid
//! handover.sock                     0600; where another process can ask for that one's place
//! token                             0600
//! services/{namespace}/{name}.json  one record per service
//! run/{random}/                     sockets of child processes; goes with its process, or else when nobody holds its lock
//! models/{hash of a URL}            a model that was downloaded; written by who runs it, and may go at any time
//! ```
//!
//! All of it is blocking I/O.

mod files;
mod records;
mod sockets;
mod token;

use std::ffi::OsString;
use std::fs::{DirBuilder, File, Metadata, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use files::write_atomically;
pub use records::SetAside;
pub use token::Token;

const SERVICES: &str = "services";

/// The folder, locked for as long as this lives.
#[derive(Debug)]
pub struct StateFolder {
    path: PathBuf,
    _lock: File,
    sockets: Mutex<Option<sockets::Sockets>>,
}

impl StateFolder {
    /// Creates the folder where it is not there, locks it, and clears away what a killed process left unfinished.
    pub fn open(path: impl Into<PathBuf>) -> Result<StateFolder, String> {
        let path = path.into();
        make_folder(&path.join(SERVICES)).map_err(|error| {
            format!("the state folder {} can't be made: {error} (give another one by --state DIR)", path.display())
        })?;
        let lock = lock(&path)?;
        let folder = StateFolder { path, _lock: lock, sockets: Mutex::default() };
        folder.sweep().map_err(|error| folder.unusable(&error))?;
        Ok(folder)
    }

    /// Goes on with a folder whose lock another process has taken, and gives to this one. That one must change nothing in it
    /// any more.
    pub fn adopt(path: impl Into<PathBuf>, lock: OwnedFd) -> Result<StateFolder, String> {
        let (path, lock) = (path.into(), File::from(lock));
        let identity = |metadata: Metadata| (metadata.dev(), metadata.ino());
        let ours = std::fs::metadata(path.join("lock")).map(identity);
        let folder = StateFolder { path, _lock: lock, sockets: Mutex::default() };
        let given = folder._lock.metadata().map(identity);
        match (ours, given) {
            (Ok(ours), Ok(given)) if ours == given => {}
            (Err(error), _) | (_, Err(error)) => return Err(folder.unusable(&error)),
            _ => return Err(folder.unusable(&std::io::Error::other("the lock that was given is of another folder"))),
        }
        folder.sweep().map_err(|error| folder.unusable(&error))?;
        Ok(folder)
    }

    /// The lock, to be given to another process. It is held until all have closed it.
    pub fn share_lock(&self) -> std::io::Result<OwnedFd> {
        self._lock.as_fd().try_clone_to_owned()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where models from URLs are kept. Nothing else of the state is.
    pub fn models(&self) -> PathBuf {
        self.path.join("models")
    }

    /// A new folder for sockets that only this process's user may enter; this process's for as long as the state folder is.
    /// Where the state folder's path is too long for the address of a socket it lies elsewhere. Those of processes that are
    /// gone are removed.
    pub fn sockets(&self) -> Result<PathBuf, String> {
        let made = sockets::make(&self.path.join("run"))?;
        let path = made.path.clone();
        *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) = Some(made);
        Ok(path)
    }

    /// The token that writes need; made where there is none.
    pub fn token(&self) -> Result<Token, String> {
        token::read_or_make(&Token::path_in(&self.path))
    }

    fn unusable(&self, error: &std::io::Error) -> String {
        format!("the state folder {} can't be used: {error} (give another one by --state DIR)", self.path.display())
    }
}

/// Where the state folder lies when nobody names one, from the environment's variables.
pub fn default_path(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, String> {
    // The XDG specification has relative paths ignored.
    let folder = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = folder("XDG_STATE_HOME").or_else(|| folder("HOME").map(|home| home.join(".local/state")));
    base.map(|base| base.join("weirgate")).ok_or_else(|| {
        "there is no place for the state folder: neither XDG_STATE_HOME nor HOME is set, give one by --state DIR"
            .to_owned()
    })
}

fn make_folder(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn lock(folder: &Path) -> Result<File, String> {
    let path = folder.join("lock");
    let refused = |error: &dyn std::fmt::Display| {
        format!("the state folder {} can't be locked: {error} (give another one by --state DIR)", folder.display())
    };
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| refused(&error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let _ = (&file).take(32).read_to_string(&mut pid);
            let holder = if pid.is_empty() { "another process".to_owned() } else { format!("process {}", pid.trim()) };
            return Err(format!(
                "the state folder {} is in use by {holder}: stop that one, or give another folder by --state DIR",
                folder.display()
            ));
        }
        Err(TryLockError::Error(error)) => return Err(refused(&error)),
    }
    write_pid(&file).map_err(|error| refused(&error))?;
    Ok(file)
}

fn write_pid(mut file: &File) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

/// Names this process as the owner of a lock that was given to it, once it is its own.
pub fn note_owner(lock: impl AsFd) -> std::io::Result<()> {
    write_pid(&File::from(lock.as_fd().try_clone_to_owned()?))
}
