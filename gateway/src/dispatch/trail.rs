//! The servers that had a call for tensors, for its record: its lane notes them, and its caller reads what was noted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use weirgate_router::pool::{Because, Considered};

use super::Lease;
use crate::explain::{self, Attempt, Candidate};
use crate::observe::us;

/// What is noted of one call on its way. A call is handed over a few times at most.
pub struct Trail {
    /// The caller wants to know what its server was picked among.
    asks: bool,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    legs: Vec<Leg>,
    considered: Vec<(Arc<str>, Considered)>,
}

/// A server that has the call, or had it.
struct Leg {
    server: Arc<str>,
    because: Because,
    queued: Duration,
    taken: Instant,
    end: Option<End>,
}

struct End {
    at: Instant,
    outcome: &'static str,
    error: Option<Box<str>>,
}

/// How a leg is told that has not ended when its caller gives up.
const UNFINISHED: &str = "unfinished";

impl Trail {
    pub fn new(asks: bool) -> Arc<Trail> {
        Arc::new(Trail { asks, noted: Mutex::default() })
    }

    /// A server gets the call, which entered its lane at `entered`. `considered`: what it was picked among.
    pub(super) fn begins(
        &self,
        lease: &Lease,
        entered: Instant,
        considered: impl FnOnce() -> Vec<(Arc<str>, Considered)>,
    ) {
        let mut noted = self.noted.lock();
        if self.asks && noted.legs.is_empty() {
            noted.considered = considered();
        }
        let (taken, because) = (lease.taken(), lease.because());
        let queued = taken.saturating_duration_since(entered);
        noted.legs.push(Leg { server: lease.remote().name.clone(), because, queued, taken, end: None });
    }

    /// The server that got it last has it no more.
    pub(super) fn ends(&self, at: Instant, outcome: &'static str, error: Option<&str>) {
        if let Some(leg) = self.noted.lock().legs.last_mut() {
            leg.end = Some(End { at, outcome, error: error.map(Into::into) });
        }
    }

    /// The attempts so far, and what the first server was picked among.
    pub fn told(&self, now: Instant) -> (Vec<Attempt>, Vec<Candidate>) {
        let noted = self.noted.lock();
        let mut served = Duration::ZERO;
        let attempts = noted.legs.iter().map(|leg| {
            let (because, prefix_blocks) = explain::because(leg.because);
            let took = leg.end.as_ref().map_or(now, |end| end.at).saturating_duration_since(leg.taken);
            let queue_us = us(leg.queued.saturating_sub(served));
            served += took;
            Attempt {
                server: leg.server.clone(),
                because,
                prefix_blocks,
                queue_us,
                took_us: us(took),
                outcome: leg.end.as_ref().map_or(UNFINISHED, |end| end.outcome),
                error: leg.end.as_ref().and_then(|end| end.error.clone()),
            }
        });
        let attempts = attempts.collect();
        let considered = noted.considered.iter().map(|(name, seen)| Candidate::new(name.clone(), seen));
        (attempts, considered.collect())
    }
}
