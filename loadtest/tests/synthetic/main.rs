//! The load tester against servers whose truth is known: what it reports must be what they did.
//!
//! Counts must agree exactly. Times can't be shorter than the servers take; how much longer they are depends on the
//! machine, so bounds above are generous and tell modes of behaviour apart, not milliseconds.

#![allow(clippy::unwrap_used)]

mod drivers;
mod failures;
mod latency;
mod server;
mod stall;
mod streams;
mod support;
mod told;
mod wrong;
