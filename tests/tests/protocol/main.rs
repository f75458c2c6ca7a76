//! The protocols on the wire, byte by byte where it matters.

#![allow(clippy::unwrap_used)]

mod cloudevents;
mod grpc;
mod halves;
mod heads;
mod limits;
mod openai;
mod repository;
mod routes;
mod shapes;
mod v1;
mod versions;
