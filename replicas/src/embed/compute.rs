//! The embedder, as the executor sees it.

use std::sync::Arc;

use weirgate_models::embed::Embedder;
use weirgate_models::{Interrupt, RunError};

/// Computes vectors.
pub(super) trait Compute: Send {
    /// The vectors of some texts, one after the other.
    fn embed(&mut self, texts: &[&[u32]]) -> Result<&[f32], RunError>;

    /// Stops a run from another thread.
    fn interrupt(&self) -> Arc<dyn Interrupt>;
}

impl Compute for Embedder {
    fn embed(&mut self, texts: &[&[u32]]) -> Result<&[f32], RunError> {
        Embedder::embed(self, texts)
    }

    fn interrupt(&self) -> Arc<dyn Interrupt> {
        Embedder::interrupt(self)
    }
}
