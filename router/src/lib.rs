//! Pure routing decisions: which service a call is for, and the lanes calls wait in.
//!
//! Nothing here reads a clock, takes a lock or waits. The gateway owns these state machines behind short locks, and the
//! simulator drives the very same types.

pub mod lane;
pub mod split;
pub mod table;

pub use lane::{Full, Lane, LaneLimits, Ticket};
pub use split::Turns;
pub use table::{Revision, RouteTable, Service};
