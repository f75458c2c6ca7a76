//! Puts a load on a server: threads with connections of their own, each driving its share of the arrivals.
//!
//! An [`Engine`] keeps its threads and connections from run to run, so that rounds of an A/B test and points of a sweep
//! do not pay for opening them. Nothing is in flight between runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::Result;
use crate::arrivals::Arrivals;
use crate::client::Client;
use crate::result::{Run, Window};
use crate::slo::Slo;
use crate::workload::Workload;

/// What stays the same over all runs.
#[derive(Clone)]
pub struct Setup {
    pub client: Client,
    pub workload: Arc<Workload>,
    /// Threads that send; each has a runtime of its own.
    pub threads: usize,
    /// Most requests in flight at once in an open loop. A closed loop has as many as it has callers.
    pub most_in_flight: usize,
    /// Most connections; HTTP/1.1 needs one for each request in flight. None: for HTTP/2 one per thread.
    pub connections: Option<usize>,
    /// From when a request is due.
    pub timeout: Duration,
    /// Which limits make an answer a good one.
    pub slo: Option<Slo>,
    pub stop: Stop,
}

/// How requests are timed.
#[derive(Clone, Debug)]
pub enum Load {
    /// Each caller sends its next request when it has the answer to the one before, and has thought.
    Closed { callers: usize, think: Duration },
    /// Requests are due at their times, whatever became of those before.
    Open(Arrivals),
}

/// How long a run is.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    pub warmup: Warmup,
    /// Measured, after the warm-up.
    pub until: Until,
}

#[derive(Clone, Copy, Debug)]
pub enum Warmup {
    For(Duration),
    /// Until rate and median latency of three windows agree, at most this long.
    Steady {
        at_most: Duration,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum Until {
    After(Duration),
    /// This many were due, or sent in a closed loop.
    Requests(u64),
    /// The arrivals have an end of their own.
    End,
}

/// Ends a run early; what was measured until then is reported.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Who follows a run as it goes.
pub trait Observer {
    /// A run begins.
    fn begins(&mut self, run: &Begin<'_>);
    /// A window has ended. `done` is the share of the whole run that is over, where that is known.
    fn window(&mut self, window: &Window, done: Option<f64>);
    /// The run is over.
    fn ends(&mut self, run: &Run);
}

/// What is about to run.
#[derive(Clone, Copy, Debug)]
pub struct Begin<'a> {
    /// What the load is, in words.
    pub what: &'a str,
    /// Where it stands among several, as `a, round 2 of 5` or `point 3`.
    pub label: Option<&'a str>,
}

/// Threads with connections to one server.
pub struct Engine {
    setup: Setup,
}

impl Engine {
    pub fn start(setup: Setup) -> Result<Engine> {
        Ok(Engine { setup })
    }

    /// One run, which blocks until its last answer or time-out.
    pub fn run(&mut self, load: &Load, span: &Span, label: Option<&str>, observer: &mut dyn Observer) -> Result<Run> {
        let _ = (load, span, label, observer, &self.setup);
        Err(crate::error("the engine is not built yet"))
    }
}
