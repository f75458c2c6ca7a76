//! How models lie in folders: one file, or a folder for each version as Triton and KServe have it.
//!
//! | at `storageUri`                        | what is served                             |
//! |----------------------------------------|--------------------------------------------|
//! | `model.onnx`                           | that file, without versions                |
//! | `model.onnx` in a folder               | the one file, without versions             |
//! | `1/model.onnx`, `2/model.onnx`         | version 2, or what `config.pbtxt` asks for |
//! | `NAME/1/model.onnx` (a repository)     | the same, of the folder with the service's name, or of the only folder |

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::LoadError;
use crate::model_config::ModelConfig;
use crate::storage;

/// One version of a model, and its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The name of its folder; none where the model has no versions.
    pub name: Option<Arc<str>>,
    pub file: PathBuf,
}

/// The versions of the model at `location` that are to be served, the newest first; at least one. Model files end in
/// `.{extension}`.
pub fn versions(location: &Path, model: &str, extension: &str) -> Result<Vec<Version>, LoadError> {
    let whole = || Ok(vec![Version { name: None, file: storage::find(location, extension)? }]);
    if !location.is_dir() || holds_files(location, extension) {
        return whole();
    }
    let Some((folder, numbers)) = numbered(location, model)? else { return whole() };
    let config = ModelConfig::of(&folder)?;
    config.warn(model, &folder);
    let chosen =
        config.version_policy.choose(&numbers).map_err(|error| LoadError(format!("{}: {error}", folder.display())))?;
    let version = |number: u64| -> Result<Version, LoadError> {
        let name = number.to_string();
        let file = storage::find_only(&folder.join(&name), extension)
            .map_err(|error| LoadError(format!("version {name}: {error}")))?;
        Ok(Version { file, name: Some(name.into()) })
    };
    chosen.into_iter().map(version).collect()
}

/// The folder that holds version folders, and their numbers, the newest first: this one, or that of the model in it.
fn numbered(location: &Path, model: &str) -> Result<Option<(PathBuf, Vec<u64>)>, LoadError> {
    let folders = folders(location)?;
    let numbers = numbers(&folders);
    if !numbers.is_empty() {
        return Ok(Some((location.to_owned(), numbers)));
    }
    let visible: Vec<_> = folders.iter().filter(|name| !name.starts_with('.')).collect();
    let own = match visible.as_slice() {
        [only] => Some(*only),
        several => several.iter().copied().find(|name| *name == model),
    };
    let Some(own) = own else {
        return if visible.is_empty() {
            Ok(None)
        } else {
            Err(LoadError(format!(
                "folder {} holds {} folders, and none of them is a version (1, 2, …) or named '{model}': point storageUri at \
                 one of them",
                location.display(),
                visible.len()
            )))
        };
    };
    let folder = location.join(own);
    let numbers = self::numbers(&self::folders(&folder)?);
    if numbers.is_empty() {
        return Err(LoadError(format!(
            "folder {} holds no version folder (1, 2, …): point storageUri at the model file or its folder",
            folder.display()
        )));
    }
    Ok(Some((folder, numbers)))
}

/// Triton's rule: a number that does not begin with 0. Every other folder is something else.
fn numbers(folders: &[String]) -> Vec<u64> {
    let number = |name: &String| name.parse::<u64>().ok().filter(|number| *number > 0 && number.to_string() == *name);
    let mut numbers: Vec<u64> = folders.iter().filter_map(number).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    numbers
}

fn folders(location: &Path) -> Result<Vec<String>, LoadError> {
    let entries = std::fs::read_dir(location)
        .map_err(|error| LoadError(format!("folder {} can't be read: {error}", location.display())))?;
    let names = entries.filter_map(Result::ok).filter(|entry| entry.path().is_dir());
    Ok(names.filter_map(|entry| entry.file_name().into_string().ok()).collect())
}

fn holds_files(location: &Path, extension: &str) -> bool {
    std::fs::read_dir(location).is_ok_and(|entries| {
        entries
            .filter_map(Result::ok)
            .any(|entry| entry.path().extension().is_some_and(|found| found == extension) && entry.path().is_file())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Folder {
            let root = std::env::temp_dir().join(format!("weirgate-versions-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&root).unwrap();
            for (file, text) in files {
                let path = root.join(file);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            Folder(root)
        }

        fn versions(&self, model: &str) -> Result<Vec<(Option<String>, String)>, String> {
            let shown = |version: Version| {
                let file = version.file.strip_prefix(&self.0).unwrap().display().to_string();
                (version.name.map(|name| name.to_string()), file)
            };
            let found = versions(&self.0, model, "onnx");
            found.map(|found| found.into_iter().map(shown).collect()).map_err(|error| error.0)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn version(name: &str, file: &str) -> (Option<String>, String) {
        (Some(name.to_owned()), file.to_owned())
    }

    #[test]
    fn the_newest_version_is_served_and_its_number_counts_as_a_number() {
        let files = [("9/model.onnx", ""), ("10/model.onnx", ""), ("02/model.onnx", ""), ("old/model.onnx", "")];
        let folder = Folder::new("newest", &files);
        assert_eq!(folder.versions("m"), Ok(vec![version("10", "10/model.onnx")]));
    }

    #[test]
    fn the_version_policy_chooses_others() {
        let files = [
            ("1/a.onnx", ""),
            ("2/b.onnx", ""),
            ("3/c.onnx", ""),
            ("config.pbtxt", "version_policy: { latest { num_versions: 2 } }"),
        ];
        let folder = Folder::new("policy", &files);
        assert_eq!(folder.versions("m"), Ok(vec![version("3", "3/c.onnx"), version("2", "2/b.onnx")]));
    }

    #[test]
    fn a_config_that_is_garbage_is_named_with_the_place() {
        let folder = Folder::new("garbage", &[("1/a.onnx", ""), ("config.pbtxt", "name: 'a'\n}}} not a config")]);
        let error = folder.versions("m").unwrap_err();
        assert!(error.contains("config.pbtxt: line 2: expected the name of a field, found '}'"), "{error}");
    }

    #[test]
    fn a_repository_is_looked_into() {
        let folder = Folder::new("repository", &[("m/1/model.onnx", ""), ("n/4/model.onnx", "")]);
        assert_eq!(folder.versions("n"), Ok(vec![version("4", "n/4/model.onnx")]));
        let error = folder.versions("other").unwrap_err();
        assert!(error.contains("named 'other'"), "{error}");
        let only = Folder::new("only", &[("m/1/model.onnx", "")]);
        assert_eq!(only.versions("other"), Ok(vec![version("1", "m/1/model.onnx")]));
    }

    #[test]
    fn without_version_folders_there_are_no_versions() {
        let folder = Folder::new("plain", &[("model.onnx", ""), ("1/model.onnx", "")]);
        assert_eq!(folder.versions("m"), Ok(vec![(None, "model.onnx".to_owned())]));
        assert!(Folder::new("empty", &[("notes.txt", "")]).versions("m").unwrap_err().contains("holds no .onnx file"));
        let bare = Folder::new("bare", &[("m/model.bin", "")]);
        assert!(bare.versions("m").unwrap_err().contains("holds no version folder"));
    }

    #[test]
    fn an_empty_version_folder_is_named() {
        let error = Folder::new("hollow", &[("4/notes.txt", "")]).versions("m").unwrap_err();
        assert!(error.starts_with("version 4: folder ") && error.ends_with("4 holds no .onnx file"), "{error}");
    }
}
