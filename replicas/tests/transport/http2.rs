//! h2.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixListener;
use tokio::task::JoinSet;
use weirgate_replicas::remote::{Transport, TransportConfig};

use crate::server::{call, post};

#[tokio::test]
async fn a_unix_socket_is_spoken_to_by_h2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let echo = service_fn(|request: Request<Incoming>| async move {
                Ok::<_, Infallible>(Response::new(request.into_body().boxed()))
            });
            let _ = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), echo)
                .await;
        }
    });
    let transport = Transport::new(TransportConfig::ours(path)).unwrap();
    for text in ["one", "two", ""] {
        assert_eq!(call(&transport, post(text)).await.unwrap(), (200, text.into()));
    }
    assert_eq!(transport.stats().connects, 1);
}
