//! What became of a request, in the kinds that a report counts.

use crate::client::Failure;

/// Every request that was due has exactly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Answered, and as expected.
    Ok,
    /// Refused for now: 429, 503, and gRPC's RESOURCE_EXHAUSTED and UNAVAILABLE. Holds what the protocol calls it.
    Shed(String),
    /// Answered with another error, or not at all. Holds its kind, as `500`, `grpc 13` or `closed before the answer`.
    Error(String),
    /// Not answered in the time that was given.
    TimedOut,
    /// Answered well, but not as expected. Holds what differs.
    Wrong(String),
    /// Never sent, as no connection became free in time or the run was stopped: the load tester's limit.
    Unsent,
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Outcome {
        Outcome::Error(failure.to_string())
    }
}
