//! Small servers in this process, each with a runtime on a thread of its own.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

/// Good for every protocol whose answers are not read.
const ANSWER: &[u8] = br#"{"choices": [{"message": {"role": "assistant", "content": "yes"}}]}"#;

/// Three parts of a chat, the first without text.
const EVENTS: &[u8] = br#"data: {"choices": [{"delta": {"role": "assistant"}}]}

data: {"choices": [{"delta": {"content": "yes "}}]}

data: {"choices": [{"delta": {"content": "sir"}}]}

data: [DONE]

"#;

/// What a server does with a request.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    /// Answers after a time.
    Answers(Duration),
    /// Answers at once, but those of an odd `x-number` after a time.
    SlowWhereOdd(Duration),
    /// Answers 500 at once.
    Refuses,
    /// Answers with events, all at once.
    Streams,
    /// Answers at once, and closes the connection.
    AnswersAndCloses,
    /// Never answers requests whose number, counted from zero, is a multiple of this; others at once.
    Hangs { every: usize },
    /// Answers, but the requests that came while `stall` is set only when it no longer is.
    Stalls,
}

/// What a server saw.
#[derive(Debug, Default)]
pub struct Saw {
    pub requests: AtomicUsize,
    pub connections: AtomicUsize,
    pub in_flight: AtomicUsize,
    pub most_in_flight: AtomicUsize,
    pub stall: AtomicBool,
    /// The `x-number` of each request, in the order of their coming.
    pub numbers: Mutex<Vec<u64>>,
    /// How many messages of a chat each request holds.
    pub messages: Mutex<Vec<usize>>,
}

impl Saw {
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn most_in_flight(&self) -> usize {
        self.most_in_flight.load(Ordering::SeqCst)
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub saw: Arc<Saw>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn http1(does: Does) -> Server {
        Server::start(does, false)
    }

    pub fn grpc(does: Does) -> Server {
        Server::start(does, true)
    }

    fn start(does: Does, http2: bool) -> Server {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let saw = Arc::new(Saw::default());
        let (stop, stopped) = oneshot::channel();
        let seen = saw.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = serve(listener, does, http2, seen) => {}
                    _ = stopped => {}
                }
            });
        });
        Server { address, saw, stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

async fn serve(listener: std::net::TcpListener, does: Does, http2: bool, saw: Arc<Saw>) {
    let listener = TcpListener::from_std(listener).unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        saw.connections.fetch_add(1, Ordering::SeqCst);
        let saw = saw.clone();
        connections.spawn(async move {
            let service = service_fn(move |request| answer(request, does, http2, saw.clone()));
            let io = TokioIo::new(stream);
            // Clients come and go.
            let _ = if http2 {
                hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await
            } else {
                hyper::server::conn::http1::Builder::new().serve_connection(io, service).await
            };
        });
    }
}

/// Counts a request as in flight for as long as it is served or its client waits.
struct InFlight(Arc<Saw>);

impl InFlight {
    fn new(saw: Arc<Saw>) -> InFlight {
        let now = saw.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        saw.most_in_flight.fetch_max(now, Ordering::SeqCst);
        InFlight(saw)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(
    request: Request<Incoming>,
    does: Does,
    http2: bool,
    saw: Arc<Saw>,
) -> Result<Response<Body>, hyper::Error> {
    let turn = saw.requests.fetch_add(1, Ordering::SeqCst);
    let _in_flight = InFlight::new(saw.clone());
    let number: Option<u64> = request.headers().get("x-number").map(|number| number.to_str().unwrap().parse().unwrap());
    saw.numbers.lock().unwrap().extend(number);
    let body = request.into_body().collect().await?.to_bytes();
    let messages =
        serde_json::from_slice(&body).map_or(0, |body: Value| body["messages"].as_array().map_or(0, Vec::len));
    saw.messages.lock().unwrap().push(messages);
    let streams = matches!(does, Does::Streams);
    let body = Full::new(Bytes::from_static(if streams { EVENTS } else { ANSWER }));
    let trailers = http2.then(|| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        Ok(trailers)
    });
    let body = body.with_trailers(std::future::ready(trailers)).boxed();
    let mut response = Response::new(body);
    response.headers_mut().insert("x-weirgate-revision", HeaderValue::from_static("one"));
    response.headers_mut().insert("x-weirgate-overhead-us", HeaderValue::from_static("25"));
    match does {
        Does::Answers(after) => tokio::time::sleep(after).await,
        Does::SlowWhereOdd(after) if number.is_some_and(|number| number % 2 == 1) => tokio::time::sleep(after).await,
        Does::SlowWhereOdd(_) => {}
        Does::Refuses => *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR,
        Does::Streams => {
            response.headers_mut().insert("content-type", HeaderValue::from_static("text/event-stream"));
        }
        Does::AnswersAndCloses => {
            response.headers_mut().insert("connection", HeaderValue::from_static("close"));
        }
        Does::Hangs { every } if turn.is_multiple_of(every) => std::future::pending().await,
        Does::Hangs { .. } => {}
        Does::Stalls => {
            while saw.stall.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        }
    }
    Ok(response)
}
