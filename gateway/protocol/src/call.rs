//! A call: everything the lanes and replicas know about one request.

use std::sync::Arc;
use std::time::Instant;

use crate::identity::{Identity, Priority};
use crate::model::ModelSpec;
use crate::tensor::Tensor;

/// One request on its way. Built by an adapter, queued in a lane, executed by a replica.
#[derive(Debug)]
pub struct Call {
    pub head: Head,
    pub target: Target,
    /// The one deadline, from edge to engine.
    pub deadline: Instant,
    pub work: Work,
    pub payload: Payload,
}

/// What the request's head said.
#[derive(Clone, Debug)]
pub struct Head {
    /// `x-request-id`, the caller's or ours.
    pub request_id: Arc<str>,
    /// `traceparent`, passed on as it came.
    pub traceparent: Option<Arc<str>>,
    pub protocol: Protocol,
    /// When the head had been read.
    pub arrived: Instant,
    /// Who calls; none where callers need not say.
    pub identity: Option<Arc<Identity>>,
    pub priority: Priority,
}

/// The protocol a call came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    V1Http,
    V2Http,
    V2Grpc,
    OpenAi,
    /// Anything else over HTTP, which only servers behind us understand.
    Other,
}

impl Protocol {
    pub const ALL: [Protocol; 5] =
        [Protocol::V1Http, Protocol::V2Http, Protocol::V2Grpc, Protocol::OpenAi, Protocol::Other];

    /// Value of the `protocol` label.
    pub const fn label(self) -> &'static str {
        match self {
            Protocol::V1Http => "v1_http",
            Protocol::V2Http => "v2_http",
            Protocol::V2Grpc => "v2_grpc",
            Protocol::OpenAi => "openai",
            Protocol::Other => "other",
        }
    }
}

/// Whom a call is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub namespace: Arc<str>,
    pub service: Arc<str>,
    pub model: Arc<str>,
}

/// How much work a call is, as batch formers and lanes count it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Rows along dimension 0; at least 1.
    pub rows: usize,
    /// Bytes of memory the call holds while it waits.
    pub bytes: usize,
    /// Only calls with equal signatures can share a batch; `None` never shares.
    pub signature: Option<Signature>,
    /// The length of each row where the model takes rows of different lengths in one batch, padded to the longest.
    pub length: Option<usize>,
}

/// What calls must have in common to share a run. Datatypes need no place here: the model fixes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Signature {
    /// The model's version.
    pub version: Option<Arc<str>>,
    /// The inner dimensions of every input, in the model's order, less those that may be padded.
    pub dims: Box<[usize]>,
}

/// What is to be executed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Payload {
    Infer {
        /// What the call was checked against.
        spec: Arc<ModelSpec>,
        /// The caller asked for this very version: no other may answer.
        pinned: bool,
        /// In the model's order.
        inputs: Vec<Tensor>,
        /// The indices of the outputs asked for.
        outputs: Vec<usize>,
    },
}
