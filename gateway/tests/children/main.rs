//! Replicas that are processes and servers elsewhere, with real ones.

#![allow(clippy::unwrap_used)]

mod ends;
mod life;
mod probes;
mod upstreams;
mod world;
