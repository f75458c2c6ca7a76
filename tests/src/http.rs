//! HTTP clients: one keep-alive connection each, HTTP/1.1 or h2c with prior knowledge. Dropping one closes its connection.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use weirgate_protocol::{InferRequest, InferResponse, v2};

use crate::calls;
use crate::wait::within;

pub type Body = Full<Bytes>;

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub trailers: HeaderMap,
}

impl Reply {
    async fn read(response: http::Response<Incoming>) -> Result<Reply, String> {
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("the answer was cut off: {error}"))?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes(), trailers })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of a V2 refusal, which must be JSON.
    pub fn error(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let body: serde_json::Value = serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"));
        body["error"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The answer of an inference that went well.
    pub fn response(&self) -> InferResponse {
        assert_eq!(self.status, 200, "{self:?}");
        v2::decode_response(&self.body, self.header(v2::HEADER_LENGTH)).unwrap()
    }
}

/// A client of one HTTP/1.1 connection.
pub struct Http1 {
    sender: http1::SendRequest<Body>,
    _driver: JoinSet<()>,
}

impl Http1 {
    pub async fn connect(address: SocketAddr) -> Http1 {
        Self::try_connect(address).await.unwrap()
    }

    pub async fn try_connect(address: SocketAddr) -> Result<Http1, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ = connection.await;
        });
        Ok(Http1 { sender, _driver: driver })
    }

    /// Whether the server has not closed the connection yet.
    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends a call; an error is one of the connection.
    pub async fn try_send(&mut self, request: Request<Body>) -> Result<Reply, String> {
        let exchange = async {
            self.sender.ready().await.map_err(|error| error.to_string())?;
            let response = self.sender.send_request(request).await.map_err(|error| error.to_string())?;
            Reply::read(response).await
        };
        within("an answer over HTTP/1.1", exchange).await
    }

    pub async fn send(&mut self, request: Request<Body>) -> Reply {
        self.try_send(request).await.expect("the connection answers")
    }

    pub async fn get(&mut self, path: &str) -> Reply {
        self.send(get(path)).await
    }

    /// A call in JSON.
    pub async fn infer(&mut self, model: &str, request: &InferRequest) -> Reply {
        self.send(calls::json(model, request)).await
    }
}

/// Why a call over h2 has no answer.
#[derive(Debug)]
pub enum Lost {
    /// The server has not looked at it, and will not: it may be sent over another connection.
    Unsent(String),
    /// Nobody knows what became of it.
    Sent(String),
}

impl Lost {
    pub fn text(self) -> String {
        match self {
            Lost::Unsent(text) | Lost::Sent(text) => text,
        }
    }
}

/// A client of one h2c connection; clones share it.
#[derive(Clone)]
pub struct Http2 {
    sender: http2::SendRequest<Body>,
    _driver: std::sync::Arc<JoinSet<()>>,
}

impl Http2 {
    pub async fn connect(address: SocketAddr) -> Http2 {
        Self::try_connect(address).await.unwrap()
    }

    pub async fn try_connect(address: SocketAddr) -> Result<Http2, String> {
        let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(16 << 20)
            .initial_connection_window_size(64 << 20)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            let _ = connection.await;
        });
        Ok(Http2 { sender, _driver: driver.into() })
    }

    /// Sends a call; an error is one of the connection or the stream.
    pub async fn try_send(&self, request: Request<Body>) -> Result<Reply, String> {
        self.exchange(request).await.map_err(Lost::text)
    }

    /// Sends a call; an error says whether the server may have seen it.
    pub async fn exchange(&self, mut request: Request<Body>) -> Result<Reply, Lost> {
        let host = request.headers_mut().remove("host");
        let host = host.as_ref().map_or("weirgate.test", |host| host.to_str().unwrap());
        let uri = format!("http://{host}{}", request.uri());
        *request.uri_mut() = uri.parse().unwrap();
        let mut sender = self.sender.clone();
        let exchange = async {
            sender.ready().await.map_err(|error| Lost::Unsent(error.to_string()))?;
            let response = sender.try_send_request(request).await.map_err(|mut error| {
                let kept = error.take_message().is_some();
                let error = format!("{:?}", error.into_error());
                // A stream that the server refuses was not looked at. When it goes, it ends so those streams alone that it
                // will not look at, and those that were not sent yet.
                let unsent = ["REFUSED_STREAM", "GoAway(b\"\", NO_ERROR, Remote)"];
                let unsent = kept || unsent.iter().any(|text| error.contains(text));
                if unsent { Lost::Unsent(error) } else { Lost::Sent(error) }
            })?;
            Reply::read(response).await.map_err(Lost::Sent)
        };
        within("an answer over h2", exchange).await
    }

    pub async fn send(&self, request: Request<Body>) -> Reply {
        self.try_send(request).await.expect("the stream answers")
    }
}

/// A GET.
pub fn get(path: &str) -> Request<Body> {
    request(Method::GET, path)
}

/// A POST of JSON; headers may be added to it.
pub fn post(path: &str, body: impl Into<Bytes>) -> Request<Body> {
    let builder = Request::builder().method(Method::POST).uri(path).header("host", "weirgate.test");
    builder.header("content-type", "application/json").body(Full::new(body.into())).unwrap()
}

/// The same request with another header, or another value of it.
pub fn with(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// A request without a body.
pub fn request(method: Method, path: &str) -> Request<Body> {
    Request::builder().method(method).uri(path).header("host", "weirgate.test").body(Full::default()).unwrap()
}
