//! The floor: a server that reads a request whole and answers with the same bytes each time.
//!
//! It does what no HTTP or gRPC server built on the same parts can leave out, so the distance to it is what parsing,
//! routing, queueing, batching and running a model cost.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::Result;
use crate::request::{Answer, Protocol};

/// Writes down an answer of a real server, for [`serve`] to repeat.
pub fn capture(answer: &Answer, path: &Path) -> Result<()> {
    let mut text = Vec::new();
    for (name, value) in &answer.headers {
        // Both are the server's own to write.
        if *name != header::CONTENT_LENGTH && *name != header::DATE {
            text.extend_from_slice(name.as_str().as_bytes());
            text.push(b' ');
            text.extend_from_slice(value.as_bytes());
            text.push(b'\n');
        }
    }
    text.push(b'\n');
    text.extend_from_slice(&answer.body);
    std::fs::write(path, text)
}

/// What is answered each time.
struct Fixed {
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Fixed {
    fn read(path: &Path, protocol: Protocol) -> Result<Fixed> {
        let bytes = std::fs::read(path)?;
        let end =
            bytes.windows(2).position(|two| two == b"\n\n").ok_or_else(|| crate::error("no head was captured"))?;
        let mut headers = HeaderMap::new();
        for line in std::str::from_utf8(&bytes[..end]).map_err(crate::error)?.lines() {
            let (name, value) = line.split_once(' ').ok_or_else(|| crate::error("a header has no value"))?;
            let name: http::HeaderName = name.parse().map_err(crate::error)?;
            headers.insert(name, value.parse().map_err(crate::error)?);
        }
        let trailers = (protocol == Protocol::Grpc).then(|| {
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
            trailers
        });
        Ok(Fixed { headers, body: bytes[end + 2..].to_vec().into(), trailers })
    }
}

/// Serves until it is stopped. Prints its address as a server of ours does.
pub fn serve(captured: &Path, protocol: Protocol) -> Result<()> {
    let fixed: &'static Fixed = Box::leak(Box::new(Fixed::read(captured, protocol)?));
    crate::closed::runtime()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("data  http://{}\n", listener.local_addr()?);
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let io = TokioIo::new(stream);
            let service = service_fn(move |request| answer(fixed, request));
            connections.spawn(async move {
                // Clients come and go.
                let _ = match protocol {
                    Protocol::Grpc => {
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(io, service)
                            .await
                    }
                    _ => hyper::server::conn::http1::Builder::new().serve_connection(io, service).await,
                };
            });
        }
    })
}

async fn answer(fixed: &'static Fixed, request: Request<Incoming>) -> hyper::Result<Response<Reply>> {
    let mut body = request.into_body();
    while let Some(frame) = body.frame().await {
        frame?;
    }
    let mut response = Response::new(Reply { body: Some(fixed.body.clone()), trailers: fixed.trailers.clone() });
    *response.headers_mut() = fixed.headers.clone();
    Ok(response)
}

/// One piece of body, and the trailers.
struct Reply {
    body: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        if let Some(body) = self.body.take() {
            return Poll::Ready(Some(Ok(Frame::data(body))));
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.body, &self.trailers) {
            (Some(body), None) => SizeHint::with_exact(body.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
