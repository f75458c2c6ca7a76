//! Remote replicas: servers that calls are passed to, ours or somebody else's: in other processes as a rule.
//!
//! ```text
//! link       how calls get to a server: by connections, or in this process
//! transport  the connections to one server: pooled HTTP/1.1 and h2, TLS, Unix sockets
//! pool       HTTP/1.1 connections that have nothing to do
//! http1      a call on a connection of HTTP/1.1, driven by its caller
//! http2      a call on a stream of h2
//! tls        whom we trust, and who we are
//! headers    what of a call's headers is for the next server, and what was for us
//! request    a request's head on its way to a server
//! via        the gateways that a call has passed
//! body       a caller's body on its way, kept as far as it may have to be sent again
//! fault      what went wrong, and whether the call may have been executed
//! describe   which protocols a server speaks, and what its model takes and gives
//! watch      asks the model, not the port, whether it is ready
//! credits    what a server of ours grants, and how it is
//! infer      a batch of calls for tensors, in the server's protocol
//! ```
//!
//! A call that is passed as bytes is executed on its caller's task: the lane picks the replica, and the caller sends to it.

pub(crate) mod ask;
pub mod body;
pub mod credits;
pub mod describe;
pub mod fault;
mod grpc;
pub mod headers;
mod http1;
mod http2;
mod infer;
mod link;
mod pool;
mod request;
mod tls;
pub mod transport;
pub mod via;
pub mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch as watch_channel;
use weirgate_protocol::LoadedModel;

pub use ask::segment;
pub use body::{InBody, OutBody, Replay};
pub use fault::{Fault, FaultKind};
pub use headers::{Forwarded, request_headers, response_headers, trailers};
pub use infer::{Conduct, Executed};
pub use link::{Answering, Link, Server, Within};
pub use request::RequestHead;
pub use tls::TlsFiles;
pub use transport::{Address, Transport, TransportConfig, TransportStats};
pub use watch::{WatchConfig, WatchEvent, watch};

/// A server that calls are passed to.
pub struct Remote {
    /// Unique within its set.
    pub id: u64,
    /// For logs, metrics and explanations: `http://10.0.0.1:8080`, or `child 3`.
    pub name: Arc<str>,
    pub link: Link,
    /// It is one of ours: it grants credits, and says of a call that it was not executed.
    pub ours: bool,
    /// Calls it takes at a time.
    slots: AtomicUsize,
    described: RwLock<Arc<Described>>,
    /// Dropped with it: see [`Remote::gone`].
    held: watch_channel::Sender<()>,
}

/// What a server is found to speak.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Described {
    /// The name by which it knows its model; none: that of the calls.
    pub name: Option<Arc<str>>,
    pub v1: bool,
    pub v2: bool,
    /// V2 takes and gives tensors in binary.
    pub binary: bool,
    pub grpc: bool,
    /// Where its OpenAI routes begin, `/v1` or `/openai/v1`; none where it has none.
    pub openai: Option<&'static str>,
    /// It takes V2's calls to generate text, and of V2 maybe nothing else.
    pub generates: bool,
    /// What the model takes and gives; none where the server does not say.
    pub model: Option<Arc<LoadedModel>>,
}

impl Remote {
    /// Slots of a server that takes any number of calls at a time.
    pub const NO_LIMIT: usize = u32::MAX as usize;

    /// A server that has not been described yet. `slots`: calls it takes at a time, as long as it grants no others.
    pub fn new(id: u64, name: Arc<str>, link: impl Into<Link>, ours: bool, slots: usize) -> Arc<Remote> {
        let (link, slots, described) = (link.into(), AtomicUsize::new(slots), RwLock::default());
        Arc::new(Remote { id, name, link, ours, slots, described, held: watch_channel::Sender::new(()) })
    }

    pub fn slots(&self) -> usize {
        self.slots.load(Ordering::Acquire)
    }

    /// Tell the feed afterwards ([`Feed::remote_changed`](crate::Feed::remote_changed)).
    pub fn grant(&self, slots: usize) {
        self.slots.store(slots, Ordering::Release);
    }

    /// Resolves when nobody holds it any more: its lane has let it go, and every call that was passed to it has ended.
    pub fn gone(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut held = self.held.subscribe();
        async move { while held.changed().await.is_ok() {} }
    }

    pub fn described(&self) -> Arc<Described> {
        self.described.read().clone()
    }

    pub fn describe(&self, described: Described) {
        *self.described.write() = Arc::new(described);
    }
}
