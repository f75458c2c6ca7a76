//! How a request can fail before it is answered.

use std::fmt;
use std::io;

use rustix::io::Errno;

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
    /// The same on a connection of HTTP/1.1 that had carried a call before: the server may have closed it for being idle,
    /// just as the request came.
    ClosedReused,
    /// The connection or stream ended inside the answer.
    Cut,
    /// The server reset the HTTP/2 stream. Holds its reason.
    Reset(String),
    /// The server says that it did not process the request: an HTTP/2 stream that it refused, or one that came after its
    /// goodbye.
    Refused,
    /// The answer breaks the protocol.
    Malformed(String),
    /// The answer is to be kept, and is more than the load tester keeps. Holds the cap.
    TooBig(String),
    /// The request can't be put into bytes.
    Unsendable(String),
}

impl Failure {
    /// Of an error while a connection was opened.
    pub(super) fn connect(error: &io::Error) -> Failure {
        if let Some(error) = tls(error) {
            return error;
        }
        match Errno::from_io_error(error) {
            Some(Errno::MFILE | Errno::NFILE | Errno::ADDRNOTAVAIL | Errno::NOBUFS | Errno::NOMEM) => Failure::Sockets,
            _ => Failure::Connect(error.kind()),
        }
    }

    /// Of an error on an open connection. `answering` says whether a part of the answer had come.
    pub(super) fn lost(error: &io::Error, answering: bool) -> Failure {
        tls(error).unwrap_or(if answering { Failure::Cut } else { Failure::Closed })
    }

    /// Of an error of HTTP/2. `answering` says whether the head of the answer had come.
    pub(super) fn http2(error: &h2::Error, answering: bool) -> Failure {
        if let Some(error) = error.get_io() {
            return Failure::lost(error, answering);
        }
        match error.reason() {
            Some(h2::Reason::REFUSED_STREAM) if error.is_remote() && error.is_reset() && !answering => Failure::Refused,
            Some(reason) if error.is_remote() && error.is_reset() => Failure::Reset(name(reason)),
            // Only the streams above the last that it names are told of a goodbye.
            Some(_) if error.is_remote() && !answering => Failure::Refused,
            Some(reason) if error.is_library() => Failure::Malformed(name(reason)),
            Some(_) if answering => Failure::Cut,
            Some(_) => Failure::Closed,
            None => Failure::Unsendable(error.to_string()),
        }
    }

    /// Of an error before the server's first word in HTTP/2.
    pub(super) fn greeting(error: &h2::Error) -> Failure {
        match Failure::http2(error, false) {
            // What came was no frame.
            Failure::Malformed(_) => Failure::Malformed("this server does not speak HTTP/2".to_owned()),
            failure => failure,
        }
    }
}

/// The failure of TLS inside an error of a stream, if that is what it is.
fn tls(error: &io::Error) -> Option<Failure> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(Failure::Tls(error.to_string()))
}

/// As RFC 9113 calls it: `REFUSED_STREAM`.
fn name(reason: h2::Reason) -> String {
    format!("{reason:?}")
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Connect(kind) => write!(f, "can't connect: {kind}"),
            Failure::Sockets => f.write_str("no sockets left on this machine"),
            Failure::Tls(why) => write!(f, "TLS: {why}"),
            Failure::Closed => f.write_str("closed before the answer"),
            Failure::ClosedReused => f.write_str("closed before the answer, on a reused connection"),
            Failure::Cut => f.write_str("cut off inside the answer"),
            Failure::Reset(reason) => write!(f, "stream reset: {reason}"),
            Failure::Refused => f.write_str("refused before it was processed"),
            Failure::Malformed(why) => write!(f, "malformed answer: {why}"),
            Failure::TooBig(cap) => write!(f, "answer too big to keep: more than {cap}"),
            Failure::Unsendable(why) => write!(f, "can't be sent: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_machine_lacks_is_not_the_servers_failure() {
        for errno in [Errno::MFILE, Errno::NFILE, Errno::ADDRNOTAVAIL] {
            assert_eq!(Failure::connect(&errno.into()), Failure::Sockets, "{errno:?}");
        }
        assert_eq!(Failure::connect(&Errno::CONNREFUSED.into()), Failure::Connect(io::ErrorKind::ConnectionRefused));
    }

    #[test]
    fn failures_of_tls_are_told_as_such_wherever_they_show() {
        let refused = || io::Error::other(rustls::Error::DecryptError);
        let expected = Failure::Tls(rustls::Error::DecryptError.to_string());
        assert_eq!(Failure::connect(&refused()), expected);
        assert_eq!(Failure::lost(&refused(), true), expected);
    }
}
