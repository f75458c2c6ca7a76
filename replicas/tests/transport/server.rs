//! Servers that do byte by byte what a test says, and requests to them.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use weirgate_protocol::UpstreamUrl;
use weirgate_replicas::remote::{Address, Fault, InBody, OutBody, Transport, TransportConfig};

/// What no part of a test may take. Reaching it fails the test.
pub const LONG: Duration = Duration::from_secs(20);

/// A server of one script for each of its connections, run one after another on a thread.
pub struct Scripted {
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scripted {
    /// `script` is given each connection and its number, from 0.
    pub fn new(mut script: impl FnMut(Peer, usize) + Send + 'static) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, ended) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let stop = ended.clone();
        let thread = std::thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                script(Peer::new(stream.unwrap()), number);
            }
        });
        Scripted { address, ended, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn transport(&self) -> Transport {
        transport(&self.url())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the server's script failed");
        }
    }
}

/// A connection as its server sees it.
pub struct Peer {
    pub stream: TcpStream,
    input: Vec<u8>,
}

/// What a server saw of a request.
pub struct Seen {
    pub head: String,
    pub body: Vec<u8>,
}

impl Peer {
    fn new(stream: TcpStream) -> Peer {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Peer { stream, input: Vec::new() }
    }

    /// Reads more; false at the end.
    pub fn more(&mut self) -> bool {
        let mut buffer = [0; 64 << 10];
        let read = self.stream.read(&mut buffer).unwrap_or(0);
        self.input.extend_from_slice(&buffer[..read]);
        read > 0
    }

    /// The next request's head; none where the client closed first.
    pub fn head(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.input.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = self.input.split_off(end + 4);
                return Some(String::from_utf8(std::mem::replace(&mut self.input, rest)).unwrap());
            }
            if !self.more() {
                return None;
            }
        }
    }

    /// The next request, whose body has a content-length or none, or is chunked and taken with its chunks' sizes.
    pub fn request(&mut self) -> Option<Seen> {
        let head = self.head()?;
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(|text| text.parse().unwrap());
        if head.contains("transfer-encoding: chunked") {
            while !self.input.ends_with(b"0\r\n\r\n") && !self.input.ends_with(b"\r\n\r\n") {
                assert!(self.more(), "cut in a chunked body");
            }
            return Some(Seen { head, body: std::mem::take(&mut self.input) });
        }
        let length = length.unwrap_or(0);
        while self.input.len() < length {
            if !self.more() {
                return None;
            }
        }
        let rest = self.input.split_off(length);
        Some(Seen { head, body: std::mem::replace(&mut self.input, rest) })
    }

    /// The next bytes, exactly so many.
    pub fn take(&mut self, count: usize) -> Vec<u8> {
        while self.input.len() < count {
            assert!(self.more(), "closed before {count} bytes came");
        }
        let rest = self.input.split_off(count);
        std::mem::replace(&mut self.input, rest)
    }

    /// What came and was not taken.
    pub fn input(&self) -> &[u8] {
        &self.input
    }

    pub fn say(&mut self, text: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(text.as_ref());
    }

    /// Ends the connection by a reset.
    pub fn reset(self) {
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).unwrap();
    }

    /// Waits until the client ends the connection; how many more bytes it sent.
    pub fn wait_for_end(&mut self) -> usize {
        while self.more() {}
        self.input.len()
    }
}

pub fn config(url: &str) -> TransportConfig {
    TransportConfig::new(Address::Url(UpstreamUrl::parse(url).unwrap()))
}

pub fn transport(url: &str) -> Transport {
    Transport::new(config(url)).unwrap()
}

/// A request with a body that comes bit by bit.
pub fn stream<B>(body: B) -> Request<OutBody>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    Request::post("/stream").body(OutBody::Stream(body.map_err(Into::into).boxed_unsync())).unwrap()
}

pub fn post(body: impl Into<Bytes>) -> Request<OutBody> {
    Request::post("/path?a=b").header("content-type", "text/plain").body(OutBody::Whole(body.into())).unwrap()
}

pub fn get() -> Request<OutBody> {
    Request::get("/").body(OutBody::Whole(Bytes::new())).unwrap()
}

/// Sends, and takes all of the answer.
pub async fn call(transport: &Transport, request: Request<OutBody>) -> Result<(u16, Bytes), Fault> {
    let answer = send(transport, request).await?;
    let status = answer.status().as_u16();
    Ok((status, text(answer).await?))
}

pub async fn send(transport: &Transport, request: Request<OutBody>) -> Result<Response<InBody>, Fault> {
    tokio::time::timeout(LONG, transport.send(request)).await.expect("no answer in time")
}

pub async fn text(answer: Response<InBody>) -> Result<Bytes, Fault> {
    let body = tokio::time::timeout(LONG, answer.into_body().collect()).await.expect("no end in time");
    body.map(|body| body.to_bytes()).map_err(|error| *error.downcast::<Fault>().unwrap())
}

/// A body without an end.
#[derive(Default)]
pub struct Endless {
    /// Counts its pieces.
    pub made: Arc<AtomicUsize>,
}

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.made.fetch_add(1, Ordering::SeqCst);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 1 << 16])))))
    }
}
