//! A server that sends what it is told to.

use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use weirgate_loadtest::client::{Call, Client, Connection};
use weirgate_loadtest::request::{Answer, Protocol, Request};

/// No test waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a test does, and the end of all tasks with it.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { timeout(PATIENCE, test).await.expect("the test hangs") })
}

/// Serves one connection after another, each with `serve`, which gets its number.
pub async fn listen<F>(serve: impl Fn(usize, TcpStream) -> F + Send + 'static) -> (SocketAddr, JoinSet<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            connections.spawn(serve(number, stream));
        }
    });
    (address, tasks)
}

/// Reads one request whole; its head and body. None at the end of the stream.
pub async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<(String, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((head, body))
}

/// Answers each request of a connection with `answer`, cut into pieces of these lengths and a last one.
pub async fn answer(stream: &mut TcpStream, answer: &[u8], cuts: &[usize]) {
    let mut left = answer;
    for &cut in cuts {
        let piece;
        (piece, left) = left.split_at(cut.min(left.len()));
        stream.write_all(piece).await.unwrap();
        // Lets the client see it before the next one comes. How often it does is no part of what is tested.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
    }
    // The client may have heard enough.
    let _ = stream.write_all(left).await;
}

/// A server that answers each connection's first request with these bytes, and closes it.
pub async fn fixed(bytes: &[u8], cuts: &[usize]) -> (SocketAddr, JoinSet<()>) {
    let (bytes, cuts) = (bytes.to_vec(), cuts.to_vec());
    listen(move |_, mut stream| {
        let (bytes, cuts) = (bytes.clone(), cuts.clone());
        async move {
            request(&mut stream).await;
            answer(&mut stream, &bytes, &cuts).await;
        }
    })
    .await
}

pub fn post(body: impl Into<bytes::Bytes>) -> Request {
    Request::new(Protocol::V2, "/v2/models/m/infer", body)
}

pub async fn connect(address: SocketAddr) -> Connection {
    let client = Client::plain(address).unwrap();
    client.connect(Protocol::V2, &mut JoinSet::new()).await.unwrap()
}

/// One call on a connection of its own.
pub async fn call(address: SocketAddr, request: &Request) -> Call {
    connect(address).await.call(request, true).await
}

/// What a test compares of an answer.
pub fn seen(answer: &Answer) -> (u16, String, u64) {
    (answer.status, String::from_utf8_lossy(&answer.body).into_owned(), answer.length)
}
