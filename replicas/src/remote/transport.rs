//! The connections to one server.

mod address;
mod connect;
mod refusal;
pub(super) mod socket;
mod stats;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Response};
use parking_lot::Mutex;
use tokio::task::JoinSet;

pub use address::Address;
pub(super) use address::Origin;
pub use stats::TransportStats;
pub(super) use stats::{Counters, OpenSocket};

use super::body::{InBody, OutBody};
use super::fault::{Fault, FaultKind};
use super::http1;
use super::http2::{self, Connections};
use super::pool::Pool;
use super::request::{self, RequestHead};
use super::tls::TlsFiles;
use super::via;
pub(super) use connect::why;
use connect::{Connector, Speaks};

#[derive(Clone, Debug)]
pub struct TransportConfig {
    pub address: Address,
    /// For the connection, TLS included.
    pub connect_timeout: Duration,
    /// For the news that the server is gone, where somebody tells that: a call which it has refused is told only then, for it
    /// would soon have been refused as often as it may be tried.
    pub refusal_pause: Duration,
    /// What TLS trusts and shows; of no use to other schemes.
    pub tls: TlsFiles,
    /// Most HTTP/1.1 connections that are kept while they have nothing to do.
    pub max_idle: usize,
    /// How long a connection is kept while it has nothing to do.
    pub idle_timeout: Duration,
    /// Most h2 connections; each has up to 64 streams. Calls beyond them wait.
    pub max_h2_connections: usize,
    /// The server is one of ours: what it says of calls that it has not executed is believed.
    pub ours: bool,
}

impl TransportConfig {
    /// For somebody else's server at `address`, with the machine's roots.
    pub fn new(address: Address) -> TransportConfig {
        TransportConfig {
            address,
            connect_timeout: Duration::from_secs(3),
            refusal_pause: Duration::ZERO,
            tls: TlsFiles::default(),
            max_idle: 256,
            idle_timeout: Duration::from_secs(60),
            max_h2_connections: 16,
            ours: false,
        }
    }

    /// For one of our own servers at a Unix socket.
    pub fn ours(socket: PathBuf) -> TransportConfig {
        TransportConfig { ours: true, ..TransportConfig::new(Address::Unix(socket)) }
    }
}

/// Pooled connections to one server. Dropping it ends its h2 connections and with them the calls on them.
pub struct Transport {
    config: TransportConfig,
    origin: Origin,
    connector: Connector,
    counters: Arc<Counters>,
    pool: Arc<Pool>,
    h2: Arc<Connections>,
    /// One at a time opens a connection that many can share. Holds what came of the last attempt.
    connecting: tokio::sync::Mutex<Option<(Instant, Fault)>>,
    /// The server was seen to pick HTTP/1.1: calls need not wait for each other's connections.
    picks_http1: AtomicBool,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    /// The drivers of h2 connections, and the one that sweeps the pool.
    set: JoinSet<()>,
    sweeps: bool,
}

/// Most connections that are opened for one call. A server may end one at any moment, but not each.
const MOST_OPENED: usize = 3;

/// A connection that was open already.
enum Kept {
    Http1(Box<http1::Connection>),
    H2(http2::Place),
}

/// What came of the wish for a new connection.
enum Opened {
    Http1(Box<http1::Connection>),
    /// One is among those to choose from.
    H2,
    /// Others opened some, which may have room.
    ByOthers,
}

impl Transport {
    /// Reads what TLS needs; connects to nothing yet.
    pub fn new(config: TransportConfig) -> Result<Transport, String> {
        let counters = Arc::new(Counters::default());
        Ok(Transport {
            origin: Origin::new(&config.address),
            connector: Connector::new(&config, counters.clone())?,
            pool: Arc::new(Pool::new(config.max_idle, config.idle_timeout, counters.clone())),
            h2: Arc::new(Connections::new(config.max_h2_connections, config.idle_timeout, config.ours)),
            connecting: tokio::sync::Mutex::default(),
            picks_http1: AtomicBool::new(false),
            tasks: Mutex::default(),
            counters,
            config,
        })
    }

    pub fn address(&self) -> &Address {
        &self.config.address
    }

    /// Sends a request, whose URI has only a path and a query, and returns the head of its answer. The fault says what may
    /// have been executed. Dropping this cancels the call, and so does dropping the answer's body.
    ///
    /// The request's headers are sent as they are, but those of the connection, `host` and those that frame the body; to
    /// somebody else's server with this gateway in [`VIA`](via::VIA).
    pub async fn send(&self, request: Request<OutBody>) -> Result<Response<InBody>, Fault> {
        let (head, body) = request::split(request);
        self.pass(head, body).await
    }

