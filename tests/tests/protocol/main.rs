//! The protocols on the wire, byte by byte where it matters.

#![allow(clippy::unwrap_used)]

mod cloudevents;
mod cors;
mod encodings;
mod floods;
mod grpc;
mod halves;
mod heads;
mod hostile;
mod limits;
mod methods;
mod openai;
mod patience;
mod repository;
mod routes;
mod shapes;
mod v1;
mod versions;
