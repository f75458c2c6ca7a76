//! Watches manifests by looking at them: it works the same for links, mounts and editors that replace a file, and takes
//! a change for done only when it has stood for one look.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs::Metadata;
use std::hash::{Hash, Hasher};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, watch as channel};

/// Between two looks. A look that took long is followed by a longer pause: looking takes 1 % of a CPU at most.
const PAUSE: Duration = Duration::from_millis(100);
const PAUSE_PER_LOOK: u32 = 100;
/// A file that changes with every look is read as it is after so many.
const PATIENCE: u32 = 10;
/// Within this time of a change, another one may leave the file's times as they are.
const YOUNG: Duration = Duration::from_secs(2);
const LARGEST: u64 = 1 << 20;
const MOST_FILES: usize = 10_000;

/// What a manifest holds now.
#[derive(Debug)]
pub struct Text {
    pub path: PathBuf,
    pub content: Content,
}

#[derive(Debug)]
pub enum Content {
    Text(String),
    Gone,
    /// It is there; the text says what is wrong.
    Unreadable(String),
}

/// The files and folders that were named, and how their files looked when they were read last.
#[derive(Debug)]
pub struct Watcher {
    paths: Vec<PathBuf>,
    files: BTreeMap<PathBuf, File>,
}

#[derive(Debug, Default)]
struct File {
    /// As it was read; none: not yet, or it was gone.
    read: Option<Read>,
    /// How it looked lately, if not like that, and for how many looks it has not looked like that.
    pending: Option<(Option<Stamp>, u32)>,
}

