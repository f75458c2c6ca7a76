//! Accepts connections, in cleartext or by TLS, and serves HTTP/1.1, HTTP/2 and gRPC on them, until told to close in order.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::apart::Apart;
use super::edge::{self, Routes};
use super::lazy_timer::ConnectionTimer;
use super::tls::{HANDSHAKE, Tls};
use super::untaken::{PIECE, Untaken};
use super::write_timeout::WriteTimeout;

/// Streams that one h2 connection may have open, and how much of each is buffered before the client must wait.
const MAX_STREAMS: u32 = 1_024;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;
/// The largest head over h2: what every field takes as its RFC counts, which is its bytes and 32. Above it is 431.
const HEADER_LIST: u32 = 32 << 10;
/// Streams that a client may open and reset before their requests were looked at. More is the rapid reset attack, and ends
/// the connection; so does what makes us reset streams so often.
const PENDING_RESETS: usize = 20;
const OWN_RESETS: usize = 1_024;
/// What one stream may have on its way to the socket.
const SEND_BUFFER: usize = 4 * PIECE;
/// The bytes of an HTTP/1 request's head; its lines are hyper's 100. Bodies are read in pieces of up to the same size.
const READ_BUFFER: usize = 128 << 10;
/// After an error of `accept` that is not a connection's own, as running out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone)]
pub struct ListenerConfig {
    pub max_connections: NonZeroUsize,
    /// For the head of a request, for a dead h2 peer to answer a ping, for a TLS handshake, and the longest pause in taking
    /// an answer.
    pub client_timeout: Duration,
    /// Without it the port speaks cleartext.
    pub tls: Option<Arc<Tls>>,
}

/// Whether a port is to close, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Close {
    #[default]
    Open,
    /// Idle connections are closed at once.
    Stops,
    /// Another process accepts here from now on. Clients over HTTP/1 are told by their next answer to connect anew, and an
    /// idle connection is closed only when this time has passed: a request that is on its way meanwhile is answered.
    HandedOver(Duration),
}

/// A bound port.
pub struct Listener {
    socket: TcpListener,
    config: ListenerConfig,
}

impl Listener {
    pub async fn bind(address: SocketAddr, config: ListenerConfig) -> std::io::Result<Listener> {
        Ok(Listener { socket: TcpListener::bind(address).await?, config })
    }

    /// A port that another process has bound.
    pub fn adopt(socket: OwnedFd, config: ListenerConfig) -> std::io::Result<Listener> {
        let socket = std::net::TcpListener::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Listener { socket: TcpListener::from_std(socket)?, config })
    }

    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// The socket, to be given to another process. Whoever accepts gets the next connection.
    pub fn share(&self) -> std::io::Result<OwnedFd> {
        self.socket.as_fd().try_clone_to_owned()
    }

    /// Serves until `close` says so: then idle connections are closed, running calls finish, and it returns. `false` where
    /// `drain`, from when idle connections are closed, was not enough for that, and calls were cut.
    pub async fn serve(self, routes: impl Routes, mut close: watch::Receiver<Close>, drain: Duration) -> bool {
        let ListenerConfig { max_connections, client_timeout, tls } = self.config;
        let port = Arc::new(Port { builder: connection_builder(client_timeout), routes, client_timeout, tls });
        let places = Arc::new(Semaphore::new(max_connections.get()));
        let mut connections = JoinSet::new();
        let closing = close.clone();
        let linger = loop {
            let accepted = tokio::select! {
                linger = closed(&mut close) => break linger,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&self.socket, &places) => accepted,
            };
            if let Some((stream, peer, place)) = accepted {
                let serve = port.clone().connected(stream, peer, closing.clone());
                connections.spawn(async move {
                    serve.await;
                    drop(place);
                });
            }
        };
        drop(self.socket);
        let finished = async { while connections.join_next().await.is_some() {} };
        tokio::time::timeout(linger + drain, finished).await.is_ok()
    }
}

/// Resolves when the port is to close, with the time that idle connections have.
async fn closed(close: &mut watch::Receiver<Close>) -> Duration {
    // An error means that the sender is gone, which is a close too.
    match close.wait_for(|close| *close != Close::Open).await.as_deref() {
        Ok(Close::HandedOver(linger)) => *linger,
        _ => Duration::ZERO,
    }
}

