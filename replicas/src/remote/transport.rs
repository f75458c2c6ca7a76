//! The connections to one server.

use std::path::PathBuf;
use std::time::Duration;

use http::{Request, Response};
use weirgate_protocol::UpstreamUrl;

use super::body::{InBody, OutBody};
use super::fault::{Fault, FaultKind};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Url(UpstreamUrl),
    /// A Unix socket of this machine, spoken to by h2.
    Unix(PathBuf),
}

#[derive(Clone, Debug)]
pub struct TransportConfig {
    pub address: Address,
    /// For the connection, TLS included.
    pub connect_timeout: Duration,
}

/// Pooled connections to one server.
pub struct Transport {
    config: TransportConfig,
}

impl Transport {
    /// Reads what TLS needs; connects to nothing yet.
    pub fn new(config: TransportConfig) -> Result<Transport, String> {
        Ok(Transport { config })
    }

    pub fn address(&self) -> &Address {
        &self.config.address
    }

    /// Sends a request, whose URI has only a path and a query, and returns the head of its answer. The fault says what may
    /// have been executed.
    pub async fn send(&self, request: Request<OutBody>) -> Result<Response<InBody>, Fault> {
        let _ = request;
        Err(Fault::new(FaultKind::Connect, format!("{:?} can't be reached: not built yet", self.config.address)))
    }
}
