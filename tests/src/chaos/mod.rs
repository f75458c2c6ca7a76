//! Faults under load: servers that misbehave as told, a caller that does not wait, and what is checked of its calls.
//!
//! ```text
//! fleet   the servers behind the gateway, what they executed, and how they are told to behave
//! load    calls that are due by the clock, each with an id of its own, whatever became of those before
//! ledger  what became of every call, and what may not have: lost, late, wrong, executed twice, failed without cause
//! ```

pub mod fleet;
pub mod ledger;
pub mod load;

pub use fleet::Fleet;
pub use ledger::{Ledger, Phase};
pub use load::{Load, Running};
