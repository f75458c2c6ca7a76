//! Revisions of one service: which run, which take calls, and which was the last that held all of them.
//!
//! ```text
//! manifest ── ask ──┐
//!                   ├─► Rollout ── decide ──► who runs, who takes how much, who holds calls
//! replicas ─ observe┘
//! ```
//!
//! The rules, in the order in which they bind:
//!
//! 1. No calls are split off to a revision that has not loaded all its replicas once, nor to one whose replicas have all
//!    failed. A base takes calls with its first replica.
//! 2. What a canary may not take goes to the base: the revision that `spec.predictor` names, or, while
//!    `canaryTrafficPercent` splits, the stable one.
//! 3. A base that has answered gives way only to one that is ready: with all its replicas, or with the first where both
//!    can't run at once. Until then the base goes on; a first one holds the calls.
//! 4. Stable is the last revision that took all calls as it was asked to. Nothing else ever becomes stable, and no canary
//!    takes calls before there is one.
//! 5. Only the base, its successor and the canaries run. A canary that another replaces goes at once; its calls go to the
//!    base until the other is ready.

mod decision;
mod health;
mod record;

pub use decision::{Decision, Run, Share};
pub use health::{Counts, Fault, FaultKind, Health};
pub use record::{Asked, AskedTraffic, Known, Rollout};
