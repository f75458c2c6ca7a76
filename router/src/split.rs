//! How calls that ask for no revision are spread over those that take traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A service's count of calls. It outlives the route tables it is part of, so that a new table goes on where the last
/// one was.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<AtomicU64>);

impl Turns {
    /// The number of this call.
    pub fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}
