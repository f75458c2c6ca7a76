//! Opening a connection.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpStream, UnixStream};
use weirgate_protocol::upstream_url::Scheme;

use super::socket::{Socket, Stream};
use super::{Address, Counters, TransportConfig};
use crate::remote::tls::Tls;

/// What connections to a server speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Http1,
    H2,
    /// What the server picks.
    Either,
}

pub(super) struct Connector {
    target: Target,
    speaks: Speaks,
    counters: Arc<Counters>,
}

enum Target {
    Unix(PathBuf),
    Tcp { host: String, port: u16, tls: Option<Box<Tls>> },
}

impl Connector {
    pub fn new(config: &TransportConfig, counters: Arc<Counters>) -> Result<Connector, String> {
        let (target, speaks) = match &config.address {
            Address::Unix(path) => (Target::Unix(path.clone()), Speaks::H2),
            Address::Url(url) => {
                let speaks = match url.scheme {
                    Scheme::Http => Speaks::Http1,
                    Scheme::Https => Speaks::Either,
                    Scheme::H2c | Scheme::Grpc | Scheme::Grpcs => Speaks::H2,
                };
                let offers: &[&[u8]] = if speaks == Speaks::H2 { &[b"h2"] } else { &[b"h2", b"http/1.1"] };
                let tls =
                    url.scheme.is_tls().then(|| Tls::new(&url.host, &config.tls, offers)).transpose()?.map(Box::new);
                (Target::Tcp { host: url.host.clone(), port: url.port, tls }, speaks)
            }
        };
        Ok(Connector { target, speaks, counters })
    }

    pub fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// A connection, and whether h2 is spoken on it. The error says why there is none.
    pub async fn connect(&self) -> Result<(Socket, bool), String> {
        let mut is_h2 = self.speaks == Speaks::H2;
        let stream = match &self.target {
            Target::Unix(path) => Stream::Unix(UnixStream::connect(path).await.map_err(why)?),
            Target::Tcp { host, port, tls } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(why)?;
                stream.set_nodelay(true).map_err(why)?;
                keep_alive(&stream).map_err(|error| why(error.into()))?;
                match tls {
                    None => Stream::Tcp(stream),
                    Some(tls) => {
                        let (stream, picked_h2) = tls.handshake(stream).await?;
                        if is_h2 && !picked_h2 {
                            return Err("the server does not offer h2 (ALPN)".to_owned());
                        }
                        is_h2 = picked_h2;
                        Stream::Tls(stream)
                    }
                }
            }
        };
        Ok((Socket::new(stream, self.counters.opened()), is_h2))
    }
}

/// Has the kernel look after a peer that is silent, so that one which is gone without a word is found within half a minute.
/// A peer that is only slow answers this, unlike a ping of h2.
fn keep_alive(stream: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(15))?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    sockopt::set_socket_keepalive(stream, true)
}

/// The kernel's errors by their kind: their own texts carry numbers.
pub(in crate::remote) fn why(error: io::Error) -> String {
    if error.raw_os_error().is_some() { error.kind().to_string() } else { error.to_string() }
}
