//! How a request can fail before it is answered.

use std::fmt;
use std::io;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection could be opened.
    Connect(io::ErrorKind),
    /// This machine has no more sockets, ports or files for one: the load tester's limit, not the server's.
    Sockets,
    /// The TLS handshake failed.
    Tls(String),
    /// The connection was closed or reset before the first byte of the answer.
    Closed,
    /// The connection or stream ended inside the answer.
    Cut,
    /// The answer breaks the protocol.
    Malformed(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(kind) => write!(f, "can't connect: {kind}"),
            Failure::Sockets => f.write_str("no sockets left on this machine"),
            Failure::Tls(why) => write!(f, "TLS: {why}"),
            Failure::Closed => f.write_str("closed before the answer"),
            Failure::Cut => f.write_str("cut off inside the answer"),
            Failure::Malformed(why) => write!(f, "malformed answer: {why}"),
        }
    }
}
