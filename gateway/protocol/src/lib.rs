//! The contract every part of Weirgate speaks: calls and answers, tensors, errors and their one table, and the codecs
//! that turn wire bytes into them and back.
//!
//! This crate does no I/O and reads no clock. Codecs go both ways, because the gateway serves the protocols and the load
//! tester and remote replicas call them.

pub mod call;
pub mod cloudevents;
pub mod deadline;
pub mod error;
pub mod extras;
pub mod given;
pub mod identity;
pub mod infer;
mod json;
pub mod metadata;
pub mod model;
pub mod oip;
pub mod openai;
pub mod remote_url;
pub mod retry;
pub mod sse;
pub mod sticky;
pub mod tensor;
pub mod upstream_url;
pub mod v1;
pub mod v2;
pub mod versions;

pub use call::{Call, Head, Payload, Protocol, Signature, Target, Work};
pub use error::{Error, ErrorCode, Origin, Result, RetryClass};
pub use extras::{Extras, Parameter, Parameters};
pub use identity::{Identity, Priority};
pub use infer::{InferRequest, InferResponse, RequestedOutput};
pub use model::{Dim, ModelSpec, TensorSpec};
pub use remote_url::RemoteUrl;
pub use retry::Retry;
pub use sticky::StickyKey;
pub use tensor::{Datatype, Shape, Tensor};
pub use upstream_url::UpstreamUrl;
pub use versions::LoadedModel;
