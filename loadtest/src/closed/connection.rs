//! One caller's way to the server: an HTTP/1.1 connection, or a connection of HTTP/2 or a share of one.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Result;
use crate::request::{Answer, Protocol, Request};

pub(super) enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    /// Opens a connection, which a task of `connections` drives.
    pub(super) async fn connect(
        address: SocketAddr,
        protocol: Protocol,
        connections: &mut JoinSet<()>,
    ) -> Result<Sender> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let io = TokioIo::new(stream);
        // A connection that breaks fails the requests on it, which is where it is reported.
        if protocol.is_http2() {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.map_err(crate::error)?;
            connections.spawn(async move {
                let _ = connection.await;
            });
            return Ok(Sender::Http2(sender));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(crate::error)?;
        connections.spawn(async move {
            let _ = connection.await;
        });
        Ok(Sender::Http1(sender))
    }

    /// A second sender on the same connection, where its protocol has that.
    pub(super) fn share(&self) -> Option<Sender> {
        match self {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Sender::Http2(sender.clone())),
        }
    }

    /// Sends a request and reads the whole answer.
    pub(super) async fn send(&mut self, prepared: &Request) -> Result<Answer> {
        let response = match self {
            Sender::Http1(sender) => {
                sender.ready().await.map_err(crate::error)?;
                sender.send_request(hyper_request(prepared)).await
            }
            Sender::Http2(sender) => {
                sender.ready().await.map_err(crate::error)?;
                sender.send_request(hyper_request(prepared)).await
            }
        };
        let (head, body) = response.map_err(crate::error)?.into_parts();
        let (body, trailers) = read(body).await?;
        let length = body.len() as u64;
        let (status, headers) = (head.status.as_u16(), head.headers);
        let (revision, overhead_us, stream) = (None, None, None);
        let protocol = prepared.protocol;
        Ok(Answer { protocol, status, headers, body, length, trailers, revision, overhead_us, stream })
    }
}

fn hyper_request(request: &Request) -> http::Request<Full<Bytes>> {
    let mut new = http::Request::new(Full::new(request.body.clone()));
    *new.method_mut() = http::Method::POST;
    let uri =
        if request.protocol.is_http2() { format!("http://localhost{}", request.path) } else { request.path.clone() };
    *new.uri_mut() = uri.parse().unwrap_or_default();
    *new.headers_mut() = request.headers.clone();
    if !request.protocol.is_http2() {
        new.headers_mut().insert(http::header::HOST, http::HeaderValue::from_static("localhost"));
    }
    new
}

/// The whole body; without a copy where it came in one piece.
async fn read(mut body: Incoming) -> Result<(Bytes, Option<HeaderMap>)> {
    let mut first = Bytes::new();
    let mut all: Option<BytesMut> = None;
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame.map_err(crate::error)?.into_data() {
            Ok(data) if first.is_empty() => first = data,
            Ok(data) => all.get_or_insert_with(|| BytesMut::from(&first[..])).extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((all.map_or(first, BytesMut::freeze), trailers))
}
