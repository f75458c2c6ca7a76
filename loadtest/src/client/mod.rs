//! Connections to a server: HTTP/1.1 read and written by hand for speed, HTTP/2 by h2, TLS by rustls.
//!
//! ```text
//! http1    one request after another on a connection
//! http2    many at once
//! tls      certificates, and what to do about unknown ones
//! socket   bytes, plain or inside TLS
//! body     of an answer: counted, kept or read as events
//! shape    whether an answer is one of its protocol
//! openai   what the events of a streamed answer tell, and how many tokens a whole one has
//! gauges   what the connections to a target are at in all threads
//! failure  how a request can fail before it is answered
//! ```

mod body;
pub mod failure;
mod gauges;
mod http1;
mod http2;
pub mod openai;
pub mod shape;
mod socket;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Host;

pub use self::failure::Failure;
pub use self::gauges::Counts;
use self::gauges::Gauges;
use self::http1::{Http1, Preamble};
use self::http2::keep_alive::KEEP_ALIVE;
use self::http2::{Http2, Origin};
use self::socket::{Socket, Stream};
use self::tls::Tls;
pub use self::tls::TlsOptions;
use crate::Result;
use crate::request::{Answer, Protocol, Request};
use crate::target::Target;

/// For each address, for the TLS handshake after it, and for HTTP/2's beginning.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Opens connections to one target. Clones share what they know of it.
#[derive(Clone, Debug)]
pub struct Client(Arc<Known>);

#[derive(Debug)]
struct Known {
    target: Target,
    /// All that the host's name stands for, tried in turn.
    addresses: Vec<SocketAddr>,
    /// None where the target has no TLS.
    tls: Option<Tls>,
    preamble: Preamble,
    origin: Origin,
    gauges: Arc<Gauges>,
}

/// What goes on beside the calls of a connection. It ends with the connection, and dropping it closes the connection.
pub type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A connection, or a share of one.
#[derive(Debug)]
pub struct Connection {
    client: Client,
    wire: Wire,
}

#[derive(Debug)]
enum Wire {
    /// None while a call is on it, which owns it meanwhile and closes it when dropped; and once it is closed.
    Http1(Option<Box<Http1<Socket>>>),
    Http2(Http2),
}

/// One request, and what became of it.
#[derive(Debug)]
pub struct Call {
    /// When its first byte was handed to the system. Where it had to wait for a connection to be opened, or was never sent,
    /// when it was tried.
    pub sent: Instant,
    /// How long it waited for a connection to be opened, TLS and all. None if one was open.
    pub connected: Option<Duration>,
    /// When the last byte of the answer was read, or the failure was known.
    pub done: Instant,
    pub result: std::result::Result<Answer, Failure>,
}

impl Call {
    /// One that waited since `began` for a connection to be opened, for so long.
    #[must_use]
    pub fn after_connecting(self, began: Instant, waited: Duration) -> Call {
        Call { sent: began, connected: Some(self.connected.unwrap_or_default() + waited), ..self }
    }
}

impl Client {
    /// Looks the host up, which blocks.
    pub fn new(target: Target, tls: &TlsOptions) -> Result<Client> {
        let addresses = match &target.host {
            Host::Ipv4(address) => vec![SocketAddr::from((*address, target.port))],
            Host::Ipv6(address) => vec![SocketAddr::from((*address, target.port))],
            Host::Domain(name) => {
                let found = (name.as_str(), target.port).to_socket_addrs();
                let found = found.map_err(|error| crate::error(format!("host '{name}' is not found: {error}")))?;
                found.collect()
            }
        };
        let tls = target.tls.then(|| Tls::new(&target.host, tls)).transpose()?;
        let (preamble, origin) = (Preamble::new(&target), Origin::new(&target)?);
        let gauges = Arc::default();
        Ok(Client(Arc::new(Known { target, addresses, tls, preamble, origin, gauges })))
    }

    /// Of an address without TLS.
    pub fn plain(address: SocketAddr) -> Result<Client> {
        let host = match address.ip() {
            IpAddr::V4(address) => Host::Ipv4(address),
            IpAddr::V6(address) => Host::Ipv6(address),
        };
        let target = Target { tls: false, host, port: address.port(), path: String::new() };
        Client::new(target, &TlsOptions::default())
    }

    pub fn target(&self) -> &Target {
        &self.0.target
    }

