//! The commands and the control API against a running server, and what is left of their work when it dies.

#![allow(clippy::unwrap_used)]

mod apply;
mod crowd;
mod ownership;
mod restart;
mod rollout;
mod security;
mod show;
mod validate;
