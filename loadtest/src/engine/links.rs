//! The connections of a thread, kept from run to run.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::client::{Call, Client, Connection, Failure};
use crate::request::{Protocol, Request};

/// A sender's connection, or its share of one.
pub(super) struct Link {
    connection: Connection,
    links: Rc<Links>,
    sender: usize,
    /// Since when its sender waited for it to be opened, and how long: told with the first call.
    waited: Option<(Instant, Duration)>,
}

impl Link {
    pub fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    /// Sends a request and reads the whole answer; keeps the body if `keep`.
    ///
    /// One that the server certainly did not process is sent a second time, on another connection if it left this one.
    pub async fn call(&mut self, request: &Request, keep: bool) -> Call {
        let call = self.try_call(request, keep).await;
        if call.result.as_ref().err() != Some(&Failure::Refused) {
            return call;
        }
        if !self.is_open() {
            match self.links.get(self.sender).await {
                Ok(link) => *self = link,
                Err(failure) => return Call { done: Instant::now(), result: Err(failure), ..call },
            }
        }
        Call { sent: call.sent, ..self.try_call(request, keep).await }
    }

    async fn try_call(&mut self, request: &Request, keep: bool) -> Call {
        let waited = self.waited.take();
        let call = self.connection.call(request, keep).await;
        match waited {
            Some((began, time)) => call.after_connecting(began, time),
            None => call,
        }
    }
}

/// Where a thread's senders get their connections.
pub(super) struct Links {
    client: Client,
    protocol: Protocol,
    /// HTTP/1.1: those that no sender has. The last that came back is the first to go.
    idle: RefCell<Vec<Connection>>,
    /// HTTP/2: those that senders share, opened when first asked for. Who waits for the lock waits for the connection.
    shared: Vec<Mutex<Option<Connection>>>,
    /// Of all HTTP/2 connections, those that were replaced too: the calls on them go on, and then they end by themselves.
    drivers: RefCell<JoinSet<()>>,
}

impl Links {
    /// Of HTTP/2, `connections` are shared.
    pub fn new(client: Client, protocol: Protocol, connections: usize) -> Links {
        let shared = if protocol.is_http2() { connections } else { 0 };
        Links {
            client,
            protocol,
            idle: RefCell::new(Vec::new()),
            shared: std::iter::repeat_with(|| Mutex::new(None)).take(shared).collect(),
            drivers: RefCell::new(JoinSet::new()),
        }
    }

    /// A connection for the sender of this number: kept, shared or new.
    pub async fn get(self: &Rc<Links>, sender: usize) -> Result<Link, Failure> {
        let link = |connection, waited| Link { connection, links: self.clone(), sender, waited };
        if let Some(kept) = self.kept(sender) {
            return Ok(link(kept, None));
        }
        let began = Instant::now();
        let connection = if self.shared.is_empty() { self.connect().await? } else { self.share(sender).await? };
        Ok(link(connection, Some((began, began.elapsed()))))
    }

    /// Takes a connection back that its sender needs no more.
    pub fn put(&self, link: Link) {
        if self.shared.is_empty() && link.is_open() {
            self.idle.borrow_mut().push(link.connection);
        }
    }

    /// One that is there without waiting. Those that the server closed meanwhile are dropped.
    fn kept(&self, sender: usize) -> Option<Connection> {
        if self.shared.is_empty() {
            let mut idle = self.idle.borrow_mut();
            return std::iter::from_fn(|| idle.pop()).find(Connection::is_open);
        }
        let shared = self.shared[sender % self.shared.len()].try_lock().ok()?;
        shared.as_ref().filter(|connection| connection.is_open()).and_then(Connection::share)
    }