    /// What became of its connections since this was asked last, by any clone in any thread.
    pub fn take_counts(&self) -> Counts {
        self.0.gauges.take()
    }

    /// Opens a connection. What must be driven beside it runs as a task of `drivers`.
    pub async fn connect(
        &self,
        protocol: Protocol,
        drivers: &mut JoinSet<()>,
    ) -> std::result::Result<Connection, Failure> {
        let (connection, driver) = self.start(protocol).await?;
        if let Some(driver) = driver {
            drivers.spawn(driver);
        }
        Ok(connection)
    }

    /// Opens a connection, and leaves its driver to the caller: HTTP/2 has one.
    pub async fn start(&self, protocol: Protocol) -> std::result::Result<(Connection, Option<Driver>), Failure> {
        let socket = self.open(protocol.is_http2()).await?;
        let (wire, driver) = match protocol.is_http2() {
            true => {
                let (http2, driver) =
                    timeout(CONNECT_TIMEOUT, Http2::start(socket, KEEP_ALIVE)).await.map_err(|_| {
                        Failure::Malformed(format!(
                            "no SETTINGS of HTTP/2 that allow a stream within {CONNECT_TIMEOUT:?}"
                        ))
                    })??;
                (Wire::Http2(http2), Some(driver))
            }
            false => (Wire::Http1(Some(Box::new(Http1::new(socket)))), None),
        };
        Ok((Connection { client: self.clone(), wire }, driver))
    }

    async fn open(&self, http2: bool) -> std::result::Result<Socket, Failure> {
        let stream = self.reach().await?;
        let open = self.0.gauges.open();
        let Some(tls) = &self.0.tls else { return Ok(Socket::new(Stream::Plain(stream), open)) };
        match timeout(CONNECT_TIMEOUT, tls.handshake(stream, http2)).await {
            Ok(stream) => Ok(Socket::new(Stream::Tls(Box::new(stream?)), open)),
            Err(_) => Err(Failure::Tls(format!("no handshake within {CONNECT_TIMEOUT:?}"))),
        }
    }

    /// The first address that answers, or why the last one did not.
    async fn reach(&self) -> std::result::Result<TcpStream, Failure> {
        let mut failure = Failure::Connect(io::ErrorKind::AddrNotAvailable);
        for address in &self.0.addresses {
            let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
            let stream = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            match stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream)) {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = Failure::connect(&error),
            }
        }
        Err(failure)
    }
}

impl Connection {
    /// A second sender on the same connection, where its protocol has that.
    pub fn share(&self) -> Option<Connection> {
        match &self.wire {
            Wire::Http1(_) => None,
            Wire::Http2(sender) => Some(Connection { client: self.client.clone(), wire: Wire::Http2(sender.clone()) }),
        }
    }

    /// Whether another request can be sent on it. Never true of HTTP/1.1 after a call that failed or was dropped, or
    /// after an answer that the server closes the connection with.
    pub fn is_open(&self) -> bool {
        match &self.wire {
            Wire::Http1(idle) => idle.is_some(),
            Wire::Http2(sender) => sender.is_open(),
        }
    }

    /// Sends a request and reads the whole answer; keeps the body if `keep`.
    ///
    /// Where HTTP/1.1 finds its connection closed before it sends anything, it opens another first.
    ///
    /// Dropping it gives the call up: HTTP/1.1 closes the connection, HTTP/2 resets the stream.
    pub async fn call(&mut self, request: &Request, keep: bool) -> Call {
        let known = &self.client.0;
        let idle = match &mut self.wire {
            Wire::Http2(sender) => return sender.call(&known.origin, request, keep, &known.gauges).await,
            Wire::Http1(idle) => idle,
        };
        let open = match idle.take() {
            Some(mut open) => open.is_quiet().await.then_some(open),
            None => None,
        };
        if let Some(open) = open {
            let call;
            (*idle, call) = open.call(&known.preamble, request, keep, &known.gauges).await;
            return call;
        }
        let began = Instant::now();
        let socket = self.client.open(false).await;
        let waited = began.elapsed();
        let call = match socket {
            Ok(socket) => {
                let open = Box::new(Http1::new(socket));
                let call;
                (*idle, call) = open.call(&known.preamble, request, keep, &known.gauges).await;
                call
            }
            Err(failure) => Call { sent: began, connected: None, done: began + waited, result: Err(failure) },
        };
        call.after_connecting(began, waited)
    }
}
