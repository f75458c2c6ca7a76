//! What went wrong between us and a server, and what that means for the call.

use std::fmt;

use weirgate_protocol::{Error, ErrorCode, RetryClass};

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

    /// The same for those who are not to know the servers: its message names none of them.
    pub fn discreet(&self) -> Error {
        let (retry, inside) = (self.error.retry_class(), self.error.message());
        match self.error.code() {
            ErrorCode::UpstreamFailed => {}
            ErrorCode::DeadlineExceeded => {
                let text = "the deadline passed while a server had the call";
                return Error::deadline(text, retry).with_inside(inside);
            }
            // What is wrong with a request has no server in it.
            _ => return self.error.clone(),
        }
        let text = match self.kind {
            FaultKind::Connect => "can't connect to the server",
            FaultKind::Unsent => "the connection to the server ended before the call was sent",
            FaultKind::NotExecuted => "the server has not executed the call",
            FaultKind::Broken => "the connection to the server ended before an answer",
            FaultKind::Caller => "the request can't be sent on as it is, or its body broke off",
        };
        Error::upstream(text, retry).with_inside(inside)
    }

    pub(crate) fn caller(error: &dyn std::error::Error) -> Fault {
        Fault::new(FaultKind::Caller, format!("the request's body broke off: {error}"))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_discreet_error_names_no_server_and_means_the_same() {
        let kinds =
            [FaultKind::Connect, FaultKind::Unsent, FaultKind::NotExecuted, FaultKind::Broken, FaultKind::Caller];
        let faults = kinds.map(|kind| Fault::new(kind, "http://10.0.0.1 is broken".to_owned()));
        let late = Error::deadline("http://10.0.0.1 was too slow", RetryClass::MayHaveExecuted);
        for fault in faults.into_iter().chain([Fault { kind: FaultKind::Broken, error: late }]) {
            let error = fault.discreet();
            assert!(!error.message().contains("10.0.0.1"), "{error}");
            assert_eq!((error.code(), error.retry_class()), (fault.error.code(), fault.error.retry_class()));
        }
    }
}
