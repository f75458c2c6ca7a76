//! Calls that are passed to somebody else's servers: what arrives there, what comes back, and what becomes of them where
//! servers fail.

#![allow(clippy::unwrap_used)]

mod batching;
mod bytes;
mod canary;
mod choosing;
mod explaining;
mod failing;
mod limits;
mod loops;
mod routes;
mod streams;
mod translating;
mod untold;
