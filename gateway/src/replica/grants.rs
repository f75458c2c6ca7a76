//! What gateways are granted: a stream for each, with a line for every change.
//!
//! An engine has one batch running and the next one waiting: then it never waits for a gateway, and a call that would wait
//! here longer can still go to another replica. Gateways share that alike, and each has one slot at least.

use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};
use weirgate_replicas::remote::credits::{Credit, KEEP_ALIVE, State};

use crate::dispatch::{Lane, Readiness};
use crate::gateway::Gateway;

/// Batches that are granted for each engine: one runs, one waits.
const BATCHES: usize = 2;
/// What of a reason fits into a line, whatever of it must be escaped.
const LONGEST_REASON: usize = 600;

/// The grants of one lane.
pub struct Grants {
    gateway: Arc<Gateway>,
    lane: Arc<Lane>,
    /// Calls that an engine may hold unfinished; none: no limit.
    concurrency: Option<NonZeroUsize>,
    /// Gateways that are connected.
    gateways: watch::Sender<usize>,
}

impl Grants {
    pub fn new(gateway: Arc<Gateway>, lane: Arc<Lane>, concurrency: Option<NonZeroUsize>) -> Arc<Grants> {
        Arc::new(Grants { gateway, lane, concurrency, gateways: watch::Sender::new(0) })
    }

    /// The stream of one more gateway, which counts until it ends.
    pub fn stream(self: &Arc<Self>) -> Response {
        let stream = Stream::new(self.clone());
        let lines = stream::unfold(stream, |mut stream| async move {
            let line = stream.next().await?;
            Some((Ok::<Bytes, Infallible>(line), stream))
        });
        let mut response = Response::new(Body::from_stream(lines));
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        response
    }

    /// What each gateway has at the moment.
    fn credit(&self) -> Credit {
        let nothing = |state, reason| Credit { slots: 0, state, reason };
        if self.gateway.is_draining() {
            return nothing(State::Draining, None);
        }
        match self.lane.readiness() {
            Readiness::Loading => nothing(State::Loading, None),
            Readiness::Failed(reason) => nothing(State::Failed, Some(reason.chars().take(LONGEST_REASON).collect())),
            Readiness::Ready(_) if self.lane.passes() => {
                // An engine of texts says itself how many calls it takes.
                let slots = (self.lane.slots() / (*self.gateways.borrow()).max(1)).max(1);
                Credit { slots, state: State::Ready, reason: None }
            }
            Readiness::Ready(model) => {
                let batching = self.lane.batching();
                let (rows, engines) = batching.map_or((1, 1), |batching| (batching.max_rows, batching.replicas));
                let calls = if model.newest().batchable() { rows } else { 1 };
                let slots = share(engines, calls, self.concurrency, *self.gateways.borrow());
                Credit { slots, state: State::Ready, reason: None }
            }
        }
    }
}

/// A gateway's part of what so many engines take, whose batches hold so many calls each.
fn share(engines: usize, calls: usize, concurrency: Option<NonZeroUsize>, gateways: usize) -> usize {
    let each = calls.saturating_mul(BATCHES).min(concurrency.map_or(usize::MAX, NonZeroUsize::get));
    (engines.saturating_mul(each) / gateways.max(1)).max(1)
}

/// The stream of one gateway.
struct Stream {
    grants: Arc<Grants>,
    /// Of readiness, and of draining.
    changes: watch::Receiver<u64>,
    gateways: watch::Receiver<usize>,
    keep_alive: Interval,
    last: Option<Credit>,
}

impl Stream {
    fn new(grants: Arc<Grants>) -> Stream {
        grants.gateways.send_modify(|gateways| *gateways += 1);
        let (changes, gateways) = (grants.gateway.watch_changes(), grants.gateways.subscribe());
        let mut keep_alive = interval(KEEP_ALIVE);
        keep_alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Stream { grants, changes, gateways, keep_alive, last: None }
    }

    /// The next line; `None` behind the one that says it drains.
    async fn next(&mut self) -> Option<Bytes> {
        if self.last.as_ref().is_some_and(|last| last.state == State::Draining) {
            return None;
        }
        let mut again = false;
        loop {
            let credit = self.grants.credit();
            if again || self.last.as_ref() != Some(&credit) {
                let mut line = serde_json::to_vec(&credit).ok()?;
                line.push(b'\n');
                self.last = Some(credit);
                return Some(line.into());
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                changed = self.gateways.changed() => changed.ok()?,
                // What engines take changes without a word, too.
                _ = self.keep_alive.tick() => again = true,
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.grants.gateways.send_modify(|gateways| *gateways -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gateways_share_what_engines_take_and_each_has_something() {
        assert_eq!(share(1, 32, None, 1), 64);
        assert_eq!(share(1, 32, None, 3), 21);
        assert_eq!(share(2, 32, None, 1), 128);
        assert_eq!(share(1, 1, None, 1), 2, "one runs, one waits");
        assert_eq!(share(1, 32, NonZeroUsize::new(1), 1), 1);
        assert_eq!(share(2, 32, NonZeroUsize::new(3), 1), 6);
        assert_eq!(share(1, 1, None, 10), 1);
        assert_eq!(share(1, 32, None, 0), 64);
    }
}
