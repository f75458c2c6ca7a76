//! The protocols on the wire, byte by byte where it matters.

#![allow(clippy::unwrap_used)]

mod grpc;
mod heads;
mod limits;
mod repository;
mod routes;
mod shapes;
mod versions;
