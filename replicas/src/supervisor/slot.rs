//! The place of one replica: who serves, and who is loading to serve next.

use std::sync::Arc;
use std::time::Instant;

use weirgate_protocol::LoadedModel;
use weirgate_replicas_core::RestartPolicy;

use crate::kind::Started;
use crate::remote::Remote;
use crate::replica::Failure;

#[derive(Default)]
pub(super) struct Slot {
    /// Which of the set's places it is, from 0.
    pub place: usize,
    pub serving: Option<Handle>,
    pub loading: Option<Handle>,
    pub policy: RestartPolicy,
    pub start_at: Option<Instant>,
    /// Why nobody serves here, and the how manieth failure of the set it is.
    pub failure: Option<(u64, Failure)>,
    /// Why whoever starts here is not ready yet, or what became of the one before it.
    pub waits_for: Option<Failure>,
}

/// A replica that was started.
pub(super) struct Handle {
    pub id: u64,
    pub replica: Arc<dyn Started>,
    /// The [`Wanted::load`](super::Wanted::load) that it loads by.
    pub load: u64,
    /// What it takes and gives, once it has loaded.
    pub model: Option<Arc<LoadedModel>>,
    /// The server behind it, as long as calls are passed to that.
    pub remote: Option<Arc<Remote>>,
}

impl Slot {
    pub fn is_serving(&self, id: u64) -> bool {
        self.serving.as_ref().is_some_and(|handle| handle.id == id)
    }

    pub fn is_loading(&self, id: u64) -> bool {
        self.loading.as_ref().is_some_and(|handle| handle.id == id)
    }

    pub fn handles(&self) -> impl Iterator<Item = &Handle> {
        [&self.serving, &self.loading].into_iter().flatten()
    }
}
