//! What went wrong between us and a server, and what that means for the call.

use std::fmt;

use weirgate_protocol::{Error, RetryClass};

/// A call that a server did not answer. Set where it is known what was sent. It is also the error of an answer's body that
/// breaks off.
#[derive(Clone, Debug)]
pub struct Fault {
    pub kind: FaultKind,
    /// For the caller; its retry class says whether the call may have been executed.
    pub error: Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// No connection: refused, unresolved, TLS, or too slow.
    Connect,
    /// The connection ended before a byte of the request was sent on it.
    Unsent,
    /// The server said that it has not executed the call: it drains, an h2 stream was refused, or one of ours said so.
    NotExecuted,
    /// The connection ended, or the server said something that is no HTTP, after some of the request was sent.
    Broken,
    /// The caller's own body broke off, or its request is none that can be sent: no fault of the server's.
    Caller,
}

impl Fault {
    pub fn new(kind: FaultKind, message: String) -> Fault {
        let retry = match kind {
            FaultKind::Connect | FaultKind::Unsent | FaultKind::NotExecuted => RetryClass::NotExecuted,
            FaultKind::Broken => RetryClass::MayHaveExecuted,
            FaultKind::Caller => RetryClass::Never,
        };
        Fault { kind, error: Error::upstream(message, retry) }
    }

    /// Whether the call may be executed elsewhere without being executed twice.
    pub fn not_executed(&self) -> bool {
        self.error.retry_class() == RetryClass::NotExecuted
    }

    pub(super) fn caller(error: &dyn std::error::Error) -> Fault {
        Fault::new(FaultKind::Caller, format!("the request's body broke off: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Fault {}
