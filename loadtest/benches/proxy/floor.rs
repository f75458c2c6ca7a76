//! The floor: a proxy of hyper's parts that passes everything on and decides nothing.
//!
//! Each connection of a client has one of its own to the upstream, so there is not even a pool.

use std::net::{Ipv4Addr, SocketAddr};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use weirgate_loadtest::{Result, closed};

/// Serves until it is stopped. Prints its address as a server of ours does.
pub fn serve(upstream: SocketAddr) -> Result<()> {
    closed::runtime()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        println!("data  http://{}\n", listener.local_addr()?);
        let mut connections = JoinSet::new();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            connections.spawn(async move {
                // Clients come and go.
                let _ = connection(stream, upstream).await;
            });
        }
    })
}

async fn connection(stream: TcpStream, upstream: SocketAddr) -> Result<()> {
    let to = TcpStream::connect(upstream).await?;
    to.set_nodelay(true)?;
    let (sender, driver) = handshake(TokioIo::new(to)).await.map_err(std::io::Error::other)?;
    let sender = Mutex::new(sender);
    let service = service_fn(|request| pass(&sender, request));
    let served = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Both go on until the client leaves.
    tokio::select! {
        served = served => served.map_err(std::io::Error::other),
        driven = driver => driven.map_err(std::io::Error::other),
    }
}

async fn pass(sender: &Mutex<SendRequest<Incoming>>, request: Request<Incoming>) -> hyper::Result<Response<Incoming>> {
    let mut sender = sender.lock().await;
    sender.ready().await?;
    sender.send_request(request).await
}
