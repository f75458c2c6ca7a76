//! Small files that are read again when what they hold changes: certificates, keys of callers, keys of issuers.
//!
//! They are told by their bytes, so it works the same for links, mounts and editors that replace a file; and by their mode,
//! for a file that others could write may be refused for that alone. A change counts when it has stood for one look: a
//! certificate and its key are seldom replaced in the same moment.

use std::io::{Error, Read};
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// None of these files has a reason to be larger.
const LARGEST: u64 = 4 << 20;

/// A file as it was at one look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub bytes: Vec<u8>,
    /// Who may read and write it, in the lowest nine bits.
    pub mode: u32,
}

impl Deref for Seen {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What a file holds, or why it can't be told.
pub type Contents = Result<Seen, String>;

/// A file, and the flag that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    pub path: PathBuf,
    pub flag: &'static str,
}

impl Named {
    pub fn new(path: impl Into<PathBuf>, flag: &'static str) -> Named {
        Named { path: path.into(), flag }
    }
}

/// Something that is made of files, and made again when they change.
pub trait Reload: Send + Sync + 'static {
    /// For logs: "the certificate", "the file of API keys".
    fn what(&self) -> &'static str;
    fn files(&self) -> Vec<Named>;
    /// Takes the new contents, in the order of the files. An error leaves everything as it was.
    fn reload(&self, contents: &[Contents]) -> Result<(), String>;
}

/// Reads a file of which others may write the next version meanwhile.
pub fn read(file: &Named) -> Contents {
    let Named { path, flag } = file;
    let refused = |error: &dyn std::fmt::Display| format!("{} can't be read: {error} ({flag})", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| refused(&error))?;
    // Of the file that is read, whatever lies at the path by now.
    let mode = file.metadata().map_err(|error| refused(&error))?.permissions().mode();
    let length = file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| refused(&error))?;
    if length as u64 > LARGEST {
        return Err(refused(&Error::other(format!("it has more than {LARGEST} bytes"))));
    }
    Ok(Seen { bytes, mode })
}

/// The files of one [`Reload`], and how they looked.
pub struct Watched {
    target: Arc<dyn Reload>,
    taken: Vec<Contents>,
    /// What could not be taken. It is said once, and tried again when it has changed or somebody asks for it.
    refused: Option<Vec<Contents>>,
    pending: Option<Vec<Contents>>,
}

impl Watched {
    /// `taken`: what the target was made of.
    pub fn new(target: Arc<dyn Reload>, taken: Vec<Contents>) -> Watched {
        Watched { target, taken, refused: None, pending: None }
    }

    /// Looks once. With `at_once` what is found is read again, whether or not it has changed.
    pub fn look(&mut self, at_once: bool) {
        let found: Vec<_> = self.target.files().iter().map(read).collect();
        if !at_once {
            if found == self.taken {
                (self.refused, self.pending) = (None, None);
                return;
            }
            if self.refused.as_ref() == Some(&found) {
                self.pending = None;
                return;
            }
            if self.pending.as_ref() != Some(&found) {
                self.pending = Some(found);
                return;
            }
        }
        self.pending = None;
        let what = self.target.what();
        match self.target.reload(&found) {
            Ok(()) => {
                tracing::info!("{what} was read again");
                (self.taken, self.refused) = (found, None);
            }
            Err(error) => {
                tracing::error!(error, "{what} can't be used: what was read before holds on");
                self.refused = Some(found);
            }
        }
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
    use std::path::Path;

    use parking_lot::Mutex;

    use super::*;

    /// Takes every text but "bad", from a file that nobody else can write.
    struct Kept(PathBuf, Mutex<Vec<String>>);

    impl Reload for Kept {
        fn what(&self) -> &'static str {
            "the test's file"
        }

        fn files(&self) -> Vec<Named> {
            vec![Named::new(&self.0, "--test")]
        }

        fn reload(&self, contents: &[Contents]) -> Result<(), String> {
            let seen = contents[0].clone()?;
            let text = String::from_utf8(seen.bytes).unwrap();
            let wrong = text == "bad" || seen.mode & 0o022 != 0;
            self.1.lock().push(if wrong { format!("not {text}") } else { text });
            if wrong { Err("it is wrong".to_owned()) } else { Ok(()) }
        }
    }

    /// A file that is watched, and what of it was taken and refused so far.
    fn watched(name: &str, text: &str) -> (PathBuf, Watched, Arc<Kept>) {
        let path = std::env::temp_dir().join(format!("weirgate-watched-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        set_mode(&path, 0o600);
        let kept = Arc::new(Kept(path.clone(), Mutex::default()));
        let watched = Watched::new(kept.clone(), vec![read(&kept.files()[0])]);
        (path, watched, kept)
    }

    fn set_mode(path: &Path, mode: u32) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_change_counts_when_it_has_stood_or_is_asked_for() {
        let (path, mut watched, kept) = watched("change", "1");
        watched.look(false);
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

    #[test]
    fn what_is_refused_is_tried_again_when_its_mode_changes_or_when_asked() {
        let (path, mut watched, kept) = watched("mode", "1");
        let twice = |watched: &mut Watched| (0..2).for_each(|_| watched.look(false));
        std::fs::write(&path, "2").unwrap();
        set_mode(&path, 0o620);
        twice(&mut watched);
        twice(&mut watched);
        assert_eq!(*kept.1.lock(), ["not 2"], "it is said once");
        watched.look(true);
        assert_eq!(*kept.1.lock(), ["not 2", "not 2"], "it was asked for");
        set_mode(&path, 0o600);
        twice(&mut watched);
        assert_eq!(kept.1.lock().last().map(String::as_str), Some("2"), "the mode was all that was wrong");
        // What was taken is not taken anew when a refused version of it goes.
        std::fs::write(&path, "bad").unwrap();
        twice(&mut watched);
        std::fs::write(&path, "2").unwrap();
        twice(&mut watched);
        assert_eq!(kept.1.lock().len(), 4);
        std::fs::write(&path, "bad").unwrap();
        twice(&mut watched);
        assert_eq!(kept.1.lock().last().map(String::as_str), Some("not bad"), "it is said again");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_not_there_is_told_with_the_flag_that_names_it() {
        let error = read(&Named::new("/nowhere/keys.yaml", "--api-keys")).unwrap_err();
        assert!(error.starts_with("/nowhere/keys.yaml can't be read: No such file"), "{error}");
        assert!(error.ends_with(" (--api-keys)"), "{error}");
    }
}