    /// The same of a head that is no map's: what it costs to build one is spared.
    pub async fn pass(&self, mut head: RequestHead, body: OutBody) -> Result<Response<InBody>, Fault> {
        if self.config.ours {
            // In a box of its own: a call to somebody else's server need not have room for it.
            return Box::pin(async { refusal::check(self.exchange(head, body).await?).await }).await;
        }
        // A replica of ours passes nothing on; anybody else's server may lead back here.
        via::add(&mut head.headers);
        self.exchange(head, body).await
    }

    /// What the connections are and were.
    pub fn stats(&self) -> TransportStats {
        TransportStats { h2_calls: self.h2.calls(), ..self.counters.stats() }
    }

    async fn exchange(&self, head: RequestHead, mut body: OutBody) -> Result<Response<InBody>, Fault> {
        let mut opened = 0;
        // That a kept connection is dead may show only when it is used. Each turn uses one up, or opens one.
        loop {
            match self.kept().await {
                Some(Kept::Http1(connection)) => {
                    self.counters.reused();
                    let again = if let OutBody::Whole(bytes) = &body { Some(bytes.clone()) } else { None };
                    match http1::send(connection, &self.pool, &self.origin, &head, body).await {
                        Err(Fault { kind: FaultKind::Unsent, .. }) if let Some(bytes) = again => {
                            body = OutBody::Whole(bytes);
                        }
                        answer => return answer,
                    }
                }
                Some(Kept::H2(mut place)) => {
                    if place.is_ready().await {
                        self.counters.reused();
                        return http2::send(place, &self.origin, head, body).await;
                    }
                }
                None if opened == MOST_OPENED => {
                    let text = format!("{} ends each connection before a call is sent on it", self.config.address);
                    return Err(Fault::new(FaultKind::Unsent, text));
                }
                // In a box of its own: a call on a connection that is there need not have room for it.
                None => match Box::pin(self.open()).await? {
                    Opened::Http1(connection) => {
                        return http1::send(connection, &self.pool, &self.origin, &head, body).await;
                    }
                    Opened::H2 => opened += 1,
                    Opened::ByOthers => {}
                },
            }
        }
    }

    /// A connection that is open already and has room for a call. Waits where there may be no more of them.
    async fn kept(&self) -> Option<Kept> {
        let speaks = self.connector.speaks();
        if speaks != Speaks::Http1
            && let Some(place) = self.h2.place().await
        {
            return Some(Kept::H2(place));
        }
        if speaks == Speaks::H2 { None } else { self.pool.take().map(Kept::Http1) }
    }

    /// Opens a connection, or waits for another call to open one for both.
    async fn open(&self) -> Result<Opened, Fault> {
        if !self.shares() {
            return self.connect().await;
        }
        let asked = Instant::now();
        let mut last = self.connecting.lock().await;
        match &*last {
            _ if !self.h2.wants_more() => return Ok(Opened::ByOthers),
            Some((failed, fault)) if *failed >= asked => return Err(fault.clone()),
            _ if self.shares() => {}
            _ => {
                drop(last);
                return self.connect().await;
            }
        }
        let connected = self.connect().await;
        *last = connected.as_ref().err().map(|fault| (Instant::now(), fault.clone()));
        connected
    }

    /// Whether a new connection may serve several calls at once.
    fn shares(&self) -> bool {
        match self.connector.speaks() {
            Speaks::Http1 => false,
            Speaks::H2 => true,
            Speaks::Either => !self.picks_http1.load(Ordering::Relaxed),
        }
    }

    async fn connect(&self) -> Result<Opened, Fault> {
        let limit = self.config.connect_timeout;
        let connected = match tokio::time::timeout(limit, self.connect_unlimited()).await {
            Ok(connected) => connected,
            Err(_) => Err(format!("no connection within {limit:?}")),
        };
        if connected.is_err() && !self.config.refusal_pause.is_zero() {
            tokio::time::sleep(self.config.refusal_pause).await;
        }
        connected.map_err(|why| {
            self.counters.failed();
            Fault::new(FaultKind::Connect, format!("can't connect to {}: {why}", self.config.address))
        })
    }

    async fn connect_unlimited(&self) -> Result<Opened, String> {
        let (socket, is_h2) = self.connector.connect().await?;
        self.picks_http1.store(!is_h2, Ordering::Relaxed);
        if is_h2 {
            let driver = self.h2.greet(socket).await?;
            self.tasks.lock().spawn(driver);
            return Ok(Opened::H2);
        }
        self.tasks.lock().sweep(&self.pool, self.config.idle_timeout);
        Ok(Opened::Http1(Box::new(http1::Connection::new(socket))))
    }
}

impl Tasks {
    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        while self.set.try_join_next().is_some() {}
        self.set.spawn(task);
    }

    /// Sees to it that connections which are idle for too long are closed, also where no call comes any more.
    fn sweep(&mut self, pool: &Arc<Pool>, patience: Duration) {
        if !std::mem::replace(&mut self.sweeps, true) {
            self.spawn(Pool::sweep(Arc::downgrade(pool), patience));
        }
    }
}
