//! Calls that are passed to servers in other processes as bytes, both ways.
//!
//! ```text
//! way       which way a call goes: decoded here, or passed
//! paths     requests that no adapter reads, and whose they are
//! head      the request's head for the server
//! upload    the request's body: within limits, and kept as far as it may have to be sent again
//! wanting   priority, session and prefix, which the pool picks by
//! onward    calls that no adapter decodes
//! run       attempts: a lease, an exchange, and what becomes of one that failed
//! verdict   what an answer says of its server, and whether the call may be sent once more
//! answer    what the caller gets, and what is recorded
//! hedge     a second server for a call that takes long
//! download  the answer's body, with the slot until its end
//! ```
//!
//! It all happens on the caller's own task: a caller that leaves drops the exchange, which ends the server's connection or
//! stream and gives the slot back.

mod answer;
mod download;
mod head;
mod hedge;
mod idle;
mod onward;
pub mod paths;
mod run;
mod upload;
mod verdict;
mod wanting;
mod way;

pub use answer::note_refusal;
pub use head::{EVENT_STREAM, is_content, retry_after};
pub use onward::{PassedCall, pass_on};
pub use run::{PassCall, Shape, pass};
pub use way::{Way, answers, is_unfit, unspoken, way};
