//! Lanes, batch former and engine threads together, and the gateway that routes calls to them while they come and go.

#![allow(clippy::unwrap_used)]

mod lanes;
mod leases;
mod model;
mod moves;
mod routes;
mod world;
