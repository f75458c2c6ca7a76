//! Lanes: where calls wait for a replica, and how they are handed over.
//!
//! The decisions are those of the pure cores (`weirgate-router`'s lane and `weirgate-replicas-core`'s batch former); here
//! they stand behind one short lock per lane, on the caller's thread when a call enters and on the engine's when it pulls.

mod alarm;
mod comeback;
mod courier;
mod feed;
mod hand_out;
mod lane;
mod lease;
mod life;
mod pace;
mod remotes;
mod reservation;
mod seen;
mod spoken;
mod trail;

pub use courier::blame;
pub use lane::{Lane, Readiness, Turned};
pub use lease::{Lease, Wanting};
pub use remotes::Standings;
pub use reservation::{Reservation, Submission, Submitted};
pub use spoken::Spoken;
pub use trail::Trail;

/// How often one call is handed over, the first time included.
pub const MOST_ATTEMPTS: usize = 4;
