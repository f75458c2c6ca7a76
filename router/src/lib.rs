//! Pure routing decisions: which service and revision a call is for, and the lanes calls wait in.
//!
//! Nothing here reads a clock, takes a lock or waits. The gateway owns these state machines behind short locks, and the
//! simulator drives the very same types.

mod hash;
pub mod lane;
pub mod limits;
mod names;
pub mod pool;
mod service;
pub mod split;
pub mod sticky;
pub mod table;
#[cfg(test)]
mod testing;

pub use lane::{Ahead, Full, Lane, LaneLimits, Ticket};
pub use service::{Refusal, Revision, Route, Service, Wanted};
pub use split::{Split, Turns};
pub use table::{Addressed, RouteTable};
