//! The h2 connections to one server, and which of them has room for a call.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use h2::{Ping, PingPong};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::traffic::{Counted, Traffic};
use crate::remote::transport::socket::Socket;

/// Most calls on a connection at once.
const STREAMS: usize = 64;
/// What a server may send of one answer that nobody takes.
const STREAM_WINDOW: u32 = 128 << 10;
/// As much for all streams as each of them may have: one answer that nobody takes holds no other up.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS as u32;
/// What is held of one request that the server does not take.
const SEND_BUFFER: usize = 128 << 10;
const MOST_HEADERS: u32 = 64 << 10;

/// How long one of ours with calls on it may be silent before it is asked for a sign of life, and how long that may take.
/// Others are not asked: servers of gRPC end connections on which they are asked more often than every five minutes.
const SILENCE: Duration = Duration::from_secs(10);

pub(in crate::remote) struct Connections {
    open: Mutex<Vec<Arc<Connection>>>,
    most: usize,
    patience: Duration,
    pings: bool,
    /// A call has ended, or a connection has come or gone.
    changed: Notify,
}

struct Connection {
    sender: SendRequest<Bytes>,
    traffic: Arc<Traffic>,
    /// Calls on it.
    calls: AtomicUsize,
    /// It takes no more calls.
    is_closing: AtomicBool,
}

/// A call's place on a connection, given back when it is dropped.
pub(in crate::remote) struct Place {
    connection: Arc<Connection>,
    sender: SendRequest<Bytes>,
    connections: Arc<Connections>,
}

impl Connections {
    /// Up to `most` connections, each of which is closed when it had nothing to do for `patience`. With `pings`, those are
    /// ended on which the server gives no sign of life.
    pub fn new(most: usize, patience: Duration, pings: bool) -> Connections {
        Connections { open: Mutex::default(), most, patience, pings, changed: Notify::new() }
    }

    /// A place on a connection that is open. Waits for one where there may be no more connections.
    pub async fn place(self: &Arc<Self>) -> Option<Place> {
        loop {
            let mut changed = pin!(self.changed.notified());
            match self.try_place() {
                (Some(place), _) => return Some(place),
                (None, open) if open < self.most => return None,
                _ => {
                    // Whatever changes from here on is heard.
                    changed.as_mut().enable();
                    if let (Some(place), _) = self.try_place() {
                        return Some(place);
                    }
                    changed.await;
                }
            }
        }
    }

    /// Whether none has room, and there may be another.
    pub fn wants_more(&self) -> bool {
        let open = self.open.lock();
        open.len() < self.most && !open.iter().any(|connection| connection.has_room())
    }

    /// Calls that are on connections now.
    pub fn calls(&self) -> usize {
        self.open.lock().iter().map(|connection| connection.calls.load(Ordering::Relaxed)).sum()
    }

    /// A place, if there is one, and how many connections there are. The first ones are filled first, so that the others
    /// come to have nothing to do.
    fn try_place(self: &Arc<Self>) -> (Option<Place>, usize) {
        let open = self.open.lock();
        let connection = open.iter().find(|connection| connection.has_room());
        let place = connection.map(|connection| {
            connection.calls.fetch_add(1, Ordering::Relaxed);
            let (connection, sender) = (connection.clone(), connection.sender.clone());
            Place { connection, sender, connections: self.clone() }
        });
        (place, open.len())
    }

    /// Begins to speak on a new connection, and waits for the server to do so too. Its driver must be polled from then on.
    pub async fn greet(self: &Arc<Self>, socket: Socket) -> Result<impl Future<Output = ()> + Send + use<>, String> {
        let traffic = Arc::<Traffic>::default();
        let counted = Counted { socket, traffic: traffic.clone() };
        let (sender, mut driver) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(MOST_HEADERS)
            // It says how many it takes when it says the first thing.
            .initial_max_send_streams(0)
            .enable_push(false)
            .handshake(counted)
            .await
            .map_err(|error| error.to_string())?;
        poll_fn(|cx| match Pin::new(&mut driver).poll(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(Err("closed by the server".to_owned())),
            Poll::Ready(Err(error)) => Poll::Ready(Err(format!("the server does not speak h2: {error}"))),
            Poll::Pending if sender.current_max_send_streams() > 0 => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        })
        .await?;
        let pings = driver.ping_pong().filter(|_| self.pings);
        let connection =
            Arc::new(Connection { sender, traffic, calls: AtomicUsize::new(0), is_closing: AtomicBool::new(false) });
        self.open.lock().push(connection.clone());
        self.changed.notify_waiters();
        let connections = self.clone();
        Ok(async move {
            tokio::select! {
                // One that breaks fails the calls on it, which is where it is told.
                _ = driver => {}
                () = connection.watch(pings, connections.patience) => {}
            }
            connections.close(&connection);
        })
    }

    /// Gives a connection no more calls.
    fn close(&self, connection: &Arc<Connection>) {
        connection.is_closing.store(true, Ordering::Relaxed);
        self.open.lock().retain(|open| !Arc::ptr_eq(open, connection));
        self.changed.notify_waiters();
    }
}

impl Connection {
    fn has_room(&self) -> bool {
        let calls = self.calls.load(Ordering::Relaxed);
        !self.is_closing.load(Ordering::Relaxed) && calls < STREAMS && calls < self.sender.current_max_send_streams()
    }

    /// Ends when the server gives no sign of life, or nothing was to be done for `patience`.
    async fn watch(&self, mut pings: Option<PingPong>, patience: Duration) {
        let (mut read, mut busy) = (self.traffic.read(), Instant::now());
        loop {
            tokio::time::sleep(SILENCE.min(patience)).await;
            let calls = self.calls.load(Ordering::Relaxed);
            if calls > 0 {
                busy = Instant::now();
            } else if busy.elapsed() >= patience {
                return;
            }
            let before = std::mem::replace(&mut read, self.traffic.read());
            if calls > 0
                && before == read
                && let Some(pings) = &mut pings
                && !matches!(tokio::time::timeout(SILENCE, pings.ping(Ping::opaque())).await, Ok(Ok(_)))
            {
                return;
            }
        }
    }
}

impl Place {
    /// Whether a call can be sent here. A connection that has ended is not given again.
    pub async fn is_ready(&mut self) -> bool {
        let is_ready = poll_fn(|cx| self.sender.poll_ready(cx)).await.is_ok();
        if !is_ready {
            self.connections.close(&self.connection);
        }
        is_ready
    }

    pub(super) fn sender(&mut self) -> &mut SendRequest<Bytes> {
        &mut self.sender
    }

    pub(super) fn traffic(&self) -> &Traffic {
        &self.connection.traffic
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connection.calls.fetch_sub(1, Ordering::Relaxed);
        self.connections.changed.notify_one();
    }
}
