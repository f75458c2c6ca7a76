//! Puts a load on a server: threads with connections of their own, each driving its share of the arrivals.
//!
//! An [`Engine`] keeps its threads and connections from run to run, so that rounds of an A/B test and points of a sweep
//! do not pay for opening them. Nothing is in flight between runs.
//!
//! Threads share nothing while they send but the schedule, which changes once, and the channel by which they
//! tell of their windows.
//!
//! ```text
//! load      how requests are timed, and how long
//! run       one run: parts for the threads, then their windows and totals to a result
//! schedule  what the threads of a run share
//! worker    a thread
//! open      arrivals when they are due
//! closed    callers in turn
//! share     a thread's share of the arrivals
//! lobby     where arrivals and senders meet
//! sender    a connection, and a request at a time
//! links     connections, kept from run to run
//! clock     waiting for an instant, exactly
//! alarm     a time limit that costs next to nothing
//! ```

mod alarm;
mod clock;
mod closed;
mod links;
mod load;
mod lobby;
mod open;
mod run;
mod schedule;
mod sender;
mod share;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use humantime::format_duration;
use tokio::sync::mpsc;

pub use self::load::{Load, Span, Until, Warmup};
use self::worker::Job;
use crate::Result;
use crate::client::Client;
use crate::result::{Run, Window};
use crate::slo::Slo;
use crate::workload::Workload;

/// The longest that a request may take: what a histogram tells apart.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(3_600);

/// What stays the same over all runs.
#[derive(Clone)]
pub struct Setup {
    pub client: Client,
    pub workload: Arc<Workload>,
    /// Threads that send, of HTTP/2 at most as many as connections; each has a runtime of its own.
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

/// Threads with connections to one server. Dropping it ends them.
pub struct Engine {
    setup: Setup,
    threads: Vec<Thread>,
}

struct Thread {
    jobs: mpsc::Sender<Job>,
    handle: JoinHandle<()>,
}

impl Engine {
    /// Starts the threads. Connections are opened when a run needs them.
    pub fn start(setup: Setup) -> Result<Engine> {
        if setup.threads == 0 || setup.most_in_flight == 0 {
            return Err(crate::error("to send anything takes a thread and a request in flight"));
        }
        if setup.timeout.is_zero() || setup.timeout > LONGEST_TIMEOUT {
            let (given, most) = (format_duration(setup.timeout), format_duration(LONGEST_TIMEOUT));
            return Err(crate::error(format!("a timeout of {given} is not above 0 and at most {most}")));
        }
        let setup = Setup { threads: threads(&setup), ..setup };
        let mut engine = Engine { threads: Vec::with_capacity(setup.threads), setup };
        for number in 0..engine.setup.threads {
            let thread = Thread::start(number, &engine.setup)?;
            engine.threads.push(thread);
        }
        Ok(engine)
    }

    /// One run, which blocks until its last answer or time-out.
    ///
    /// Of closed loops: a request is due when its caller is free, so `from_sent` and `latency` are nearly the same.
    pub fn run(&mut self, load: &Load, span: &Span, label: Option<&str>, observer: &mut dyn Observer) -> Result<Run> {
        run::run(&self.setup, &self.threads, load, span, label, observer)
    }
}

impl Thread {
    fn start(number: usize, setup: &Setup) -> Result<Thread> {
        let (jobs, received) = mpsc::channel(1);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (of_all, setup) = (setup.connections.unwrap_or(setup.threads), setup.clone());
        let connections = part(of_all, number, setup.threads);
        let handle = std::thread::Builder::new()
            .name(format!("load-{number}"))
            .spawn(move || worker::work(setup, connections, received, &ready))?;
        is_ready.recv().map_err(crate::error)??;
        Ok(Thread { jobs, handle })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for Thread { jobs, handle } in self.threads.drain(..) {
            drop(jobs);
            // One that panicked has failed its run already.
            let _ = handle.join();
        }
    }
}

/// No thread can send without a connection of its own: for HTTP/2 there are at most as many as connections.
fn threads(setup: &Setup) -> usize {
    match setup.connections {
        Some(connections) if setup.workload.summary.protocol.is_http2() => setup.threads.min(connections.max(1)),
        _ => setup.threads,
    }
}

/// How many of `all` the `number`th of `parts` has, when they are dealt out evenly.
fn part(all: usize, number: usize, parts: usize) -> usize {
    all / parts + usize::from(number < all % parts)
}
