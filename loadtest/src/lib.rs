//! Loads a server and measures it from outside, and runs its decisions in virtual time.
//!
//! - [`request`]: requests prepared once and sent many times, and what comes back;
//! - [`closed`]: the closed loop, where each caller sends its next request when it has its answer;
//! - [`stats`]: latencies, and the spread of a number over rounds;
//! - [`process`]: a server as a child process on a core of its own, and what it costs in CPU time and memory;
//! - [`floor`]: the least an HTTP or gRPC server can do, to compare with;
//! - [`record`]: results as files that say on what machine and commit they came about;
//! - [`sim`]: lane and batch former in virtual time.
//!
//! The benchmarks beside this library use the first six; `docs/benchmarks.md` says how.

pub mod closed;
pub mod floor;
pub mod process;
pub mod record;
pub mod request;
pub mod sim;
pub mod stats;

pub use std::io::Result;

/// Any failure as an `io::Error`, which most failures here are anyway.
pub(crate) fn error(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> std::io::Error {
    std::io::Error::other(error)
}
