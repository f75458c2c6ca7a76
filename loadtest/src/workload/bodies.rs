//! Bodies from files, sent as they are. Of V2 the file is JSON whatever the protocol, and its tensors are put into the
//! protocol's own form.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use weirgate_protocol::{InferRequest, v2};

use super::budget::Budget;
use super::openai::names_model;

/// A file's content, and its name for errors.
#[derive(Clone, Debug)]
pub struct Body {
    pub file: PathBuf,
    pub bytes: Bytes,
}

/// Reads files and folders of files, those in the order of their names. What begins with a dot is left out, and
/// so are folders in them.
pub fn read(paths: &[PathBuf]) -> Result<Vec<Body>, String> {
    let mut budget = Budget::new("give fewer files");
    let mut bodies = Vec::new();
    for path in paths {
        if !path.is_dir() {
            bodies.push(read_one(path, &mut budget)?);
            continue;
        }
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|error| wrong(path, &error))? {
            let entry = entry.map_err(|error| wrong(path, &error))?;
            let path = entry.path();
            if !entry.file_name().as_encoded_bytes().starts_with(b".") && !path.is_dir() {
                files.push(path);
            }
        }
        if files.is_empty() {
            return Err(wrong(path, &"the folder has no files"));
        }
        files.sort();
        for file in files {
            bodies.push(read_one(&file, &mut budget)?);
        }
    }
    Ok(bodies)
}

fn read_one(file: &Path, budget: &mut Budget) -> Result<Body, String> {
    let metadata = std::fs::metadata(file).map_err(|error| wrong(file, &error))?;
    budget.take(metadata.len()).map_err(|why| wrong(file, &why))?;
    let bytes = std::fs::read(file).map_err(|error| wrong(file, &error))?;
    Ok(Body { file: file.to_owned(), bytes: bytes.into() })
}

fn wrong(file: &Path, why: &dyn std::fmt::Display) -> String {
    format!("--body {}: {why}", file.display())
}

impl Body {
    /// The same error with the file's name before it.
    pub fn error(&self, why: impl std::fmt::Display) -> String {
        wrong(&self.file, &why)
    }

    pub fn text(&self) -> Result<&str, String> {
        std::str::from_utf8(&self.bytes).map_err(|_| self.error("is not UTF-8"))
    }

    /// Whether it is a body of OpenAI's that leaves the model out.
    pub fn needs_model(&self) -> bool {
        self.text().and_then(names_model) != Ok(true)
    }

    /// The tensors of V2's JSON.
    pub fn tensors(&self) -> Result<InferRequest, String> {
        v2::decode_request(&self.bytes, None)
            .map_err(|error| self.error(format!("is not a request of V2 in JSON: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_the_order_of_names() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [("b.json", "2"), ("a.json", "1"), (".hidden", "0")] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let bodies = read(&[folder.path().join("b.json"), folder.path().to_owned()]).unwrap();
        assert_eq!(bodies.iter().map(|body| &body.bytes[..]).collect::<Vec<_>>(), [b"2", b"1", b"2"]);
    }

    #[test]
    fn what_can_not_be_read_is_told_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(&[folder.path().to_owned()]).unwrap_err();
        assert!(error.ends_with("the folder has no files"), "{error}");
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        let error = read(&[folder.path().to_owned()]).unwrap_err();
        assert!(error.ends_with("the folder has no files"), "a folder in it is none: {error}");
        assert!(read(&["nowhere.json".into()]).unwrap_err().starts_with("--body nowhere.json: "));
        let body = Body { file: "x.json".into(), bytes: Bytes::from_static(b"{\"inputs\":1}") };
        assert!(body.tensors().unwrap_err().starts_with("--body x.json: is not a request of V2 in JSON: "));
    }
}
