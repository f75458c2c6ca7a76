//! Pure replica decisions: which waiting calls or texts make the next batch, what a batch will cost, which tokens a language model
//! computes next and which it draws, and when a failed replica is started again.
//!
//! Nothing here reads a clock, takes a lock or waits: state machines take `now` and return what to do.

pub mod cost;
pub mod dispatch;
pub mod embedding;
pub mod former;
pub mod restart;
pub mod sampling;
pub mod tokens;

pub use cost::CostModel;
pub use dispatch::{Backlog, Dispatch};
pub use former::{BatchPolicy, Candidate, CloseReason, Decision, form};
pub use restart::RestartPolicy;
