//! A server whose answers a test decides about.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use weirgate_protocol::UpstreamUrl;
use weirgate_replicas::Remote;
use weirgate_replicas::remote::{Address, Link, Transport, TransportConfig};

pub type Body = UnsyncBoxBody<Bytes, Infallible>;
type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Answer = dyn Fn(Request<Bytes>) -> Answering + Send + Sync;

/// Listens until it is dropped, on HTTP/1.1 and h2 in the clear.
pub struct Server {
    pub port: u16,
    /// What was asked for, in order.
    pub asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub async fn start(answer: impl Fn(Request<Bytes>) -> Response<Body> + Send + Sync + 'static) -> Server {
        Server::start_slow(move |request| Box::pin(std::future::ready(answer(request)))).await
    }

    pub async fn start_slow(answer: impl Fn(Request<Bytes>) -> Answering + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, asked) = (listener.local_addr().unwrap().port(), Arc::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::new(answer), Arc::clone(&asked)));
        Server { port, asked, _tasks: tasks }
    }

    pub fn transport(&self, scheme: &str) -> Link {
        let url = UpstreamUrl::parse(&format!("{scheme}://127.0.0.1:{}", self.port)).unwrap();
        Transport::new(TransportConfig::new(Address::Url(url))).unwrap().into()
    }

    pub fn remote(&self, scheme: &str) -> Arc<Remote> {
        Remote::new(1, "a server".into(), self.transport(scheme), false, 1)
    }

    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.asked.lock().iter().filter(|asked| *asked == path).count()
    }
}

async fn accept(listener: TcpListener, answer: Arc<Answer>, asked: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (answer, asked) = (answer.clone(), asked.clone());
        connections.spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let (answer, asked) = (answer.clone(), asked.clone());
                async move {
                    asked.lock().push(request.uri().path().to_owned());
                    let (head, body) = request.into_parts();
                    let Ok(body) = body.collect().await else { std::future::pending().await };
                    Ok::<_, Infallible>(answer(Request::from_parts(head, body.to_bytes())).await)
                }
            });
            let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

pub fn answer(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(body.into()).boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

pub fn not_found() -> Response<Body> {
    answer(404, r#"{"detail":"Not Found"}"#)
}

/// A message of gRPC with this status behind it.
pub fn grpc(message: Option<&impl prost::Message>, status: &'static str, text: &'static str) -> Response<Body> {
    let framed = message.map(|message| {
        let bytes = message.encode_to_vec();
        let mut framed = vec![0];
        framed.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
        framed.extend_from_slice(&bytes);
        Bytes::from(framed)
    });
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.parse().unwrap());
    trailers.insert("grpc-message", text.parse().unwrap());
    let trailers = async move { Some(Ok(trailers)) };
    let body = match framed {
        Some(framed) => Full::new(framed).with_trailers(trailers).boxed_unsync(),
        None => Empty::new().with_trailers(trailers).boxed_unsync(),
    };
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    response
}
