//! What the gateway promises while everything behind it misbehaves: real processes, under calls that don't wait.
//!
//! A run has three phases: all is well, something is broken, all is well again. Each call has an id, each server writes down
//! what it executes, and afterwards the two are held against each other. docs/guarantees.md has the promises.
//!
//! Short by default; WEIRGATE_SCALE=full makes it long. WEIRGATE_SEED repeats a run's choices.

#![allow(clippy::unwrap_used)]

mod answers;
mod choice;
mod deaths;
mod harness;
mod headers;
mod memory;
mod refusals;
mod rollouts;
mod scene;
mod silence;
mod storms;
mod streams;
mod takeover;
