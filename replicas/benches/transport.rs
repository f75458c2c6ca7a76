//! CPU time of a call over HTTP/1.1, of the thread that makes it: by a transport, by hyper's client on one connection with
//! no pool, and by the bare system calls, which are the floor. A server on another thread gives a fixed answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use weirgate_protocol::UpstreamUrl;
use weirgate_replicas::remote::{Address, OutBody, Transport, TransportConfig};

const ROUNDS: usize = 15;
const CALLS: usize = 4000;
const PATH: &str = "/v1/chat/completions";
const CHUNKS: usize = 64;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let answer = format!(
        "HTTP/1.1 200 OK\r\ndate: Thu, 26 Nov 2026 12:00:00 GMT\r\nserver: stub\r\ncontent-type: application/json\r\n\
         x-request-id: 0123456789abcdef\r\ncontent-length: 400\r\n\r\n{}",
        "a".repeat(400)
    );
    let mut stream =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    for _ in 0..CHUNKS {
        stream.push_str(&format!("c8\r\n{}\r\n", "b".repeat(200)));
    }
    stream.push_str("0\r\n\r\n");
    runtime.block_on(compare("one call, an answer of 400 bytes", serve(answer), CALLS));
    runtime.block_on(compare("one call, an answer of 64 chunks of 200 bytes", serve(stream), CALLS / 4));
}

async fn compare(what: &str, server: (SocketAddr, usize), calls: usize) {
    let (address, length) = server;
    let mut tasks = JoinSet::new();
    let url = UpstreamUrl::parse(&format!("http://{address}")).expect("a URL");
    let transport = Transport::new(TransportConfig::new(Address::Url(url))).expect("a transport");
    let stream = TokioIo::new(connect(address).await);
    let (mut sender, driver) = hyper::client::conn::http1::handshake(stream).await.expect("a handshake");
    tasks.spawn(async move { drop(driver.await) });
    let mut bare = connect(address).await;

    let mut figures = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let from = cpu();
        for _ in 0..calls {
            let answer = transport.send(request(OutBody::Whole)).await.expect("an answer");
            answer.into_body().collect().await.expect("a body");
        }
        figures[0].push(cpu() - from);
        let from = cpu();
        for _ in 0..calls {
            let mut request = request(Full::new);
            request.headers_mut().insert("host", http::HeaderValue::from_static("127.0.0.1"));
            let answer = sender.send_request(request).await.expect("an answer");
            answer.into_body().collect().await.expect("a body");
            sender.ready().await.expect("a connection");
        }
        figures[1].push(cpu() - from);
        let from = cpu();
        let mut buffer = vec![0; 64 << 10];
        for _ in 0..calls {
            bare.write_all(&[b'x'; 700]).await.expect("a write");
            let mut read = 0;
            while read < length {
                read += bare.read(&mut buffer).await.expect("a read");
            }
        }
        figures[2].push(cpu() - from);
    }
    let [ours, hyper, bare] = figures.map(|mut times| {
        times.sort();
        times[ROUNDS / 2].as_secs_f64() * 1e6 / calls as f64
    });
    println!("{what}: transport {ours:.2} µs, hyper {hyper:.2} µs, bare {bare:.2} µs");
    println!("  transport / hyper {:.2}; over bare {:.2} µs against {:.2} µs", ours / hyper, ours - bare, hyper - bare);
}

fn request<B>(body: impl Fn(Bytes) -> B) -> Request<B> {
    let request = Request::post(PATH)
        .header("accept", "application/json")
        .header("content-type", "application/json")
        .header("user-agent", "OpenAI/Python 2.0.0")
        .header("authorization", "Bearer 0123456789abcdef0123456789abcdef")
        .header("x-request-id", "0123456789abcdef")
        .header("x-forwarded-for", "127.0.0.1");
    request.body(body(Bytes::from_static(&[b'q'; 300]))).expect("a request")
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).await.expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    stream
}

/// Gives `answer` to whatever comes in one piece.
fn serve(answer: String) -> (SocketAddr, usize) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (address, length) = (listener.local_addr().expect("an address"), answer.len());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.expect("a connection"), answer.clone());
            std::thread::spawn(move || {
                let mut buffer = [0; 8 << 10];
                stream.set_nodelay(true).expect("no delay");
                while stream.read(&mut buffer).is_ok_and(|read| read > 0) {
                    stream.write_all(answer.as_bytes()).expect("a write");
                }
            });
        }
    });
    (address, length)
}

fn cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time")
}
