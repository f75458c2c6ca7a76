//! Servers that keep to the rules: large bodies, trailers, Unix sockets.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ETAG, TE, TRAILER};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::channel::Channel;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use weirgate_replicas::remote::{FaultKind, Transport, TransportConfig};

use crate::server::{call, get, post, send, stream, transport};

type Answer = Response<UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>>;

const PIECE: usize = 64 << 10;
const LARGE: usize = 256 << 20;
/// What may be held of a large body at any time.
const HELD: usize = 4 << 20;

/// A body of which is known how much of it is alive.
struct Large {
    left: usize,
    alive: Arc<Alive>,
}

#[derive(Default)]
pub struct Alive {
    now: AtomicUsize,
    most: AtomicUsize,
    made: AtomicUsize,
}

struct Piece(Box<[u8]>, Arc<Alive>);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.1.now.fetch_sub(PIECE, SeqCst);
    }
}

impl Body for Large {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        this.left -= PIECE;
        this.alive.made.fetch_add(PIECE, SeqCst);
        let now = this.alive.now.fetch_add(PIECE, SeqCst) + PIECE;
        this.alive.most.fetch_max(now, SeqCst);
        let piece = Piece(vec![b'x'; PIECE].into(), this.alive.clone());
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_owner(piece)))))
    }
}

fn large(alive: &Arc<Alive>) -> Large {
    Large { left: LARGE, alive: alive.clone() }
}

/// Echoes a POST with its trailers, counts what is streamed to it, and gives large answers to GET.
async fn answer(request: Request<Incoming>, alive: Arc<Alive>) -> Result<Answer, Infallible> {
    let body = match request.uri().path() {
        "/path" => request.into_body().map_err(Into::into).boxed_unsync(),
        "/stream" => {
            let (mut body, mut count) = (request.into_body(), 0);
            while let Some(Ok(frame)) = body.frame().await {
                count += frame.data_ref().map_or(0, Bytes::len);
            }
            Full::from(count.to_string()).map_err(Into::into).boxed_unsync()
        }
        _ => large(&alive).map_err(Into::into).boxed_unsync(),
    };
    Ok(Response::new(body))
}

pub async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, alive: Arc<Alive>) {
    let service = service_fn(move |request| answer(request, alive.clone()));
    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(io), service).await;
}

/// A server at a free port, its address, and what lives of its large answers.
async fn start(tasks: &mut JoinSet<()>) -> (String, Arc<Alive>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, alive) = (listener.local_addr().unwrap(), Arc::<Alive>::default());
    let counted = alive.clone();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            connections.spawn(serve(stream, counted.clone()));
        }
    });
    (address.to_string(), alive)
}

#[tokio::test]
async fn a_unix_socket_is_spoken_to_by_h2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { serve(listener.accept().await.unwrap().0, Arc::default()).await });
    let transport = Transport::new(TransportConfig::ours(path)).unwrap();
    for text in ["one", "two", ""] {
        assert_eq!(call(&transport, post(text)).await.unwrap(), (200, text.into()));
    }
    assert_eq!(transport.stats().connects, 1);

    let transport = Transport::new(TransportConfig::ours(folder.path().join("none"))).unwrap();
    let fault = call(&transport, post("x")).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Connect);
    assert!(fault.to_string().contains("/none: entity not found"), "{fault}");
}

#[tokio::test]
async fn trailers_come_back_as_they_were_sent() {
    let mut tasks = JoinSet::new();
    let (address, _) = start(&mut tasks).await;
    for scheme in ["http", "h2c"] {
        let transport = transport(&format!("{scheme}://{address}"));
        let (mut sender, channel) = Channel::<Bytes, Infallible>::new(2);
        sender.send_data("abc".into()).await.unwrap();
        sender.send_trailers(HeaderMap::from_iter([(ETAG, HeaderValue::from_static("e"))])).await.unwrap();
        drop(sender);
        let mut request = stream(channel);
        *request.uri_mut() = "/path".parse().unwrap();
        // What a client does not announce, and take, hyper's server does not send on over HTTP/1.1.
        request
            .headers_mut()
            .extend([(TRAILER, HeaderValue::from_static("etag")), (TE, HeaderValue::from_static("trailers"))]);
        let mut answer = send(&transport, request).await.unwrap();
        let body = answer.body_mut().collect().await.unwrap();
        if scheme == "h2c" {
            assert_eq!(body.trailers().unwrap()[ETAG], "e");
        }
        assert_eq!(body.to_bytes(), "abc");
    }
}

#[tokio::test]
async fn large_bodies_pass_without_being_held() {
    let mut tasks = JoinSet::new();
    let (address, served) = start(&mut tasks).await;
    for scheme in ["http", "h2c"] {
        let transport = transport(&format!("{scheme}://{address}"));
        let sent = Arc::<Alive>::default();
        let (_, count) = call_long(&transport, stream(large(&sent))).await;
        assert_eq!(count, LARGE.to_string());
        assert!(sent.most.load(SeqCst) <= HELD, "{scheme}: {} bytes were held of an upload", sent.most.load(SeqCst));

        let mut body = send(&transport, get()).await.unwrap().into_body();
        let mut count = 0;
        while let Some(frame) = body.frame().await {
            count += frame.unwrap().into_data().unwrap().len();
        }
        assert_eq!(count, LARGE);
        assert!(
            served.most.load(SeqCst) <= HELD,
            "{scheme}: {} bytes were held of a download",
            served.most.load(SeqCst)
        );
    }
}

/// Back-pressure: neither side makes more than fits into sockets and windows while the other takes nothing.
#[tokio::test]
async fn who_takes_nothing_is_sent_no_more() {
    /// The kernel's buffers of both ends included.
    const IN_FLIGHT: usize = 24 << 20;
    let mut tasks = JoinSet::new();
    let (address, served) = start(&mut tasks).await;
    for scheme in ["http", "h2c"] {
        let transport = transport(&format!("{scheme}://{address}"));
        let before = served.made.load(SeqCst);
        let mut body = send(&transport, get()).await.unwrap().into_body();
        let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
        let mut made = 0;
        // Until nothing is made any more.
        for _ in 0..400 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            let now = served.made.load(SeqCst) - before;
            if now == made {
                break;
            }
            made = now;
        }
        assert!(made <= IN_FLIGHT, "{scheme}: {made} bytes were made for one who took {}", first.len());
        // Others on the same connection are not held up.
        assert_eq!(call(&transport, post("x")).await.unwrap(), (200, "x".into()));
        drop(body);
    }
}

async fn call_long(transport: &Transport, request: Request<weirgate_replicas::remote::OutBody>) -> (u16, Bytes) {
    let answer = transport.send(request).await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.into_body().collect().await.unwrap().to_bytes())
}