    async fn share(&self, sender: usize) -> Result<Connection, Failure> {
        let mut shared = self.shared[sender % self.shared.len()].lock().await;
        if let Some(share) = shared.as_ref().filter(|connection| connection.is_open()).and_then(Connection::share) {
            return Ok(share);
        }
        let connection = self.connect().await?;
        let share = connection.share();
        let share = share.ok_or_else(|| Failure::Unsendable("the connection can't be shared".to_owned()))?;
        *shared = Some(connection);
        Ok(share)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let (connection, driver) = self.client.start(self.protocol).await?;
        let mut drivers = self.drivers.borrow_mut();
        while drivers.try_join_next().is_some() {}
        if let Some(driver) = driver {
            drivers.spawn(driver);
        }
        Ok(connection)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use bytes::Bytes;
    use h2::server::SendResponse;
    use http::{HeaderValue, Response};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::{Builder, LocalOptions};
    use tokio::sync::Notify;

    use super::*;

    fn run<T>(test: impl Future<Output = T>) -> T {
        Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap().block_on(test)
    }

    /// Serves one connection after another, each with `serve`, which gets its number.
    async fn listen<F>(serve: impl Fn(usize, TcpStream) -> F + 'static) -> (SocketAddr, JoinSet<()>)
    where
        F: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn_local(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn_local(serve(number, stream));
            }
        });
        (address, tasks)
    }

    fn links(address: SocketAddr) -> Rc<Links> {
        Rc::new(Links::new(Client::plain(address).unwrap(), Protocol::Grpc, 1))
    }

    fn request() -> Request {
        Request::new(Protocol::Grpc, "/x", "")
    }

    fn right(mut respond: SendResponse<Bytes>) {
        let mut response = Response::new(());
        response.headers_mut().insert("grpc-status", HeaderValue::from_static("0"));
        respond.send_response(response, true).unwrap();
    }

    async fn answer_all(stream: TcpStream) {
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((_, respond))) = connection.accept().await {
            right(respond);
        }
    }

    #[test]
    fn calls_in_flight_survive_the_servers_goodbye() {
        const CALLS: usize = 5;
        run(async {
            let answer = Arc::new(Notify::new());
            let may_answer = answer.clone();
            let (address, _server) = listen(move |number, stream| {
                let may_answer = may_answer.clone();
                async move {
                    if number > 0 {
                        return answer_all(stream).await;
                    }
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    let mut waiting = Vec::new();
                    while waiting.len() < CALLS {
                        waiting.push(connection.accept().await.unwrap().unwrap().1);
                    }
                    connection.graceful_shutdown();
                    tokio::select! {
                        _ = connection.accept() => panic!("the connection ended"),
                        () = may_answer.notified() => {}
                    }
                    waiting.into_iter().for_each(right);
                    assert!(connection.accept().await.is_none());
                }
            })
            .await;
            let links = links(address);
            let mut calls = JoinSet::new();
            for sender in 0..CALLS {
                let mut link = links.get(sender).await.unwrap();
                calls.spawn_local(async move { link.call(&request(), false).await.result.unwrap() });
            }
            let mut late = links.get(CALLS).await.unwrap();
            while late.is_open() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            late = links.get(CALLS).await.unwrap();
            assert!(late.is_open() && late.call(&request(), false).await.result.unwrap().is_ok());
            answer.notify_one();
            let answers = calls.join_all().await;
            assert!(answers.len() == CALLS && answers.iter().all(crate::request::Answer::is_ok));
            // The old connection has ended by itself; one more is opened before its task is cleared away.
            assert_eq!(links.drivers.borrow().len(), 2);
        });
    }

    #[test]
    fn what_the_server_did_not_process_is_sent_once_more() {
        /// Goodbye, and no stream was processed.
        const GOAWAY: [u8; 17] = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        const SETTINGS: [u8; 9] = [0, 0, 0, 4, 0, 0, 0, 0, 0];
        run(async {
            let (address, _server) = listen(|number, mut stream| async move {
                match number {
                    0 => {
                        stream.write_all(&SETTINGS).await.unwrap();
                        // What a connection begins with, and a beginning of the call.
                        stream.read_exact(&mut [0; 120]).await.unwrap();
                        stream.write_all(&GOAWAY).await.unwrap();
                        std::future::pending().await
                    }
                    _ => {
                        let mut connection = h2::server::handshake(stream).await.unwrap();
                        for call in 0.. {
                            let Some(Ok((_, mut respond))) = connection.accept().await else { return };
                            match call {
                                // The second call is refused once, the third for good.
                                1 | 3 | 4 => respond.send_reset(h2::Reason::REFUSED_STREAM),
                                _ => right(respond),
                            }
                        }
                    }
                }
            })
            .await;
            let links = links(address);
            let mut link = links.get(0).await.unwrap();
            assert!(link.call(&request(), false).await.result.unwrap().is_ok());
            assert!(link.call(&request(), false).await.result.unwrap().is_ok());
            assert_eq!(link.call(&request(), false).await.result.unwrap_err(), Failure::Refused);
            assert!(link.call(&request(), false).await.result.unwrap().is_ok());
        });
    }

    #[test]
    fn opening_a_connection_is_a_part_of_the_first_call_on_it() {
        run(async {
            let (address, _server) = listen(|_, stream| answer_all(stream)).await;
            let links = links(address);
            let before = Instant::now();
            let mut link = links.get(0).await.unwrap();
            let connected = Instant::now();
            let first = link.call(&request(), false).await;
            assert!(before <= first.sent && first.sent < connected);
            assert!(first.connected.is_some_and(|time| !time.is_zero() && first.sent + time <= connected));
            let second = link.call(&request(), false).await;
            assert!(second.connected.is_none() && second.sent >= connected);
            assert!(links.get(1).await.unwrap().call(&request(), false).await.connected.is_none());
        });
    }
}