#[derive(Debug)]
struct Read {
    stamp: Stamp,
    hash: u64,
    /// It was so new that its stamp may hide another change.
    young: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Stamp {
        Stamp {
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

impl Watcher {
    /// Reads every manifest there is. A path that is not there is an error; an empty folder is not.
    pub fn open(paths: Vec<PathBuf>) -> (Watcher, Vec<Text>, Vec<String>) {
        let mut watcher = Watcher { paths, files: BTreeMap::new() };
        let (mut texts, mut errors) = (Vec::new(), Vec::new());
        for path in watcher.paths.clone() {
            match files_of(&path) {
                Ok(files) => {
                    for file in files {
                        watcher.files.insert(file, File::default());
                    }
                }
                Err(error) => errors.push(format!("{}: can't be read: {error}", path.display())),
            }
        }
        for (path, file) in &mut watcher.files {
            match file.read_now(path) {
                Content::Unreadable(error) => errors.push(format!("{}: {error}", path.display())),
                content => texts.push(Text { path: path.clone(), content }),
            }
        }
        (watcher, texts, errors)
    }

    /// Looks once, and returns what has changed and stood still since the last look.
    pub fn look(&mut self) -> Vec<Text> {
        for path in &self.paths {
            // A folder that can't be listed now keeps the files it had.
            for file in files_of(path).unwrap_or_default() {
                self.files.entry(file).or_default();
            }
        }
        let mut texts = Vec::new();
        for (path, file) in &mut self.files {
            if let Some(content) = file.look(path) {
                texts.push(Text { path: path.clone(), content });
            }
        }
        let paths = &self.paths;
        self.files.retain(|path, file| file.read.is_some() || file.pending.is_some() || paths.contains(path));
        texts
    }

    /// Looks until told to stop, and sends what it finds.
    pub(super) async fn run(mut self, changes: mpsc::Sender<Vec<Text>>, mut stop: channel::Receiver<bool>) {
        let mut pause = PAUSE;
        loop {
            tokio::select! {
                () = super::stopped(&mut stop) => return,
                () = tokio::time::sleep(pause) => {}
            }
            let looked = tokio::task::spawn_blocking(move || {
                let started = Instant::now();
                let texts = self.look();
                (self, texts, started.elapsed())
            });
            // Fails only where the runtime ends.
            let Ok((watcher, texts, took)) = looked.await else { return };
            self = watcher;
            pause = PAUSE.max(took * PAUSE_PER_LOOK);
            if !texts.is_empty() && changes.send(texts).await.is_err() {
                return;
            }
        }
    }
}

impl File {
    fn look(&mut self, path: &Path) -> Option<Content> {
        let stamp = match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Some(Stamp::of(&metadata)),
            Ok(_) => None,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            // Not to be seen now is not gone.
            Err(_) => return None,
        };
        let read = self.read.as_ref();
        if stamp == read.map(|read| read.stamp) && !read.is_some_and(|read| read.young) {
            self.pending = None;
            return None;
        }
        let looks = self.pending.as_ref().map_or(0, |(_, looks)| looks + 1);
        let stands = self.pending.as_ref().is_some_and(|(pending, _)| *pending == stamp);
        if !stands && looks < PATIENCE {
            self.pending = Some((stamp, looks));
            return None;
        }
        let before = self.read.as_ref().map(|read| read.hash);
        match self.read_now(path) {
            Content::Text(_) if before.is_some() && before == self.read.as_ref().map(|read| read.hash) => None,
            Content::Gone if before.is_none() => None,
            content => Some(content),
        }
    }

    fn read_now(&mut self, path: &Path) -> Content {
        self.pending = None;
        let found = std::fs::metadata(path).and_then(|metadata| {
            let text = if metadata.len() > LARGEST { None } else { Some(std::fs::read_to_string(path)?) };
            Ok((metadata, text))
        });
        match found {
            Ok((metadata, text)) => {
                let age = metadata.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
                let young = age.is_none_or(|age| age < YOUNG);
                self.read = Some(Read::new(&metadata, &text, young));
                match text {
                    Some(text) => Content::Text(text),
                    None => Content::Unreadable(format!(
                        "holds {} bytes: allowed are {LARGEST}, split it into several files",
                        metadata.len()
                    )),
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.read = None;
                Content::Gone
            }
            Err(error) => {
                // Said once: it is looked at again when it has changed.
                let error = format!("can't be read: {error}");
                self.read = std::fs::metadata(path).ok().map(|metadata| Read::new(&metadata, &error, false));
                Content::Unreadable(error)
            }
        }
    }
}

impl Read {
    fn new(metadata: &Metadata, content: &impl Hash, young: bool) -> Read {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Read { stamp: Stamp::of(metadata), hash: hasher.finish(), young }
    }
}

/// The file itself, or the manifests in a folder.
fn files_of(path: &Path) -> std::io::Result<Vec<PathBuf>> {
    if !std::fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let path = entry?.path();
        let manifest = path.extension().is_some_and(|ending| ["yaml", "yml", "json"].iter().any(|one| ending == *one));
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if manifest && !hidden && path.is_file() {
            files.push(path);
        }
        if files.len() > MOST_FILES {
            let text = format!("the folder holds more than {MOST_FILES} manifests: split it");
            return Err(std::io::Error::other(text));
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("weirgate-watch-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Folder(path)
        }

        fn write(&self, name: &str, text: &str) {
            std::fs::write(self.0.join(name), text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Names and texts; `-` for a file that is gone.
    fn seen(texts: Vec<Text>) -> Vec<String> {
        let shown = |text: Text| {
            let name = text.path.file_name().unwrap().to_str().unwrap().to_owned();
            match text.content {
                Content::Text(text) => format!("{name}={text}"),
                Content::Gone => format!("{name}-"),
                Content::Unreadable(error) => format!("{name}!{error}"),
            }
        };
        texts.into_iter().map(shown).collect()
    }

    #[test]
    fn a_change_counts_when_it_has_stood_for_one_look() {
        let folder = Folder::new("stands");
        folder.write("a.yaml", "1");
        folder.write("notes.txt", "x");
        folder.write(".hidden.yaml", "x");
        let (mut watcher, texts, errors) = Watcher::open(vec![folder.0.clone()]);
        assert_eq!((seen(texts), errors), (vec!["a.yaml=1".to_owned()], Vec::new()));
        assert_eq!(seen(watcher.look()), [""; 0]);

        folder.write("a.yaml", "22");
        folder.write("b.yaml", "1");
        assert_eq!(seen(watcher.look()), [""; 0], "it may be half of a change");
        folder.write("a.yaml", "333");
        assert_eq!(seen(watcher.look()), ["b.yaml=1"]);
        assert_eq!(seen(watcher.look()), ["a.yaml=333"]);
        assert_eq!(seen(watcher.look()), [""; 0]);
    }

    #[test]
    fn files_that_go_and_come_back_at_once_were_never_gone() {
        let folder = Folder::new("gone");
        folder.write("a.yaml", "1");
        let (mut watcher, ..) = Watcher::open(vec![folder.0.clone()]);
        std::fs::remove_file(folder.0.join("a.yaml")).unwrap();
        assert_eq!(seen(watcher.look()), [""; 0]);
        folder.write("a.yaml", "1");
        for _ in 0..4 {
            assert_eq!(seen(watcher.look()), [""; 0]);
        }
        std::fs::remove_file(folder.0.join("a.yaml")).unwrap();
        watcher.look();
        assert_eq!(seen(watcher.look()), ["a.yaml-"]);
        assert_eq!(seen(watcher.look()), [""; 0]);
    }

    #[test]
    fn a_file_that_never_stands_still_is_read_in_the_end() {
        let folder = Folder::new("busy");
        folder.write("a.yaml", "");
        let (mut watcher, ..) = Watcher::open(vec![folder.0.join("a.yaml")]);
        let mut looks = 0;
        let mut text = "x".to_owned();
        while watcher.look().is_empty() {
            text.push('x');
            folder.write("a.yaml", &text);
            looks += 1;
            assert!(looks < 3 * PATIENCE);
        }
    }

    #[test]
    fn two_changes_within_one_tick_of_the_clock_are_both_seen() {
        let folder = Folder::new("tick");
        folder.write("a.yaml", "1");
        let (mut watcher, ..) = Watcher::open(vec![folder.0.clone()]);
        let times = std::fs::metadata(folder.0.join("a.yaml")).unwrap().modified().unwrap();
        folder.write("a.yaml", "2");
        std::fs::File::options().write(true).open(folder.0.join("a.yaml")).unwrap().set_modified(times).unwrap();
        let found: Vec<_> = (0..3).flat_map(|_| seen(watcher.look())).collect();
        assert_eq!(found, ["a.yaml=2"]);
    }

    #[test]
    fn what_can_not_be_read_is_told_once() {
        let folder = Folder::new("unreadable");
        folder.write("a.yaml", "1");
        let (mut watcher, ..) = Watcher::open(vec![folder.0.clone()]);
        std::fs::write(folder.0.join("a.yaml"), b"\xff\xfe").unwrap();
        let found: Vec<_> = (0..8).flat_map(|_| seen(watcher.look())).collect();
        assert!(found.len() == 1 && found[0].starts_with("a.yaml!can't be read"), "{found:?}");
        folder.write("a.yaml", "2");
        let found: Vec<_> = (0..3).flat_map(|_| seen(watcher.look())).collect();
        assert_eq!(found, ["a.yaml=2"]);
    }

    #[test]
    fn what_is_missing_at_the_start_is_an_error() {
        let folder = Folder::new("missing");
        let (_, texts, errors) = Watcher::open(vec![folder.0.join("none.yaml")]);
        assert!(texts.is_empty() && errors[0].contains("none.yaml: can't be read"), "{errors:?}");
    }
}
