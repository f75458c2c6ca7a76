//! What the end-to-end tests share: they start the real binary with real models, and talk to it as clients do.
//!
//! Nothing here sleeps and hopes: whatever is waited for is polled within a bound, and a bound that passes is a failure
//! that says what it waited for. A server belongs to the test that started it and dies with it.

#![allow(clippy::unwrap_used)]

pub mod behaviour;
pub mod caller;
pub mod calls;
pub mod chaos;
pub mod control;
pub mod dice;
pub mod environment;
pub mod events;
pub mod files;
pub mod frames;
pub mod grpc;
pub mod http;
pub mod manifest;
pub mod metrics;
pub mod packed;
pub mod process;
pub mod raw;
pub mod server;
pub mod stream;
pub mod suites;
pub mod upstream;
pub mod wait;

pub use caller::{Answered, Caller, To};
pub use calls::{row, rows, values};
pub use frames::Frames;
pub use grpc::{Grpc, Refused};
pub use http::{Http1, Http2, Reply};
pub use manifest::Service;
pub use raw::Raw;
pub use server::Server;
pub use stream::Stream;
pub use wait::{PATIENCE, eventually, within};
