//! Loads a server and measures it from outside, and runs its decisions in virtual time.
//!
//! What `weirgate loadtest` is made of, from the protocol to the page:
//!
//! ```text
//! target, request, outcome   where requests go, what they are, what became of them
//! client      connections
//! arrivals    when requests are due
//! workload    what is asked, and whether the answer is right
//! engine      threads that send; open and closed loop
//! measure     from single requests to the figures of a run
//! slo, search the objective, and which rate to try next
//! drive       one run, a sweep, or two servers in turn
//! result      what was found, as a file
//! compare     two results side by side
//! report      tables, pages and progress
//! cli         the command
//! synthetic   servers whose truth is known, to prove all of it
//! ```
//!
//! And for the benchmarks beside this library (`docs/benchmarks.md` says how they measure):
//!
//! ```text
//! closed      a closed loop whose connections stay, so that a server's counters can be read between runs
//! stats       exact latencies, and the spread of a number over rounds
//! process     a server as a child process on a core of its own, and what it costs in CPU time and memory
//! floor       the least an HTTP or gRPC server can do, to compare with
//! record      results as files that say on what machine and commit they came about
//! sim         lane and batch former in virtual time
//! ```

pub mod arrivals;
pub mod cli;
pub mod client;
pub mod closed;
pub mod compare;
pub mod drive;
pub mod engine;
pub mod floor;
pub mod measure;
pub mod outcome;
#[cfg(target_os = "linux")]
pub mod process;
pub mod record;
pub mod report;
pub mod request;
pub mod result;
pub mod search;
pub mod sim;
pub mod slo;
pub mod stats;
pub mod synthetic;
pub mod target;
mod time;
pub mod workload;

pub use std::io::Result;

/// Any failure as an `io::Error`, which most failures here are anyway.
pub(crate) fn error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> std::io::Error {
    std::io::Error::other(error)
}
