//! How calls get to a server: by connections, or without leaving this process.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};
use weirgate_protocol::Head;

use super::body::{InBody, OutBody};
use super::fault::{Fault, FaultKind};
use super::request::RequestHead;
use super::transport::{Address, Transport};

/// The way to one server.
pub enum Link {
    /// Over sockets.
    Sockets(Box<Transport>),
    /// It is in this process.
    Here(Arc<dyn Server>),
}

/// What a server in this process is told of a call besides its bytes.
#[derive(Clone, Debug)]
pub struct Within {
    pub head: Head,
    pub deadline: Instant,
}

/// What comes of a call.
pub type Answering<'a> = Pin<Box<dyn Future<Output = Result<Response<InBody>, Fault>> + Send + 'a>>;

/// A server in this process. It is one of ours, takes a call as bytes like any other, and answers it as bytes, on the caller's
/// own task.
pub trait Server: Send + Sync {
    /// Answers a request. Dropping the future, or the answer's body, cancels the call. A fault says whether it may have been
    /// executed; what is wrong with the call itself is an answer like any other.
    fn call(&self, within: Within, head: RequestHead, body: OutBody) -> Answering<'_>;
}

impl Link {
    /// Passes a call on, and returns the head of its answer: see [`Transport::pass`]. `within`: what bytes can't say of it.
    pub async fn pass(
        &self,
        head: RequestHead,
        body: OutBody,
        within: impl FnOnce() -> Within,
    ) -> Result<Response<InBody>, Fault> {
        match self {
            Link::Sockets(transport) => transport.pass(head, body).await,
            Link::Here(server) => server.call(within(), head, body).await,
        }
    }

    /// Asks a question of our own: see [`Transport::send`]. Of a server in this process all is known without asking.
    pub async fn send(&self, request: Request<OutBody>) -> Result<Response<InBody>, Fault> {
        match self {
            Link::Sockets(transport) => transport.send(request).await,
            Link::Here(_) => {
                let text = "a server in this process is passed calls, and asked no questions";
                Err(Fault::new(FaultKind::Unsent, text.to_owned()))
            }
        }
    }

    /// Where the server is reached; none of one in this process.
    pub fn address(&self) -> Option<&Address> {
        match self {
            Link::Sockets(transport) => Some(transport.address()),
            Link::Here(_) => None,
        }
    }
}

impl From<Transport> for Link {
    fn from(transport: Transport) -> Link {
        Link::Sockets(Box::new(transport))
    }
}
