//! The protocols on the wire, byte by byte where it matters.

#![allow(clippy::unwrap_used)]

mod cors;
mod encodings;
mod floods;
mod grpc;
mod grpc_compression;
mod grpc_hostile;
mod heads;
mod hostile;
mod limits;
mod methods;
mod patience;
mod reflection;
mod repository;
mod repository_grpc;
mod routes;
mod shapes;
mod statistics;
mod stream;
mod versions;
