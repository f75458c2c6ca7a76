//! A port that is a Unix socket, for a gateway of the same machine. HTTP/2 is spoken there, and nobody is mistrusted: who
//! may open the socket is whom its folder lets in.

use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::edge::{self, Routes};
use super::lazy_timer::ConnectionTimer;
use super::listener::Close;
use super::untaken::Untaken;

/// Streams of one connection: more than a gateway is granted slots.
const MAX_STREAMS: u32 = 4_096;
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;
/// A gateway passes on what heads its own clients send, HTTP/1.1's long ones too.
const HEADER_LIST: u32 = 1 << 20;
/// Clients of a gateway may all leave at once.
const PENDING_RESETS: usize = MAX_STREAMS as usize;
/// After an error of `accept`, as running out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What requests are said to come from.
const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A bound Unix socket; its file is removed in the end.
pub struct UnixPort {
    socket: UnixListener,
    path: PathBuf,
}

impl UnixPort {
    /// Binds a path. A socket that somebody left there, and nobody listens on, is removed.
    pub fn bind(path: PathBuf) -> std::io::Result<UnixPort> {
        let socket = match UnixListener::bind(&path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_over(&path)? => {
                std::fs::remove_file(&path)?;
                UnixListener::bind(&path)?
            }
            bound => bound?,
        };
        Ok(UnixPort { socket, path })
    }

    /// Serves until `close` says so: then running calls finish, and it returns. `false` where `drain` was not enough.
    pub async fn serve(self, routes: impl Routes, mut close: watch::Receiver<Close>, drain: Duration) -> bool {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = closed(&mut close) => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.socket.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, routes.clone(), close.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self);
        let finished = async { while connections.join_next().await.is_some() {} };
        tokio::time::timeout(drain, finished).await.is_ok()
    }
}

impl Drop for UnixPort {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "a socket's file could not be removed");
        }
    }
}

/// Whether a path is a socket on which nobody listens any more.
fn is_left_over(path: &Path) -> std::io::Result<bool> {
    if !std::fs::symlink_metadata(path)?.file_type().is_socket() {
        return Err(Error::new(ErrorKind::AlreadyExists, "there is a file, and it is no socket"));
    }
    let refused = std::os::unix::net::UnixStream::connect(path).err();
    Ok(refused.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused))
}

async fn closed(close: &mut watch::Receiver<Close>) {
    // An error means that the sender is gone, which is a close too.
    let _ = close.wait_for(|close| *close != Close::Open).await;
}

async fn serve_connection(stream: UnixStream, routes: impl Routes, mut close: watch::Receiver<Close>) {
    let untaken = Arc::new(Untaken::default());
    // Of no use over h2.
    let timer = ConnectionTimer::default();
    let service = service_fn(|request: http::Request<Incoming>| {
        edge::serve(routes.clone(), PEER, timer.clone(), untaken.clone(), request)
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(HEADER_LIST)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(None);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = closed(&mut close) => {
            // The gateway is told to open no more streams, and what runs goes on.
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended with an error");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_taken_over_only_where_nobody_listens() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let port = UnixPort::bind(path.clone()).unwrap();
        assert_eq!(UnixPort::bind(path.clone()).err().map(|error| error.kind()), Some(ErrorKind::AddrInUse));
        drop(port);
        assert!(!path.exists());
        // One that crashed leaves its socket behind.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(UnixPort::bind(path.clone()).unwrap());
        std::fs::write(&path, "precious").unwrap();
        assert!(UnixPort::bind(path.clone()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
