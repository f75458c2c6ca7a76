//! Connections to a server: HTTP/1.1 read and written by hand for speed, HTTP/2 by hyper, TLS by rustls.
//!
//! ```text
//! http1    one request after another on a connection
//! http2    many at once
//! tls      certificates, and what to do about unknown ones
//! sse      parts of a streamed answer, as they come
//! failure  how a request can fail before it is answered
//! ```

pub mod failure;

use std::net::SocketAddr;
use std::time::Instant;

use tokio::task::JoinSet;

pub use self::failure::Failure;
use crate::Result;
use crate::request::{Answer, Protocol, Request};
use crate::target::Target;

/// How certificates of an `https` target are judged.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// Certificates in PEM to trust instead of the platform's.
    pub roots: Option<Vec<u8>>,
    /// Take any certificate.
    pub insecure: bool,
}

/// Opens connections to one target.
#[derive(Clone, Debug)]
pub struct Client {
    target: Target,
    /// All that the host's name stands for, tried in turn.
    addresses: Vec<SocketAddr>,
}

/// A connection, or a share of one.
#[derive(Debug)]
pub struct Connection {}

/// One request, and what became of it.
#[derive(Debug)]
pub struct Call {
    /// When its first byte was handed to the system.
    pub sent: Instant,
    /// When the answer's head was read.
    pub answered: Option<Instant>,
    pub done: Instant,
    pub result: std::result::Result<Answer, Failure>,
}

impl Client {
    /// Looks the host up, which blocks.
    pub fn new(target: Target, tls: &TlsOptions) -> Result<Client> {
        let _ = tls;
        Ok(Client { target, addresses: Vec::new() })
    }

    /// Opens a connection. What must be driven beside it runs as a task of `drivers`.
    pub async fn connect(
        &self,
        protocol: Protocol,
        drivers: &mut JoinSet<()>,
    ) -> std::result::Result<Connection, Failure> {
        let _ = (protocol, drivers, &self.target, &self.addresses);
        Err(Failure::Malformed("the client is not built yet".to_owned()))
    }
}

impl Connection {
    /// A second sender on the same connection, where its protocol has that.
    pub fn share(&self) -> Option<Connection> {
        None
    }

    /// Whether another request can be sent on it. Never true of HTTP/1.1 after a call that failed or was dropped.
    pub fn is_open(&self) -> bool {
        false
    }

    /// Sends a request and reads the whole answer; keeps the body if `keep`.
    ///
    /// Dropping it gives the call up: HTTP/1.1 closes the connection, HTTP/2 resets the stream.
    pub async fn call(&mut self, request: &Request, keep: bool) -> Call {
        let _ = (request, keep);
        let now = Instant::now();
        let result = Err(Failure::Malformed("the client is not built yet".to_owned()));
        Call { sent: now, answered: None, done: now, result }
    }
}
