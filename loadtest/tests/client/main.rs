//! The client against servers that send hand-made bytes.
//!
//! ```text
//! server   a server that sends what it is told to, cut where it is told to
//! bodies   every framing of a body, cut anywhere
//! broken   what is no answer, and where an answer ends too early
//! reuse    which connections take another call
//! streams  server-sent events
//! tls      certificates
//! grpc     HTTP/2
//! closed   the closed loop on top of it
//! shared   what the engine makes of few connections for many requests
//! ```

#![allow(clippy::unwrap_used)]

mod bodies;
mod broken;
mod closed;
mod grpc;
mod reuse;
mod server;
mod shared;
mod streams;
mod tls;
