//! What one engine thread owns: a loaded model for each version that is served.

use std::sync::Arc;

use weirgate_models::Model;
use weirgate_protocol::{LoadedModel, ModelSpec, Payload};

/// The versions of a model, the newest first.
pub struct Versions {
    models: Vec<Box<dyn Model>>,
    /// The last call's specification and whether it was pinned, and where that led: as a rule the next call has the same.
    last: Option<(Arc<ModelSpec>, bool, Option<usize>)>,
}

impl Versions {
    /// The versions in this order.
    pub fn new(newest: Box<dyn Model>, older: impl IntoIterator<Item = Box<dyn Model>>) -> Versions {
        Versions { models: std::iter::once(newest).chain(older).collect(), last: None }
    }

    /// What they take and give.
    pub fn loaded(&self) -> LoadedModel {
        let (newest, older) = self.models.split_first().expect("there is a newest one");
        LoadedModel::new(newest.spec().clone(), older.iter().map(|model| model.spec().clone()))
    }

    /// The place of the model that a call is for. A call that did not ask for a version and was checked against one that was
    /// loaded before is the newest one's, if that takes the same. `None`: the call can't be run any more.
    pub(crate) fn place(&mut self, payload: &Payload) -> Option<usize> {
        // The one payload there is; `#[non_exhaustive]` asks for the other arm.
        let Payload::Infer { spec, pinned, .. } = payload else { return None };
        match &self.last {
            Some((last, was_pinned, place)) if Arc::ptr_eq(last, spec) && was_pinned == pinned => *place,
            _ => {
                let place = self.find(spec, *pinned);
                self.last = Some((spec.clone(), *pinned, place));
                place
            }
        }
    }

    fn find(&self, spec: &ModelSpec, pinned: bool) -> Option<usize> {
        if !pinned && self.models[0].spec().takes_calls_of(spec) {
            return Some(0);
        }
        self.models.iter().position(|model| **model.spec() == *spec)
    }

    pub(crate) fn at(&mut self, place: usize) -> &mut dyn Model {
        &mut *self.models[place]
    }
}

impl From<Box<dyn Model>> for Versions {
    fn from(model: Box<dyn Model>) -> Self {
        Versions::new(model, [])
    }
}
