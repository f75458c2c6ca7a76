//! Servers whose truth is known: what they do is stated, and what they did is counted.
//!
//! They prove the load tester, and anybody can check it with them. A [`Synthetic`] answers V1, V2 in JSON and binary, V2
//! over gRPC and OpenAI's endpoints, in HTTP/1.1 or HTTP/2 as the client likes, and whatever model is asked for. Every
//! right answer of a kind is the same. Faults come by number, not at random: the hundredth request is the hundredth that
//! arrived, on whichever connection, so that what a load tester reports can be held against exact counts.
//!
//! Times are no shorter than stated. They are longer by 2 ms at most, from the timer's steps of a millisecond, and by what
//! the machine adds when the server gets no core. A queue's times of service are reckoned, not slept, so that lateness does
//! not add up and its capacity is exact.
//!
//! ```text
//! behaviour  what it does
//! schedule   when an answer is due
//! answers    what is answered
//! service    from a request to its answer
//! reply      an answer's parts, each at its time
//! counts     what it did
//! ```

mod answers;
mod behaviour;
mod counts;
mod reply;
mod schedule;
mod service;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

pub use self::behaviour::{Behaviour, Fault, Service, Tokens};
pub use self::counts::Counts;
use self::service::Shared;
use crate::Result;

/// HTTP/2 requests on one connection at once. More than any test has in flight, so that it never is the limit.
const STREAMS: u32 = 1 << 16;

/// A running server, on a thread of its own. It stops when this is dropped.
#[derive(Debug)]
pub struct Synthetic {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Synthetic {
    /// Starts a server on a free port of this machine's loopback address.
    pub fn start(behaviour: Behaviour) -> Result<Synthetic> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let shared = Arc::new(Shared::new(behaviour));
        let (stop, stopped) = oneshot::channel();
        let serve = serve(listener, shared.clone(), stopped);
        let thread = std::thread::Builder::new().name("synthetic".to_owned()).spawn(move || runtime.block_on(serve))?;
        Ok(Synthetic { address, shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it did until now.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }
}

impl Drop for Synthetic {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A server that panicked has failed its callers already.
            let _ = thread.join();
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
            _ = &mut stopped => return,
        };
        // A connection that was gone before it was taken is its client's affair.
        let Ok((stream, _)) = accepted else { continue };
        let _ = stream.set_nodelay(true);
        let shared = shared.clone();
        shared.count(|counts| counts.connections += 1);
        connections.spawn(async move {
            let service = service_fn(|request| service::answer(shared.clone(), request));
            let mut builder = auto::Builder::new(TokioExecutor::new());
            builder.http2().max_concurrent_streams(STREAMS);
            // Clients come and go, and some faults end a connection.
            let _ = builder.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}
