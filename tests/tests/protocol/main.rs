//! The protocols on the wire, byte by byte where it matters.

#![allow(clippy::unwrap_used)]

mod cors;
mod encodings;
mod floods;
mod grpc;
mod heads;
mod hostile;
mod limits;
mod methods;
mod patience;
mod routes;
mod shapes;
