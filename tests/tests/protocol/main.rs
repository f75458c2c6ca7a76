//! The protocols on the wire, byte by byte where it matters.

#![allow(clippy::unwrap_used)]

mod cloudevents;
mod cors;
mod encodings;
mod floods;
mod grpc;
mod grpc_compression;
mod grpc_hostile;
mod halves;
mod heads;
mod hostile;
mod limits;
mod methods;
mod openai;
mod patience;
mod reflection;
mod repository;
mod repository_grpc;
mod routes;
mod shapes;
mod statistics;
mod stream;
mod v1;
mod versions;
