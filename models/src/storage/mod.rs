//! Where models lie. [`find`] finds the model file of a local path: the file itself, or the one model in a folder. What a URL
//! names is brought here by [`Store`] first.

mod allowed;
mod archive;
mod client;
mod entry;
mod progress;
mod room;
mod source;
mod store;
mod transfer;

use std::path::{Path, PathBuf};

pub use allowed::UrlPrefix;
pub use source::{Place, Source};
pub use store::{Copy, Hold, Store, StoreConfig};

use crate::model::LoadError;

/// The one file ending in `.{extension}` that `location` means.
pub fn find(location: &Path, extension: &str) -> Result<PathBuf, LoadError> {
    let shown = location.display();
    let metadata = std::fs::metadata(location)
        .map_err(|error| LoadError(format!("{shown} can't be read: {error}: check storageUri")))?;
    if metadata.is_file() {
        return Ok(location.to_owned());
    }
    find_only(location, extension).map_err(|LoadError(text)| LoadError(format!("{text}: point storageUri at one")))
}

/// The one file ending in `.{extension}` in a folder.
pub(crate) fn find_only(folder: &Path, extension: &str) -> Result<PathBuf, LoadError> {
    let shown = folder.display();
    let entries =
        std::fs::read_dir(folder).map_err(|error| LoadError(format!("folder {shown} can't be read: {error}")))?;
    let mut models: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.is_file() && path.extension().is_some_and(|found| found == extension))
        .collect();
    models.sort();
    match models.as_slice() {
        [model] => Ok(model.clone()),
        [] => Err(LoadError(format!("folder {shown} holds no .{extension} file"))),
        many => {
            let names: Vec<_> = many.iter().filter_map(|path| path.file_name()?.to_str()).take(8).collect();
            let names = names.join(", ");
            Err(LoadError(format!("folder {shown} holds {} .{extension} files ({names})", many.len())))
        }
    }
}

/// Refuses a location outside of `roots`, wherever its links lead. No roots: every location is allowed.
pub fn check_within(location: &Path, roots: &[PathBuf]) -> Result<(), LoadError> {
    if roots.is_empty() {
        return Ok(());
    }
    let real = std::fs::canonicalize(location)
        .map_err(|error| LoadError(format!("{} can't be read: {error}: check storageUri", location.display())))?;
    let inside = |root: &PathBuf| std::fs::canonicalize(root).is_ok_and(|root| real.starts_with(root));
    if roots.iter().any(inside) {
        return Ok(());
    }
    let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
    Err(LoadError(format!(
        "{} lies outside of the folders that models may come from: {} (flag --model-root)",
        real.display(),
        roots.join(", ")
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_nowhere_else() {
        let folder = std::env::temp_dir().join(format!("weirgate-roots-{}", std::process::id()));
        let (inside, outside) = (folder.join("models"), folder.join("other"));
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(outside.join("a.onnx"), b"").unwrap();
        std::fs::write(inside.join("a.onnx"), b"").unwrap();
        let _ = std::os::unix::fs::symlink(outside.join("a.onnx"), inside.join("link.onnx"));
        let roots = [inside.clone()];
        assert!(check_within(&inside.join("a.onnx"), &roots).is_ok());
        for other in [inside.join("link.onnx"), inside.join("../other/a.onnx"), outside.join("a.onnx")] {
            let error = check_within(&other, &roots).unwrap_err().0;
            assert!(error.contains("lies outside") && error.contains("--model-root"), "{error}");
            assert!(check_within(&other, &[]).is_ok());
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

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
