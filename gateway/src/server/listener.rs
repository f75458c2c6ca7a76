//! Accepts connections and serves HTTP/1.1, h2c and gRPC on them, until told to close in order.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::edge::{self, Routes};
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
const READ_BUFFER: usize = 408 << 10;
/// After an error of `accept` that is not a connection's own, as running out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug)]
pub struct ListenerConfig {
    pub max_connections: NonZeroUsize,
    /// For the head of a request, for a dead h2 peer to answer a ping, and the longest pause in taking an answer.
    pub client_timeout: Duration,
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

    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Serves until `close` turns true: then idle connections are closed, running calls finish, and it returns. `false`
    /// where `drain` was not enough for that, and calls were cut.
    pub async fn serve(self, routes: impl Routes, mut close: watch::Receiver<bool>, drain: Duration) -> bool {
        let builder = Arc::new(connection_builder(self.config.client_timeout));
        let places = Arc::new(Semaphore::new(self.config.max_connections.get()));
        let mut connections = JoinSet::new();
        let (closing, client_timeout) = (close.clone(), self.config.client_timeout);
        loop {
            let accepted = tokio::select! {
                () = closed(&mut close) => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&self.socket, &places) => accepted,
            };
            if let Some((stream, peer, place)) = accepted {
                let serve =
                    serve_connection(builder.clone(), stream, peer, routes.clone(), client_timeout, closing.clone());
                connections.spawn(async move {
                    serve.await;
                    drop(place);
                });
            }
        }
        drop(self.socket);
        let finished = async { while connections.join_next().await.is_some() {} };
        tokio::time::timeout(drain, finished).await.is_ok()
    }
}

async fn closed(close: &mut watch::Receiver<bool>) {
    // An error means that the sender is gone, which is a close too.
    let _ = close.wait_for(|close| *close).await;
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
    builder.http1().timer(TokioTimer::new()).header_read_timeout(client_timeout).max_buf_size(READ_BUFFER);
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

async fn serve_connection(
    builder: Arc<auto::Builder<TokioExecutor>>,
    stream: TcpStream,
    peer: IpAddr,
    routes: impl Routes,
    client_timeout: Duration,
    mut close: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    // Until the first byte says which protocol it is, no other timer runs.
    let first = tokio::time::timeout(client_timeout, stream.readable());
    let begun = tokio::select! {
        begun = first => matches!(begun, Ok(Ok(()))),
        () = closed(&mut close) => false,
    };
    if !begun {
        return;
    }
    let untaken = Arc::new(Untaken::default());
    let service = service_fn(|request: http::Request<Incoming>| {
        let (routes, untaken) = (routes.clone(), untaken.clone());
        async move { edge::serve(routes, peer, &untaken, request).await }
    });
    let stream = TokioIo::new(WriteTimeout::new(stream, client_timeout));
    let mut connection = pin!(builder.serve_connection(stream, service));
    let mut stalls = false;
    tokio::select! {
        result = connection.as_mut() => return note(result),
        () = closed(&mut close) => {}
        () = untaken.outlasts(client_timeout) => stalls = true,
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

fn note<E: std::fmt::Display>(result: Result<(), E>) {
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended with an error");
    }
}
