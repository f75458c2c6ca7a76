//! The protocols on the wire, byte by byte where it matters.

#![allow(clippy::unwrap_used)]

mod cloudevents;
mod grpc;
mod halves;
mod heads;
mod limits;
mod openai;
mod routes;
mod shapes;
mod v1;