async fn accept(
    socket: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, IpAddr, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.ok()?;
    match socket.accept().await {
        Ok((stream, peer)) => Some((stream, peer.ip().to_canonical(), place)),
        Err(error) => {
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

fn connection_builder(client_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().header_read_timeout(client_timeout).max_buf_size(READ_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(OWN_RESETS)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(client_timeout)
        .keep_alive_timeout(client_timeout);
    builder
}

/// What the connections of a port share.
struct Port<R> {
    builder: auto::Builder<TokioExecutor>,
    routes: R,
    client_timeout: Duration,
    tls: Option<Arc<Tls>>,
}

impl<R: Routes> Port<R> {
    async fn connected(self: Arc<Self>, stream: TcpStream, peer: IpAddr, mut close: watch::Receiver<Close>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        // Until the first byte says which protocol it is, no other timer runs.
        let first = tokio::time::timeout(self.client_timeout, stream.readable());
        let lingers = async {
            let linger = closed(&mut close).await;
            tokio::time::sleep(linger).await;
        };
        let begun = tokio::select! {
            begun = first => matches!(begun, Ok(Ok(()))),
            () = lingers => false,
        };
        if !begun {
            return;
        }
        match &self.tls {
            None => self.serve(WriteTimeout::new(stream, self.client_timeout), peer, close).await,
            // In a box of its own: a connection in cleartext need not have room for it.
            Some(tls) => Box::pin(self.serve_tls(tls.config(), stream, peer, close)).await,
        }
    }

    /// Shakes hands, on the connection's own task and in its place among all connections, and serves.
    async fn serve_tls(
        &self,
        config: Arc<ServerConfig>,
        mut stream: TcpStream,
        peer: IpAddr,
        close: watch::Receiver<Close>,
    ) {
        let mut first = [0];
        let shaken = tokio::time::timeout(self.client_timeout, async {
            if stream.peek(&mut first).await? > 0 && first[0] != HANDSHAKE {
                refuse_cleartext(&mut stream).await?;
                return Ok(None);
            }
            let stream = WriteTimeout::new(stream, self.client_timeout);
            TlsAcceptor::from(config).accept(stream).await.map(Some)
        });
        match shaken.await {
            Ok(Ok(Some(stream))) => self.serve(stream, peer, close).await,
            Ok(Ok(None)) => tracing::debug!(%peer, "a connection in cleartext to a port that speaks TLS"),
            Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(%peer, "a TLS handshake took too long (flag --client-timeout)"),
        }
    }

    async fn serve(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: IpAddr,
        mut close: watch::Receiver<Close>,
    ) {
        let client_timeout = self.client_timeout;
        let untaken = Arc::new(Untaken::default());
        let timer = ConnectionTimer::default();
        let service = service_fn(|request: http::Request<Incoming>| {
            edge::serve(self.routes.clone(), peer, timer.clone(), untaken.clone(), request)
        });
        let mut builder = self.builder.clone();
        builder.http1().timer(timer.clone());
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let mut ends = pin!(async {
            tokio::select! {
                linger = closed(&mut close) => (false, linger),
                () = untaken.outlasts(client_timeout) => (true, Duration::ZERO),
            }
        });
        let (stalls, linger) = tokio::select! {
            biased;
            result = connection.as_mut() => return note(result),
            ends = Apart::new(ends.as_mut()) => ends,
        };
        if !linger.is_zero() && !untaken.is_http2() {
            untaken.leave();
            tokio::select! {
                result = connection.as_mut() => return note(result),
                () = tokio::time::sleep(linger) => {}
            }
        }
        // Over h2 the client is told to open another connection, and what runs on this one goes on.
        connection.as_mut().graceful_shutdown();
        let given_up = async {
            if !stalls {
                tokio::select! {
                    () = untaken.outlasts(client_timeout) => {}
                    () = untaken.remains(client_timeout) => return,
                }
            }
            // One answer that is not taken; the others have as long again.
            tokio::time::sleep(client_timeout).await;
        };
        tokio::select! {
            result = connection => note(result),
            () = given_up => {
                tracing::debug!(?client_timeout, "connection cut: its client does not take its answers");
            }
        }
    }
}

/// Tells a client that speaks HTTP without TLS what is wrong. What else it has sent is of no interest.
async fn refuse_cleartext(stream: &mut TcpStream) -> std::io::Result<()> {
    const TEXT: &str = "{\"error\":\"this port speaks TLS: call it by https://\"}";
    let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length";
    // Closing with bytes unread would take the answer away from the client.
    let _ = stream.try_read(&mut [0; 4096]);
    stream.write_all(format!("{head}: {}\r\n\r\n{TEXT}", TEXT.len()).as_bytes()).await?;
    stream.shutdown().await
}

fn note<E: std::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended with an error");
    }
}
