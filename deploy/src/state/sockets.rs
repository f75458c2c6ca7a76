//! Folders for sockets, one for each process, each with a lock that its process holds: one that hands over still needs its own
//! for a while, and a number says nothing of a process in another container.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::make_folder;

const LOCK: &str = "lock";
/// A socket's path has at most 107 bytes; its name in the folder takes some.
const LONGEST: usize = 70;
/// Begins the names of folders that lie among other people's.
const ELSEWHERE: &str = "weirgate-run-";
/// Another process may take a folder for one that was left, just when it is made.
const TRIES: u32 = 10;

/// A folder for the sockets of this process, which goes when this is dropped.
#[derive(Debug)]
pub(super) struct Sockets {
    pub path: PathBuf,
    /// All of them lie in it; none where this one lies elsewhere.
    run: Option<PathBuf>,
    _lock: File,
}

impl Drop for Sockets {
    fn drop(&mut self) {
        // What can't be removed is removed by the next process.
        let _ = std::fs::remove_dir_all(&self.path);
        if let Some(run) = &self.run {
            // As long as others have theirs in it, it stays.
            let _ = std::fs::remove_dir(run);
        }
    }
}

/// Makes a folder below `run`, or among the temporary ones where that path is too long, and removes those that were left.
pub(super) fn make(run: &Path) -> Result<Sockets, String> {
    let is_short = std::path::absolute(run).is_ok_and(|path| path.as_os_str().len() <= LONGEST);
    let (base, prefix) = if is_short { (run.to_owned(), "") } else { (std::env::temp_dir(), ELSEWHERE) };
    let make_one_of_several = || {
        // A process that ends takes an empty folder away.
        make_folder(&base)?;
        make_one(&base, prefix)
    };
    let make = || {
        sweep(run, "");
        sweep(&std::env::temp_dir(), ELSEWHERE);
        let made = (0..TRIES).find_map(|_| make_one_of_several().transpose());
        let (path, lock) = made.unwrap_or_else(|| Err(ErrorKind::AlreadyExists.into()))?;
        Ok(Sockets { path, run: is_short.then(|| run.to_owned()), _lock: lock })
    };
    make().map_err(|error: io::Error| format!("a folder for sockets can't be made in {}: {error}", base.display()))
}

/// A new folder; none where another process has taken it away.
fn make_one(base: &Path, prefix: &str) -> io::Result<Option<(PathBuf, File)>> {
    let path = base.join(format!("{prefix}{:016x}", rand::random::<u64>()));
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        made => made?,
    }
    let lock = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path.join(LOCK)) {
        Ok(lock) => lock,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // Whoever swept it holds the lock while it goes.
    let is_ours = lock.try_lock().is_ok() && path.join(LOCK).exists();
    Ok(is_ours.then_some((path, lock)))
}

/// Removes folders whose processes are gone. What can't be removed is somebody else's, or is tried again by the next.
fn sweep(base: &Path, prefix: &str) {
    let entries = std::fs::read_dir(base).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix)) {
        // A link leads elsewhere.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let path = entry.path();
        match OpenOptions::new().write(true).open(path.join(LOCK)) {
            Ok(lock) if lock.try_lock().is_ok() => drop(std::fs::remove_dir_all(&path)),
            // It is being made, or was never finished.
            Err(error) if error.kind() == ErrorKind::NotFound => drop(std::fs::remove_dir(&path)),
            _ => {}
        }
    }
}
