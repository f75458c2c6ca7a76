//! What a passed call would like: its class, and calls that it should stay together with.

use http::HeaderName;
use weirgate_protocol::{Head, Priority, Protocol, Result, Error};
use weirgate_router::pool::{prefix_blocks, session_of};

use crate::dispatch::Wanting;
use crate::gateway::Routed;
use crate::server::address::Address;

const SESSION: HeaderName = HeaderName::from_static("x-weirgate-session");

/// `start` is what has been read of the body.
pub fn of(routed: &Routed, head: &Head, address: &Address<'_>, start: &[u8]) -> Wanting {
    let sticky = || routed.service().sticky.as_ref().and_then(|key| address.key(key));
    let session = address.header(&SESSION).or_else(sticky).map(session_of);
    // Among several servers alone it matters which of them has the beginning in its cache.
    let prefix = match head.protocol {
        Protocol::OpenAi if routed.lane().servers() > 1 => prefix_blocks(start),
        _ => Vec::new(),
    };
    Wanting { prefix, session, avoid: Vec::new(), priority: head.priority }
}
