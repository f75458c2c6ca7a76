//! A lane's courier: the one task that delivers answers, wakes idle engines, and has servers execute batches.

use std::sync::Arc;
use std::time::Instant;

use tokio::task::JoinSet;
use weirgate_replicas::Finished;

use super::Lane;
use super::feed::candidates;
use super::lane::{Core, Engine};
use super::remotes::Batch;

impl Lane {
    /// Delivers answers and wakes idle replicas, both in bulk: that is what keeps a call's share of thread switches small.
    /// Ends when the lane is closed.
    ///
    /// A replica is woken only after the other connections that are ready have had their turn, so calls that arrive
    /// together are seen together. Waking it with the first of them would have it run a batch of one while the rest are
    /// still being read. For a lone call the turn comes at once.
    pub async fn courier(self: Arc<Self>) {
        let mut batches = JoinSet::new();
        loop {
            self.called().await;
            // Asked before the answers are taken: a closed lane gets no more of them.
            let closed = self.is_closed();
            let finished = std::mem::take(&mut *self.finished.lock());
            for finished in finished {
                finished.deliver();
            }
            if closed {
                return;
            }
            if self.core.lock().calls_to_show() > 0 {
                tokio::task::yield_now().await;
                let awake = self.core.lock().wake(Instant::now());
                for engine in awake {
                    engine.0.notify();
                }
            }
            self.hand_out(self.core.lock(), Instant::now());
            // Those that have ended.
            while batches.try_join_next().is_some() {}
            for batch in std::mem::take(&mut *self.batches.lock()) {
                batches.spawn(self.clone().execute(batch));
            }
        }
    }

    /// Waits until there is something to do, or servers are to be looked at again.
    async fn called(&self) {
        let again = self.core.lock().looks_again();
        match again {
            None => self.courier.notified().await,
            // Whether it was called or the time has come is all the same.
            Some(again) => drop(tokio::time::timeout_at(again.into(), self.courier.notified()).await),
        }
    }

    /// Has a server execute a batch, and leaves the answers to the courier.
    async fn execute(self: Arc<Self>, batch: Batch) {
        let Batch { mut lease, jobs, bytes, reason } = batch;
        self.metrics.closed(reason);
        let error = weirgate_protocol::Error::unsupported("not built");
        let finished: Vec<_> = jobs.into_iter().map(|job| job.finish(Err(error.clone()))).collect();
        let mut core = self.core.lock();
        self.answer(&mut core, finished);
        drop(core);
        drop(lease);
    }

    /// Leaves answers to the courier. The caller holds the core's lock, so that a lane that is found empty has none left.
    pub(super) fn answer(&self, _: &mut Core, finished: impl IntoIterator<Item = Finished>) {
        self.finished.lock().extend(finished);
        self.call_courier(true);
    }
}

impl Core {
    fn wake(&mut self, now: Instant) -> Vec<Engine> {
        self.dispatch.wake(now, self.queue.waiting(), || candidates(&self.queue))
    }
}
