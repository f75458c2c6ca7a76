//! What one engine thread owns: a loaded model for each version that is served.

use std::sync::Arc;

use weirgate_models::Model;
use weirgate_protocol::{LoadedModel, Payload};

/// The versions of a model, the newest first.
pub struct Versions {
    newest: Box<dyn Model>,
    older: Vec<Box<dyn Model>>,
}

impl Versions {
    /// The versions in this order.
    pub fn new(newest: Box<dyn Model>, older: Vec<Box<dyn Model>>) -> Versions {
        Versions { newest, older }
    }

    /// What they take and give.
    pub fn loaded(&self) -> LoadedModel {
        LoadedModel::new(self.newest.spec().clone(), self.older.iter().map(|model| model.spec().clone()))
    }

    /// The model that a call is for. A call that did not ask for a version and was checked against one that was loaded
    /// before is the newest one's, if that takes the same. `None`: the call can't be run any more.
    pub(crate) fn of(&mut self, payload: &Payload) -> Option<&mut dyn Model> {
        // The one payload there is; `#[non_exhaustive]` asks for the other arm.
        let Payload::Infer { spec, pinned, .. } = payload else { return None };
        let is = |model: &dyn Model| Arc::ptr_eq(model.spec(), spec) || model.spec() == spec;
        if is(&*self.newest) || (!pinned && self.newest.spec().takes_calls_of(spec)) {
            return Some(&mut *self.newest);
        }
        let older = self.older.iter_mut().find(|model| is(&***model))?;
        Some(&mut **older)
    }
}

impl From<Box<dyn Model>> for Versions {
    fn from(model: Box<dyn Model>) -> Self {
        Versions::new(model, Vec::new())
    }
}
