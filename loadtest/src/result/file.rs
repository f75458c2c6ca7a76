//! Results as files: written at once or not at all, read with a word about what is none.

use std::path::{Path, PathBuf};
use std::{fmt, fs, io};

use serde_json::Value;

use super::{Report, SCHEMA};
use crate::Result;

/// More than any run writes; it keeps a mistaken name from filling the memory.
const LARGEST_FILE: u64 = 256 << 20;

impl Report {
    /// Reads what [`Report::write`] wrote.
    ///
    /// # Errors
    /// If the file can't be read, or is not a result of this layout.
    pub fn read(path: &Path) -> Result<Report> {
        let named = |what: &dyn fmt::Display| crate::error(format!("{}: {what}", path.display()));
        let size = fs::metadata(path).map_err(|error| named(&error))?.len();
        if size > LARGEST_FILE {
            return Err(named(&format_args!("{size} bytes are more than a result has ({LARGEST_FILE})")));
        }
        let bytes = fs::read(path).map_err(|error| named(&error))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| named(&format_args!("not JSON: {error}")))?;
        match value.get("schema").and_then(Value::as_str) {
            Some(SCHEMA) => {}
            Some(other) => {
                let wanted =
                    format_args!("schema '{other}' is not known, only {SCHEMA}: use the version that wrote it");
                return Err(named(&wanted));
            }
            None => return Err(named(&"no 'schema': give a file that `weirgate loadtest --out` wrote")),
        }
        serde_json::from_value(value).map_err(|error| named(&format_args!("damaged: {error}")))
    }

    /// Writes it as JSON; whoever reads the file meanwhile sees the old one or the new one, whole.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut bytes = serde_json::to_vec(self).map_err(crate::error)?;
        bytes.push(b'\n');
        write_whole(path, &bytes)
    }
}

/// Puts a file in place at once. What is no file, as `/dev/stdout`, is written to as it is.
///
/// # Errors
/// If the folder is not there or can't be written to.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        return fs::write(path, bytes).map_err(named);
    }
    let part = part(path);
    fs::write(&part, bytes).and_then(|()| fs::rename(&part, path)).map_err(|error| {
        // It may not even be there; what matters is the first error.
        let _ = fs::remove_file(&part);
        named(error)
    })
}

/// Whether [`write_whole`] could put a file there now.
///
/// # Errors
/// If it is a folder, or its own folder is not there or can't be written to.
pub fn check_writable(path: &Path) -> Result<()> {
    let named = |what: &dyn fmt::Display| crate::error(format!("can't write {}: {what}", path.display()));
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => return Err(named(&"it is a folder")),
        // To open a pipe would be taken for an end.
        Ok(metadata) if !metadata.is_file() => return Ok(()),
        _ => {}
    }
    let part = part(path);
    fs::File::create(&part).and_then(|_| fs::remove_file(&part)).map_err(|error| named(&error))
}

/// Where a file is written until it is whole.
fn part(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        for report in [fixture::streamed(), fixture::sweep(), fixture::ab(), fixture::hostile()] {
            report.write(&path).unwrap();
            let read = Report::read(&path).unwrap();
            assert_eq!(serde_json::to_value(read).unwrap(), serde_json::to_value(&report).unwrap());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no part is left behind");
    }

    #[test]
    fn what_is_no_result_is_told_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.json");
        for (text, part) in [
            ("{", "not JSON"),
            ("[1]", "no 'schema'"),
            (r#"{"schema": "weirgate.dev/loadtest/v9"}"#, "schema 'weirgate.dev/loadtest/v9' is not known"),
            (r#"{"schema": "weirgate.dev/loadtest/v1"}"#, "damaged: missing field"),
        ] {
            fs::write(&path, text).unwrap();
            let error = Report::read(&path).unwrap_err().to_string();
            assert!(error.contains("x.json: ") && error.contains(part), "{text}: {error}");
        }
        assert!(Report::read(&folder.path().join("y.json")).unwrap_err().to_string().contains("y.json"));
    }

    #[test]
    fn whether_a_file_could_be_written_is_known_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.json");
        check_writable(&path).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
        fs::write(&path, "old").unwrap();
        check_writable(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        check_writable(Path::new("/dev/null")).unwrap();
        for (path, part) in
            [(folder.path().to_owned(), "it is a folder"), (folder.path().join("none/run.json"), "none/run.json: ")]
        {
            let error = check_writable(&path).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_told_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = fixture::streamed().write(&folder.path().join("none/run.json")).unwrap_err();
        assert!(error.kind() == io::ErrorKind::NotFound && error.to_string().contains("none/run.json"), "{error}");
    }
}
