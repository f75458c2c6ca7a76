//! The scheduler as a whole, driven by an executor that computes with symbols.

mod check;
mod fairness;
mod histories;
mod memory;
mod rules;
mod world;
