//! What became of a request, in the kinds that a report counts.

use std::borrow::Cow;

use crate::client::Failure;

/// Every request that was due has exactly one, but for those that were given up when a run was stopped: nobody knows what
/// would have become of them.
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
    /// Never sent, as none of the connections became free in three quarters of the time limit: all of them, so many,
    /// awaited answers.
    Unsent { in_flight: usize },
}

impl Outcome {
    /// What a report counts it as, as `429`, `timeout` or `wrong: ...`.
    pub fn kind(&self) -> Cow<'_, str> {
        match self {
            Outcome::Ok => "ok".into(),
            Outcome::Shed(kind) | Outcome::Error(kind) => kind.into(),
            Outcome::TimedOut => "timeout".into(),
            Outcome::Wrong(what) => format!("wrong: {what}").into(),
            Outcome::Unsent { in_flight } => format!("no free connection: all {in_flight} await the server").into(),
        }
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Outcome {
        Outcome::Error(failure.to_string())
    }
}
