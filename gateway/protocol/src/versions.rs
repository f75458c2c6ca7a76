//! The versions of a model that are loaded.

use std::sync::Arc;

use crate::error::{Error, Result, Shown};
use crate::model::ModelSpec;

/// Every version of a model that is loaded, the newest first. A model without versions is one that has no name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedModel {
    newest: Arc<ModelSpec>,
    older: Box<[Arc<ModelSpec>]>,
}

impl LoadedModel {
    /// The versions in this order; the first is the one that answers where none is asked for.
    pub fn new(newest: Arc<ModelSpec>, older: impl IntoIterator<Item = Arc<ModelSpec>>) -> LoadedModel {
        LoadedModel { newest, older: older.into_iter().collect() }
    }

    /// What answers where no version is asked for.
    pub fn newest(&self) -> &Arc<ModelSpec> {
        &self.newest
    }

    pub fn specs(&self) -> impl Iterator<Item = &Arc<ModelSpec>> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    /// The names of the versions, counting up; empty where the model has none.
    pub fn versions(&self) -> Vec<&str> {
        let mut versions: Vec<_> = self.specs().filter_map(|spec| spec.version.as_deref()).collect();
        // Names are whole numbers without zeros at their begin, so that the longer one is the larger one.
        versions.sort_unstable_by_key(|version| (version.len(), *version));
        versions
    }

    /// Whether a version is served; an empty text asks for none, which is.
    pub fn serves(&self, asked: &str) -> bool {
        asked.is_empty() || self.specs().any(|spec| spec.version.as_deref() == Some(asked))
    }

    /// The version that is asked for; an empty text asks for none.
    pub fn version(&self, asked: &str) -> Result<&Arc<ModelSpec>> {
        if asked.is_empty() {
            return Ok(&self.newest);
        }
        self.specs().find(|spec| spec.version.as_deref() == Some(asked)).ok_or_else(|| {
            let asked = Shown(asked);
            let versions = self.versions();
            Error::not_found(if versions.is_empty() {
                format!("version '{asked}' is not served: the model has no version folders, so ask for no version")
            } else {
                format!("version '{asked}' is not served: the model's versions are {}", versions.join(", "))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(version: Option<&str>) -> Arc<ModelSpec> {
        Arc::new(ModelSpec {
            version: version.map(Arc::from),
            platform: "test",
            inputs: Vec::new(),
            outputs: Vec::new(),
            pads: false,
        })
    }

    #[test]
    fn the_newest_answers_unless_another_is_asked_for() {
        let model = LoadedModel::new(spec(Some("10")), [spec(Some("9"))]);
        assert_eq!(model.versions(), ["9", "10"]);
        assert!(model.serves("") && model.serves("10") && !model.serves("1"));
        assert_eq!(model.version("").unwrap(), model.newest());
        assert_eq!(model.version("9").unwrap().version.as_deref(), Some("9"));
        let error = model.version("1").unwrap_err();
        assert_eq!(error.message(), "version '1' is not served: the model's versions are 9, 10");
    }

    #[test]
    fn a_model_without_versions_has_none_to_ask_for() {
        let model = LoadedModel::new(spec(None), []);
        assert!(model.versions().is_empty());
        assert!(model.version("1").unwrap_err().message().contains("ask for no version"));
    }
}
