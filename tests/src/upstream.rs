//! A server of somebody else's, in the test: it speaks V2 and OpenAI, over HTTP/1.1 and h2c, and does what the test wants.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;

use crate::Service;

pub type Answer = Response<UnsyncBoxBody<Bytes, Broken>>;

/// An answer that breaks off.
#[derive(Debug)]
pub struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("broken off on purpose")
    }
}

impl std::error::Error for Broken {}

/// What was asked of a server, less the questions about its health.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: Option<HeaderMap>,
}

/// What the tests watch and steer.
#[derive(Default)]
pub struct State {
    pub seen: Mutex<Vec<Seen>>,
    /// Requests that are being answered.
    pub open: AtomicUsize,
    /// Lets answers go that wait.
    pub go: Notify,
    /// Those that write answers; they end with the test's runtime.
    writers: Mutex<JoinSet<()>>,
}

impl State {
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// Writes an answer while its head is on its way.
    pub fn write(&self, writer: impl Future<Output = ()> + Send + 'static) {
        self.writers.lock().unwrap().spawn(writer);
    }
}

pub struct Upstream {
    pub address: SocketAddr,
    pub state: Arc<State>,
    tasks: JoinSet<()>,
}

/// One request, counted while it is answered.
struct Open(Arc<State>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Upstream {
    /// Answers what is no question of health by `answer`, which has the whole request.
    pub async fn start<A>(answer: impl Fn(Arc<State>, Seen) -> A + Clone + Send + Sync + 'static) -> Upstream
    where
        A: Future<Output = Answer> + Send + 'static,
    {
        let read = move |state: Arc<State>, request: Request<Incoming>| {
            let answer = answer.clone();
            async move {
                let (head, body) = request.into_parts();
                let collected = body.collect().await.unwrap();
                let seen = Seen {
                    method: head.method.to_string(),
                    path: head.uri.path_and_query().unwrap().to_string(),
                    headers: head.headers,
                    trailers: collected.trailers().cloned(),
                    body: collected.to_bytes(),
                };
                state.seen.lock().unwrap().push(seen.clone());
                answer(state, seen).await
            }
        };
        Self::raw(read).await
    }

    /// The same with the request as it comes.
    pub async fn raw<A>(answer: impl Fn(Arc<State>, Request<Incoming>) -> A + Clone + Send + Sync + 'static) -> Upstream
    where
        A: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, answer)
    }

    pub fn on<A>(
        listener: TcpListener,
        answer: impl Fn(Arc<State>, Request<Incoming>) -> A + Clone + Send + Sync + 'static,
    ) -> Upstream
    where
        A: Future<Output = Answer> + Send + 'static,
    {
        let (address, state) = (listener.local_addr().unwrap(), Arc::new(State::default()));
        let mut tasks = JoinSet::new();
        let shared = state.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                while connections.try_join_next().is_some() {}
                let (answer, state) = (answer.clone(), shared.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (answer, state) = (answer.clone(), state.clone());
                    async move {
                        if let Some(healthy) = health(&request) {
                            return Ok::<_, Infallible>(healthy);
                        }
                        state.open.fetch_add(1, Ordering::SeqCst);
                        let _open = Open(state.clone());
                        Ok(answer(state, request).await)
                    }
                });
                connections.spawn(async move {
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Upstream { address, state, tasks }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// No connection is left, and none is taken.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }
}

/// What somebody asks who wants to know whether the model is there.
fn health(request: &Request<Incoming>) -> Option<Answer> {
    if let Some(method) = request.uri().path().strip_prefix("/inference.GRPCInferenceService/") {
        // No question about a model is known here: gRPC is spoken where a manifest says so.
        return matches!(method, "ModelReady" | "ModelMetadata").then(|| grpc_status(12));
    }
    if request.method() != http::Method::GET {
        return None;
    }
    match request.uri().path() {
        "/v2/models/far/ready" | "/v2/health/ready" => Some(full(200, "{\"ready\":true}")),
        "/v2/models/far" => Some(full(200, r#"{"name":"far","platform":"none","inputs":[],"outputs":[]}"#)),
        "/v2/models/rows/ready" => Some(full(200, "{\"ready\":true}")),
        "/v2/models/rows" => Some(full(200, ROWS)),
        "/v1/models" => Some(full(200, r#"{"object":"list","data":[{"id":"far","object":"model"}]}"#)),
        // Nor V1.
        "/v1/models/far" => Some(full(404, "{}")),
        "/v2" => Some(full(200, r#"{"name":"test","version":"1","extensions":[]}"#)),
        _ => None,
    }
}

/// A model that says what it takes and gives.
const ROWS: &str = r#"{"name":"rows","platform":"none",
    "inputs":[{"name":"x","datatype":"FP32","shape":[-1,1]}],"outputs":[{"name":"y","datatype":"FP32","shape":[-1,1]}]}"#;

/// An answer of gRPC without a message.
pub fn grpc_status(code: i32) -> Answer {
    let mut answer = full(200, "");
    answer.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    answer.headers_mut().insert("grpc-status", code.into());
    answer
}

/// A whole answer in JSON.
pub fn full(status: u16, body: impl Into<Bytes>) -> Answer {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).header("content-type", "application/json").body(body).unwrap()
}

/// Sends the frames of an answer; an error breaks it off.
pub type Frames = mpsc::UnboundedSender<Result<Frame<Bytes>, Broken>>;

/// An answer whose frames the test sends.
pub fn streamed(content_type: &str) -> (Frames, Answer) {
    let (sender, frames) = mpsc::unbounded_channel();
    let answer = Response::builder().header("content-type", content_type);
    (sender, answer.body(Streamed(frames).boxed_unsync()).unwrap())
}

struct Streamed(mpsc::UnboundedReceiver<Result<Frame<Bytes>, Broken>>);

impl Body for Streamed {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(cx)
    }
}

/// A service whose calls are passed to these servers.
pub fn far(upstreams: &[&Upstream]) -> Service {
    let urls: Vec<_> = upstreams.iter().map(|upstream| upstream.url()).collect();
    far_at(&urls.join(","))
}

pub fn far_at(urls: &str) -> Service {
    Service::passed("far").annotation("weirgate.dev/upstream", urls)
}
