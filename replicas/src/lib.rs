//! Replicas: whoever executes calls, and the supervisor that replaces those that fail.
//!
//! A lane and a replica meet in two traits. [`Replica`] is how calls are handed over: against credits, one [`Job`] (a call
//! and the sending end of its parts) at a time. [`Feed`] is the lane as a replica sees it: the place a free engine pulls its
//! next batch from. Replicas outside of this process, children and servers elsewhere, are [`Remote`]s: they don't pull, the lane
//! passes calls to them.

mod batch;
pub mod child;
pub mod credits;
pub mod embed;
mod engine;
pub mod job;
mod joined;
mod kind;
pub mod language;
pub mod local;
mod onnx;
pub mod remote;
pub mod replica;
pub mod supervisor;
pub mod text;
mod upstream;
mod versions;
mod waits;

pub use credits::{Credits, Grant};
pub use job::{Along, Answer, BatchOf, Finished, Job, Parts, Timing};
pub use onnx::{OnnxSource, onnx_loader};
pub use remote::{Described, Remote};
pub use replica::{AnsweredCalls, BatchReport, Counts, Failure, FailureKind, Feed, Pull, Replica, SetState};
pub use supervisor::{ReplicaSet, ReplicaSetConfig, Wanted};
pub use upstream::{RemoteLimits, Upstream, UpstreamsConfig};
pub use versions::Versions;
pub use weirgate_models::LoadError;
pub use weirgate_models::storage::{Source, Store};
