//! Whether the server is still there, where a call was given up.
//!
//! A connection whose server went silent looks open for many minutes, and all its calls would run out of time. So after a
//! call that was given up the server is sent a PING, and has some time to answer it. Without such calls there are no
//! PINGs: gRPC's servers close connections that have too many of them.

use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{sleep, timeout};

use super::streams::Streams;

/// How long a server has to answer a PING, and the time between two.
pub(in crate::client) const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Watches a connection. One that does not answer takes no more calls, but those on it go on, as their time is not over
/// yet. Ends when they have ended, and the connection can be closed.
pub(super) async fn watch(mut pings: PingPong, streams: &Streams, patience: Duration) {
    loop {
        streams.dropped.notified().await;
        match timeout(patience, pings.ping(Ping::opaque())).await {
            Ok(Ok(_)) => sleep(patience).await,
            // It has broken, which its calls are told.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => break,
        }
    }
    streams.give_up();
    while streams.in_use() > 0 {
        sleep(patience).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::{TcpListener, TcpStream};
    use tokio::task::JoinSet;

    use crate::client::Client;
    use crate::client::gauges::Gauges;
    use crate::client::http2::Http2;
    use crate::client::socket::{Socket, Stream};
    use crate::request::{Protocol, Request};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(300);

    /// Whether the connection to a server that answers no call is given up after one, and has ended without its calls. The
    /// server answers PINGs unless it goes `silent`.
    async fn is_given_up(silent: bool) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut unanswered = Vec::new();
            while let Some(Ok(call)) = connection.accept().await {
                unanswered.push(call);
                if silent {
                    std::future::pending::<()>().await;
                }
            }
        });
        let gauges = Arc::new(Gauges::default());
        let socket = Socket::new(Stream::Plain(TcpStream::connect(address).await.unwrap()), gauges.open());
        let (mut http2, driver) = Http2::start(socket, PATIENCE).await.unwrap();
        let mut drivers = JoinSet::new();
        drivers.spawn(driver);
        let client = Client::plain(address).unwrap();
        let request = Request::get(Protocol::Grpc, "/x");
        let (mut waiting, origin) = (http2.clone(), &client.0.origin);
        // Another call waits on, longer than the server is watched.
        let other = waiting.call(origin, &request, false, &gauges);
        let watch = async {
            assert!(timeout(PATIENCE, http2.call(origin, &request, false, &gauges)).await.is_err());
            for _ in 0..4 {
                sleep(PATIENCE).await;
                if !http2.is_open() {
                    return true;
                }
            }
            false
        };
        let given_up = tokio::select! {
            call = other => panic!("{call:?}"),
            given_up = watch => given_up,
        };
        let ended = timeout(4 * PATIENCE, drivers.join_next()).await.is_ok();
        assert_eq!(ended, given_up);
        given_up
    }

    #[test]
    fn a_server_that_goes_silent_is_given_up_and_one_that_only_takes_long_is_not() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            assert!(is_given_up(true).await);
            assert!(!is_given_up(false).await);
        });
    }
}
