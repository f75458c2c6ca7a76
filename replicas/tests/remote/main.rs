//! Describing, watching and calling servers of somebody else's, well-behaved ones and others.

#![allow(clippy::unwrap_used)]

mod describe;
mod execute;
mod given;
mod jobs;
mod model;
mod rows;
mod server;
mod watch;
