//! The control API over a real listener, and the commands against it.

#![allow(clippy::unwrap_used)]

mod api;
mod commands;
mod platform;
mod server;
