//! What became of a request, in the kinds that a report counts.

use std::borrow::Cow;

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
    /// Never sent, as no connection became free in three quarters of the time limit, or the run was stopped: the load
    /// tester's limit.
    Unsent,
}

impl Outcome {
    /// What a report counts it as, as `429`, `timeout` or `wrong: ...`.
    pub fn kind(&self) -> Cow<'_, str> {
        match self {
            Outcome::Ok => "ok".into(),
            Outcome::Shed(kind) | Outcome::Error(kind) => kind.into(),
            Outcome::TimedOut => "timeout".into(),
            Outcome::Wrong(what) => format!("wrong: {what}").into(),
            Outcome::Unsent => "unsent".into(),
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Outcome {
        Outcome::Error(failure.to_string())
    }
}
