//! What is kept of one URL.
//!
//! ```text
//! part       bytes that came so far; it stays where a download is cut, and is continued
//! part.json  which file they are of
//! note.json  what lies in content; written last, so that it stands for a whole copy
//! content/   the file, or what the archive held
//! ```

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::client::Validators;

/// A file's name that has to be made up.
const NAMELESS: &str = "model";
const LONGEST_NAME: usize = 100;

/// The folder of one URL.
#[derive(Clone, Debug)]
pub(super) struct Entry(PathBuf);

/// A whole copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Note {
    /// As it may be shown, for whoever looks into the folder.
    pub url: String,
    pub validators: Validators,
    /// The file in `content`; none: all of `content` is the model.
    pub file: Option<String>,
    /// Of the file that was downloaded.
    pub bytes: u64,
}

/// The beginning of a file.
pub(super) struct Part {
    path: PathBuf,
    note_path: PathBuf,
    pub note: PartNote,
    pub bytes: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PartNote {
    pub validators: Validators,
    /// Bytes of the whole file, where they are known.
    pub total: Option<u64>,
}

impl Entry {
    pub fn new(path: PathBuf) -> Entry {
        Entry(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.0)
    }

    /// The whole copy, if there is one.
    pub fn note(&self) -> Option<Note> {
        let note: Note = read_json(&self.0.join("note.json"))?;
        let path = self.location(&note);
        let whole = match &note.file {
            Some(_) => fs::metadata(path).is_ok_and(|file| file.is_file() && file.len() == note.bytes),
            None => path.is_dir(),
        };
        whole.then_some(note)
    }

    /// Where the model of a whole copy lies: a file or a folder.
    pub fn location(&self, note: &Note) -> PathBuf {
        let content = self.0.join("content");
        note.file.as_ref().map_or(content.clone(), |file| content.join(file))
    }

    /// Makes what was prepared in [`Entry::prepared`] the content. Whenever the machine stops, the note is of what lies
    /// there, or there is none.
    pub fn replace(&self, note: &Note) -> io::Result<()> {
        let (note_path, content) = (self.0.join("note.json"), self.0.join("content"));
        sync_folders(&self.prepared())?;
        remove(&note_path)?;
        sync(&self.0)?;
        remove(&content)?;
        fs::rename(self.prepared(), &content)?;
        write_json(&note_path, note)
    }

    /// Where content is prepared.
    pub fn prepared(&self) -> PathBuf {
        self.0.join("content.new")
    }

    /// An empty folder for it.
    pub fn prepare(&self) -> io::Result<PathBuf> {
        let path = self.prepared();
        remove(&path)?;
        fs::create_dir(&path)?;
        Ok(path)
    }

    pub fn part(&self) -> Part {
        let (path, note_path) = (self.0.join("part"), self.0.join("part.json"));
        let bytes = fs::metadata(&path).map_or(0, |file| file.len());
        match read_json(&note_path) {
            Some(note) => Part { path, note_path, note, bytes },
            None => Part { path, note_path, note: PartNote::default(), bytes: 0 },
        }
    }

    /// Notes that it is used now.
    pub fn touch(&self) -> io::Result<()> {
        OpenOptions::new().write(true).open(self.0.join("note.json"))?.set_modified(SystemTime::now())
    }

    /// When it was last used, or written to.
    pub fn used(&self) -> SystemTime {
        let modified = |name: &str| fs::metadata(self.0.join(name)).and_then(|file| file.modified()).ok();
        modified("note.json").max(modified("part")).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Bytes on disk.
    pub fn size(&self) -> u64 {
        size(&self.0)
    }
}

impl Part {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// By what it can be continued, if that is possible.
    pub fn continued_by(&self) -> Option<&str> {
        self.note.validators.strong().filter(|_| self.bytes > 0)
    }

    /// Whether nothing is missing, as far as is known.
    pub fn is_whole(&self) -> bool {
        self.bytes > 0 && self.note.total == Some(self.bytes)
    }

    /// Begins anew, with a file of which this is known.
    pub fn begin(&mut self, note: PartNote) -> io::Result<File> {
        self.clear()?;
        write_json(&self.note_path, &note)?;
        self.note = note;
        self.append()
    }

    /// Opens it to be written to at its end.
    pub fn append(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).open(&self.path)
    }

    /// Forgets what came so far.
    pub fn clear(&mut self) -> io::Result<()> {
        remove(&self.note_path)?;
        remove(&self.path)?;
        self.bytes = 0;
        self.note = PartNote::default();
        Ok(())
    }
}

/// What the file of a URL is called here.
pub(super) fn file_name(written: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let name: String = written.chars().filter(plain).collect();
    // The end says what it is.
    let name = &name[name.len().saturating_sub(LONGEST_NAME)..];
    let name = name.trim_start_matches('.');
    if name.is_empty() { NAMELESS.to_owned() } else { name.to_owned() }
}

/// Makes durable what happened to the names in a folder.
pub(super) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The same of a folder and all folders in it.
fn sync_folders(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            sync_folders(&entry.path())?;
        }
    }
    sync(folder)
}

/// Removes a file or a folder; one that is not there is removed already.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    removed.or_else(|error| if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) })
}

fn size(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    if !found.is_dir() {
        return found.len();
    }
    fs::read_dir(path).into_iter().flatten().flatten().map(|entry| size(&entry.path())).sum()
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    path.parent().map_or(Ok(()), sync)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_plain() {
        for (written, name) in [
            ("model.onnx", "model.onnx"),
            ("", "model"),
            ("..", "model"),
            (".hidden", "hidden"),
            ("a%2Fb.onnx", "a2Fb.onnx"),
            ("mod\u{e8}le.onnx", "modle.onnx"),
        ] {
            assert_eq!(file_name(written), name, "{written}");
        }
        assert!(file_name(&format!("{}.onnx", "x".repeat(300))).ends_with("x.onnx"));
    }

    #[test]
    fn only_a_whole_copy_is_one() {
        let folder = tempfile::tempdir().unwrap();
        let entry = Entry::new(folder.path().join("key"));
        entry.create().unwrap();
        assert_eq!(entry.note(), None);
        let note = Note { url: "u".into(), validators: Validators::default(), file: Some("m.onnx".into()), bytes: 3 };
        fs::write(entry.prepare().unwrap().join("m.onnx"), b"abc").unwrap();
        assert_eq!(entry.note(), None, "it is only being prepared");
        entry.replace(&note).unwrap();
        assert_eq!(entry.note(), Some(note.clone()));
        assert!(entry.size() >= 3);
        fs::write(entry.location(&note), b"ab").unwrap();
        assert_eq!(entry.note(), None, "a shorter file is not whole");
    }
}
