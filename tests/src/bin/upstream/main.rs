//! A model server that misbehaves as a test tells it to, and writes down what it executes.
//!
//! It speaks V1 and V2 in JSON and OpenAI's chat over HTTP/1.1, with code of its own, so that it can break every rule of
//! HTTP. Its model gives back what it gets, for whatever name it is asked.
//!
//! | variable | what |
//! |---|---|
//! | `PORT` | where it listens on the loopback address; 0: a free port, which is printed |
//! | `UPSTREAM_FOLDER` | the folder it shares with the test |
//! | `UPSTREAM_NAME` | its name there; none: its process id |
//!
//! In the folder, `behaviour.NAME` or else `behaviour` says how it behaves; `executed` gets a line `ID NAME` for each call
//! when it is executed, before it is answered; `abandoned` one for each call whose caller left; `servers` one at the start,
//! with its process id and port. It does not wait for anything at SIGTERM: whoever stops it must have drained it.

#![allow(clippy::unwrap_used)]

mod answers;
mod calls;
mod requests;
mod shared;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use weirgate_tests::behaviour::Behaviour;

use crate::requests::Requests;
use crate::shared::Shared;

/// How often it looks whether it shall listen.
const LOOK: Duration = Duration::from_millis(5);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let shared = Arc::new(Shared::from_environment());
    let port = std::env::var("PORT").ok().map_or(0, |port| port.parse().expect("PORT is a number"));
    let mut address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let (mut listener, mut first) = (None, true);
    let mut connections = JoinSet::new();
    let mut refuses = false;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        if !refuses && listener.is_none() {
            let bound = TcpListener::bind(address).await.unwrap();
            if first {
                address = bound.local_addr().unwrap();
                println!("{address}");
                shared.note("servers", &format!("{} {}", std::process::id(), address.port()));
                first = false;
            }
            listener = Some(bound);
        }
        tokio::select! {
            _ = looks.tick() => {
                refuses = shared.behaviour() == Behaviour::Refuse;
                if refuses {
                    listener = None;
                }
            }
            accepted = accept(listener.as_ref()) => {
                connections.spawn(serve(accepted, shared.clone()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> TcpStream {
    match listener {
        Some(listener) => listener.accept().await.unwrap().0,
        None => std::future::pending().await,
    }
}

/// Answers one connection's requests, until either side closes it.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let mut requests = Requests::new(stream);
    while let Some(request) = requests.next().await {
        let last = request.is_last || shared.behaviour() == Behaviour::Refuse;
        if !calls::answer(&request, last, &mut requests.stream, &shared).await || last {
            return;
        }
    }
}
