//! A transport against servers that do what servers should not.

#![allow(clippy::unwrap_used)]

mod faults;
mod http1;
mod http2;
mod real;
mod server;
mod tls;
