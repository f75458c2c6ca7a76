//! Credits: how much a replica will take. A lane hands over what was granted and never guesses.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use weirgate_replicas_core::BatchPolicy;

/// What may be handed over now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Nothing: the replica is busy, loading or leaving.
    Nothing,
    /// One batch within this policy.
    Batch(BatchPolicy),
}

/// The holder of a replica's credits. In this process one stands beside each engine; a remote replica's will be filled by
/// what its server grants to this gateway.
pub trait Credits: Send + Sync {
    fn grant(&self) -> Grant;
}

/// Rows of a batch where the manifest's `batcher` does not say; KServe's own default.
pub const DEFAULT_MAX_ROWS: usize = 32;

/// The credits of one engine thread: one batch whenever it is free. Nothing is handed over ahead: pulling from a lane of
/// the same process takes a microsecond, and a call that waits in the lane can still go to whoever is free first.
#[derive(Debug)]
pub struct LocalCredits {
    free: AtomicBool,
    max_rows: AtomicUsize,
    max_calls: usize,
    linger: Duration,
}

impl LocalCredits {
    pub fn new(
        max_rows: Option<NonZeroUsize>,
        container_concurrency: Option<NonZeroUsize>,
        linger: Option<Duration>,
    ) -> Self {
        LocalCredits {
            free: AtomicBool::new(false),
            max_rows: AtomicUsize::new(max_rows.map_or(DEFAULT_MAX_ROWS, NonZeroUsize::get)),
            max_calls: container_concurrency.map_or(usize::MAX, NonZeroUsize::get),
            linger: linger.unwrap_or_default(),
        }
    }

    /// What one batch may hold.
    pub(crate) fn policy(&self) -> BatchPolicy {
        let max_rows = self.max_rows.load(Ordering::Acquire);
        BatchPolicy { max_rows, max_calls: self.max_calls, linger: self.linger }
    }

    pub(crate) fn set_free(&self, free: bool) {
        self.free.store(free, Ordering::Release);
    }

    /// From now on every call runs alone.
    pub(crate) fn stop_batching(&self) {
        self.max_rows.store(1, Ordering::Release);
    }
}

impl Credits for LocalCredits {
    fn grant(&self) -> Grant {
        if !self.free.load(Ordering::Acquire) {
            return Grant::Nothing;
        }
        Grant::Batch(self.policy())
    }
}
