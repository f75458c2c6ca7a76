//! The manifests that -f names: files, folders, and `-` for standard input.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Wrong;
use crate::admin::wire::Document;

const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];
/// More than any manifest may have: what is longer is some other file.
const MOST_BYTES: u64 = 4 << 20;

/// Reads all of them, or says of each that can't be read why.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Document>, Wrong> {
    let (mut documents, mut errors) = (Vec::new(), Vec::new());
    for path in paths {
        match read_path(path) {
            Ok(read) => documents.extend(read),
            Err(error) => errors.push(format!("error: {error} (-f)")),
        }
    }
    if errors.is_empty() { Ok(documents) } else { Err(Wrong::Failed(errors)) }
}

fn read_path(path: &Path) -> Result<Vec<Document>, String> {
    if path == Path::new("-") {
        return Ok(vec![document(std::io::stdin().lock(), "standard input", Path::new("."))?]);
    }
    if path.is_dir() {
        manifests_in(path)?.iter().map(|file| read_file(file)).collect()
    } else {
        Ok(vec![read_file(path)?])
    }
}

/// The manifests of a folder, in the order of their names, not those of folders in it.
fn manifests_in(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.map_err(|error| format!("{}: can't be listed: {error}", folder.display()))?;
    let is_manifest = |path: &PathBuf| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|ending| ENDINGS.contains(&ending)) && path.is_file()
    };
    let mut files: Vec<_> = entries.iter().map(std::fs::DirEntry::path).filter(is_manifest).collect();
    files.sort();
    if files.is_empty() {
        return Err(format!("{}: holds no .yaml, .yml or .json file", folder.display()));
    }
    Ok(files)
}

fn read_file(path: &Path) -> Result<Document, String> {
    let origin = path.display().to_string();
    let file = File::open(path).map_err(|error| format!("{origin}: can't be read: {error}"))?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    document(file, &origin, folder.unwrap_or(Path::new(".")))
}

fn document(from: impl Read, origin: &str, folder: &Path) -> Result<Document, String> {
    let unreadable = |error| format!("{origin}: can't be read: {error}");
    let mut text = String::new();
    from.take(MOST_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(format!("{origin}: is longer than {} MiB: is it a manifest?", MOST_BYTES >> 20));
    }
    // Without the dots, which a server would show in every path.
    let base = std::path::absolute(folder).map_err(unreadable)?.components().collect();
    Ok(Document { text, origin: origin.to_owned(), base })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own, removed when dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("weirgate-files-{name}-{}", std::process::id()));
            std::fs::create_dir_all(path.join("deeper.yaml")).unwrap();
            Folder(path)
        }

        fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_folder_is_its_manifests_in_order() {
        let folder = Folder::new("order");
        for name in ["b.yml", "a.yaml", "c.json", "notes.txt", "d.yaml.bak", "deeper.yaml/e.yaml"] {
            folder.file(name, name.as_bytes());
        }
        let one = folder.file("notes.txt", b"x");
        let documents = read(&[folder.0.clone(), one.clone()]).unwrap();
        let texts: Vec<_> = documents.iter().map(|document| document.text.as_str()).collect();
        assert_eq!(texts, ["a.yaml", "b.yml", "c.json", "x"], "a file that is named is read whatever its ending");
        assert!(documents.iter().all(|document| document.base == folder.0));
        assert_eq!(documents[3].origin, one.display().to_string());
    }

    #[test]
    fn the_base_of_a_bare_name_is_the_working_folder() {
        let document = document(&b"text"[..], "a.yaml", Path::new(".")).unwrap();
        assert_eq!(document.base, std::env::current_dir().unwrap());
    }

    #[test]
    fn every_file_that_cannot_be_read_is_told() {
        let folder = Folder::new("errors");
        let binary = folder.file("model.onnx", &[0xff, 0xfe]);
        let large = folder.file("large.yaml", &vec![b' '; (MOST_BYTES + 1) as usize]);
        let paths = [folder.0.join("missing.yaml"), binary, large, folder.0.join("deeper.yaml")];
        let Err(Wrong::Failed(lines)) = read(&paths) else { panic!("they were read") };
        assert_eq!(lines.len(), 4, "{lines:?}");
        for (line, (path, reason)) in
            lines.iter().zip(paths.iter().zip(["can't be read", "UTF-8", "longer than 4 MiB", "holds no .yaml"]))
        {
            assert!(line.contains(path.to_str().unwrap()) && line.contains(reason), "{line}");
        }
    }
}
