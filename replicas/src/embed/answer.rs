//! What a caller gets: a vector for each text, and what it was.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use weirgate_protocol::{Error, Result};
use weirgate_replicas_core::embedding::CallId;

use super::shared::Shared;

/// The vectors of a call's texts.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedded {
    /// Those of all texts, one after the other, in the call's order.
    pub values: Vec<f32>,
    /// Values of each.
    pub dimensions: usize,
    /// Tokens of all texts.
    pub tokens: usize,
    pub timing: EmbedTiming,
}

impl Embedded {
    /// The vectors, in the call's order.
    pub fn vectors(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.values.chunks_exact(self.dimensions.max(1))
    }
}

/// Where a call's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbedTiming {
    /// From its arrival to the first run that had a text of it; none where it never got there.
    pub queue: Option<Duration>,
    /// From its arrival to its end.
    pub total: Duration,
    /// Runs that had a text of it.
    pub runs: u32,
}

/// A call that is under way. Dropping it takes the call out.
pub struct Embedding {
    pub(super) shared: Arc<Shared>,
    pub(super) call: CallId,
    pub(super) answer: oneshot::Receiver<Result<Embedded>>,
}

impl Embedding {
    /// The vectors, once all are there. Waiting may be given up and begun again, until there was an answer.
    pub async fn answer(&mut self) -> Result<Embedded> {
        let gone = |_| Err(Error::engine("the engine went away while it held the call"));
        (&mut self.answer).await.unwrap_or_else(gone)
    }
}

impl Drop for Embedding {
    fn drop(&mut self) {
        self.shared.cancel(self.call);
    }
}
