//! Lane and batch former in virtual time: the very types that serve, driven by a seeded load, with no clock and no wait.
//!
//! A [`Scenario`] says what comes, who runs it and what the bounds are; [`run`] plays it to its end and returns a
//! [`Summary`], or the first [`Violation`] of what is promised with the history that led to it. One seed gives one
//! history, so a violation can be looked at again.
//!
//! ```text
//! scenario   what a history is made of, by hand or from a seed
//! world      the events: calls arrive, enter, are cancelled or expire; engines pull, run and end
//! dispatch   what a gateway's lane does around the two real types: admission, and whom a new call wakes
//! promise    what must hold at each step, and in the end
//! ```

mod dispatch;
mod promise;
mod scenario;
mod world;

pub use self::promise::{Fate, Summary, Violation};
pub use self::scenario::{Arrivals, Call, Scenario, Service};
pub use self::world::run;
