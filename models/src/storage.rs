//! Finds the model file of a local path: the file itself, or the one model in a folder.

use std::path::{Path, PathBuf};

use crate::model::LoadError;

/// The one file ending in `.{extension}` that `location` means.
pub fn find(location: &Path, extension: &str) -> Result<PathBuf, LoadError> {
    let shown = location.display();
    let metadata = std::fs::metadata(location)
        .map_err(|error| LoadError(format!("{shown} can't be read: {error}: check storageUri")))?;
    if metadata.is_file() {
        return Ok(location.to_owned());
    }
    let entries =
        std::fs::read_dir(location).map_err(|error| LoadError(format!("folder {shown} can't be read: {error}")))?;
    let mut models: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file() && path.extension().is_some_and(|found| found == extension))
        .collect();
    models.sort();
    match models.as_slice() {
        [model] => Ok(model.clone()),
        [] => Err(LoadError(format!("folder {shown} holds no .{extension} file: point storageUri at one"))),
        many => {
            let names: Vec<_> = many.iter().filter_map(|path| path.file_name()?.to_str()).take(8).collect();
            Err(LoadError(format!(
                "folder {shown} holds {} .{extension} files ({}): point storageUri at one of them",
                many.len(),
                names.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_must_hold_one_model() {
        let folder = std::env::temp_dir().join(format!("weirgate-storage-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(find(&folder, "onnx").unwrap_err().0.contains("holds no .onnx file"));
        std::fs::write(folder.join("a.onnx"), b"").unwrap();
        std::fs::write(folder.join("notes.txt"), b"").unwrap();
        assert_eq!(find(&folder, "onnx").unwrap(), folder.join("a.onnx"));
        assert_eq!(find(&folder.join("notes.txt"), "onnx").unwrap(), folder.join("notes.txt"));
        std::fs::write(folder.join("b.onnx"), b"").unwrap();
        assert!(find(&folder, "onnx").unwrap_err().0.contains("holds 2 .onnx files (a.onnx, b.onnx)"));
        assert!(find(&folder.join("none"), "onnx").is_err());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
