//! The connections of a thread, kept from run to run.

use std::cell::RefCell;

use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::client::{Call, Client, Connection, Failure};
use crate::request::{Protocol, Request};

/// A connection, or a share of one, and what drives it.
pub(super) struct Link {
    connection: Connection,
    /// Ends with it. Empty for a share: the whole has the driver.
    _drivers: JoinSet<()>,
}

impl Link {
    pub fn is_open(&self) -> bool {
        self.connection.is_open()
    }

    pub async fn call(&mut self, request: &Request, keep: bool) -> Call {
        self.connection.call(request, keep).await
    }
}

/// Where a thread's senders get their connections.
pub(super) struct Links {
    client: Client,
    protocol: Protocol,
    /// HTTP/1.1: those that no sender has. The last that came back is the first to go.
    idle: RefCell<Vec<Link>>,
    /// HTTP/2: those that senders share, opened when first asked for. Who waits for the lock waits for the connection.
    shared: Vec<Mutex<Option<Link>>>,
}

impl Links {
    /// Of HTTP/2, `connections` are shared.
    pub fn new(client: Client, protocol: Protocol, connections: usize) -> Links {
        let shared = if protocol.is_http2() { connections.max(1) } else { 0 };
        Links {
            client,
            protocol,
            idle: RefCell::new(Vec::new()),
            shared: std::iter::repeat_with(|| Mutex::new(None)).take(shared).collect(),
        }
    }

    /// A connection for the sender of this number: kept, shared or new.
    pub async fn get(&self, sender: usize) -> Result<Link, Failure> {
        if self.shared.is_empty() {
            return match self.pop_open() {
                Some(link) => Ok(link),
                None => self.connect().await,
            };
        }
        let mut shared = self.shared[sender % self.shared.len()].lock().await;
        if let Some(share) = shared.as_ref().filter(|link| link.is_open()).and_then(share) {
            return Ok(share);
        }
        let link = self.connect().await?;
        let share = share(&link).ok_or_else(|| Failure::Malformed("the connection can't be shared".to_owned()))?;
        *shared = Some(link);
        Ok(share)
    }

    /// Takes a connection back that its sender needs no more.
    pub fn put(&self, link: Link) {
        if self.shared.is_empty() && link.is_open() {
            self.idle.borrow_mut().push(link);
        }
    }

    /// How many connections so many senders use.
    pub fn count(&self, senders: usize) -> usize {
        if self.shared.is_empty() { senders } else { senders.min(self.shared.len()) }
    }

    /// Those that the server closed meanwhile are dropped.
    fn pop_open(&self) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        std::iter::from_fn(|| idle.pop()).find(Link::is_open)
    }

    async fn connect(&self) -> Result<Link, Failure> {
        let mut drivers = JoinSet::new();
        let connection = self.client.connect(self.protocol, &mut drivers).await?;
        Ok(Link { connection, _drivers: drivers })
    }
}

fn share(link: &Link) -> Option<Link> {
    Some(Link { connection: link.connection.share()?, _drivers: JoinSet::new() })
}
