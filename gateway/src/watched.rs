//! Small files that are read again when what they hold changes: certificates, keys of callers, keys of issuers.
//!
//! They are told by their bytes, so it works the same for links, mounts and editors that replace a file. A change counts
//! when it has stood for one look: a certificate and its key are seldom replaced in the same moment.

use std::io::{Error, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// None of these files has a reason to be larger.
const LARGEST: u64 = 4 << 20;

/// The bytes of a file, or why there are none.
pub type Contents = Result<Vec<u8>, String>;

/// Something that is made of files, and made again when they change.
pub trait Reload: Send + Sync + 'static {
    /// For logs: "the certificate", "the file of API keys".
    fn what(&self) -> &'static str;
    fn paths(&self) -> Vec<PathBuf>;
    /// Takes the new contents, in the order of the paths. An error leaves everything as it was.
    fn reload(&self, contents: &[Contents]) -> Result<(), String>;
}

/// Reads a file of which others may write the next version meanwhile.
pub fn read(path: &Path) -> Contents {
    let refused = |error: &dyn std::fmt::Display| format!("{} can't be read: {error}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| refused(&error))?;
    let length = file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| refused(&error))?;
    if length as u64 > LARGEST {
        return Err(refused(&Error::other(format!("it has more than {LARGEST} bytes"))));
    }
    Ok(bytes)
}

/// The files of one [`Reload`], and how they looked.
pub struct Watched {
    target: Arc<dyn Reload>,
    taken: Vec<Contents>,
    pending: Option<Vec<Contents>>,
}

impl Watched {
    /// `taken`: what the target was made of.
    pub fn new(target: Arc<dyn Reload>, taken: Vec<Contents>) -> Watched {
        Watched { target, taken, pending: None }
    }

    /// Looks once. With `at_once` a change need not stand.
    pub fn look(&mut self, at_once: bool) {
        let found: Vec<_> = self.target.paths().iter().map(|path| read(path)).collect();
        if found == self.taken {
            self.pending = None;
            return;
        }
        if !at_once && self.pending.as_ref() != Some(&found) {
            self.pending = Some(found);
            return;
        }
        let what = self.target.what();
        match self.target.reload(&found) {
            Ok(()) => tracing::info!("{what} was read again"),
            Err(error) => tracing::error!(error, "{what} can't be used: what was read before holds on"),
        }
        // What is wrong is said once: it is read again when it has changed.
        self.taken = found;
        self.pending = None;
    }
}

/// Looks every second, and at once when asked to, until `now` has no sender any more.
pub async fn watch(mut files: Vec<Watched>, mut now: watch::Receiver<()>) {
    loop {
        let asked = tokio::select! {
            asked = now.changed() => match asked {
                Ok(()) => true,
                Err(_) => return,
            },
            () = tokio::time::sleep(PAUSE) => false,
        };
        let looked = tokio::task::spawn_blocking(move || {
            files.iter_mut().for_each(|file| file.look(asked));
            files
        });
        // Fails only where the runtime ends.
        let Ok(looked) = looked.await else { return };
        files = looked;
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    struct Kept(PathBuf, Mutex<Vec<String>>);

    impl Reload for Kept {
        fn what(&self) -> &'static str {
            "the test's file"
        }

        fn paths(&self) -> Vec<PathBuf> {
            vec![self.0.clone()]
        }

        fn reload(&self, contents: &[Contents]) -> Result<(), String> {
            let text = String::from_utf8(contents[0].clone()?).unwrap();
            self.1.lock().push(text);
            Ok(())
        }
    }

    #[test]
    fn a_change_counts_when_it_has_stood_or_is_asked_for() {
        let path = std::env::temp_dir().join(format!("weirgate-watched-{}", std::process::id()));
        std::fs::write(&path, "1").unwrap();
        let kept = Arc::new(Kept(path.clone(), Mutex::default()));
        let mut watched = Watched::new(kept.clone(), vec![read(&path)]);
        watched.look(true);
        assert!(kept.1.lock().is_empty(), "nothing has changed");
        std::fs::write(&path, "2").unwrap();
        watched.look(false);
        assert!(kept.1.lock().is_empty(), "it may be half of a change");
        watched.look(false);
        std::fs::write(&path, "3").unwrap();
        watched.look(true);
        std::fs::remove_file(&path).unwrap();
        watched.look(true);
        std::fs::write(&path, "3").unwrap();
        watched.look(true);
        assert_eq!(*kept.1.lock(), ["2", "3", "3"]);
        std::fs::remove_file(&path).unwrap();
    }
}
