//! The gateway: servers, admission and the lanes, wired to replicas by a platform.
//!
//! A call's way through the files:
//!
//! ```text
//! server/listener  accepts a connection, HTTP/1.1 or HTTP/2, in cleartext or by TLS
//! server/edge      reads the head: request id, trace, deadline headers
//! auth             who calls, by key or token, and whether it may now
//! http, grpc/infer  the adapters: route by name, hand bytes and a codec to the pipeline
//! pipeline         route, admit, read, decode, bind, submit, await, by one deadline
//! server/address   where it goes: path prefix, host, revision header, sticky key
//! dispatch/lane    the queue of one revision, between callers and the replicas that pull from it
//! pass             calls that are passed to servers in other processes as bytes
//! texts            V2's calls for tensors to models that go on with texts
//! explain          why a call went where it went
//! respond          the one place where an error becomes a status
//! ```

pub mod admin;
pub mod auth;
pub mod catalogue;
pub mod cli;
pub mod client;
pub mod config;
pub mod dispatch;
pub mod doors;
pub mod explain;
pub mod gateway;
pub mod grpc;
pub mod http;
pub mod observe;
pub mod pass;
pub mod pipeline;
pub mod replica;
pub mod repository;
pub mod respond;
pub mod serve;
pub mod server;
pub mod takeover;
pub mod texts;
pub mod triton;
pub mod watched;
