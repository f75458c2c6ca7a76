//! A lane's life: it is bounded, retired, taken back or closed, while calls come, wait and run.
//!
//! A retired lane takes no calls, and what is in it goes on: calls that are being read, that wait and that run. It is
//! closed in the same moment in which it is found empty, so no call can slip in between.

use std::sync::Arc;

use weirgate_router::LaneLimits;

use super::Lane;

/// Whether a lane takes calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// What is in goes on; what comes is routed again.
    Retired,
    /// Retired, empty, and never open again.
    Closed,
}

impl Lane {
    /// Bounds what comes from now on.
    pub fn bound(&self, limits: LaneLimits) {
        self.core.lock().queue.set_limits(limits);
    }

    /// Takes no more calls; those that are held for the model are woken, to be routed again.
    pub fn retire(&self) {
        let mut core = self.core.lock();
        if core.phase == Phase::Open {
            core.phase = Phase::Retired;
        }
        self.show(&core);
        drop(core);
        self.readiness.send_modify(|_| {});
    }

    /// Takes calls again; `false` where the lane is closed.
    pub fn reopen(&self) -> bool {
        let mut core = self.core.lock();
        if core.phase == Phase::Closed {
            return false;
        }
        core.phase = Phase::Open;
        drop(core);
        (self.on_change)();
        true
    }

    /// Waits until the lane is retired, holds nothing and runs nothing. It is closed then, and its courier ends.
    pub async fn drained(self: Arc<Self>) {
        loop {
            // Made before the look, so that what happens in between is not missed.
            let emptied = self.emptied.notified();
            if self.close_if_drained() {
                return;
            }
            emptied.await;
        }
    }

    fn close_if_drained(&self) -> bool {
        let mut core = self.core.lock();
        match core.phase {
            Phase::Closed => return true,
            Phase::Retired if core.is_empty() => {}
            Phase::Open | Phase::Retired => return false,
        }
        core.phase = Phase::Closed;
        self.metrics.replicas(0);
        self.call_courier(true);
        true
    }

    /// Whether calls that come now are taken.
    pub fn takes_calls(&self) -> bool {
        self.core.lock().phase == Phase::Open
    }

    pub(super) fn is_closed(&self) -> bool {
        self.core.lock().phase == Phase::Closed
    }
}
