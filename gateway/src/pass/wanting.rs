//! What a passed call would like: its class, and calls that it should stay together with.

use http::HeaderName;
use weirgate_protocol::{Head, Protocol};
use weirgate_router::pool::{prefix_hashes, session_hash};

use crate::dispatch::Wanting;
use crate::gateway::Routed;
use crate::server::address::Address;

const SESSION: HeaderName = HeaderName::from_static("x-weirgate-session");

/// Bytes of a prompt that are hashed together: about 64 tokens. Less than that is no prefix that is worth a detour.
const BLOCK: usize = 256;

/// The fields that a prompt begins with. What comes before is the same for all callers, or for none.
const PROMPTS: [&[u8]; 3] = [b"\"messages\"", b"\"prompt\"", b"\"input\""];

/// `start` is what has been read of the body.
pub fn wanting(routed: &Routed, head: &Head, address: &Address<'_>, start: &[u8]) -> Wanting {
    let sticky = || routed.service().sticky.as_ref().and_then(|key| address.key(key));
    let session = address.own_header(&SESSION).or_else(sticky).map(session_hash);
    // Among several servers alone it matters which of them has the beginning in its cache.
    let prefix = match head.protocol {
        Protocol::OpenAi if routed.lane().servers() > 1 => prefix_hashes(prompt(start), BLOCK).collect(),
        _ => Vec::new(),
    };
    Wanting { prefix, session, avoid: Vec::new(), priority: head.priority }
}

/// The body from its prompt on; all of it where it has none.
fn prompt(body: &[u8]) -> &[u8] {
    let begins = |at: &usize| PROMPTS.iter().any(|name| body[*at..].starts_with(name));
    let quotes = body.iter().enumerate().filter(|(_, byte)| **byte == b'"').map(|(at, _)| at);
    quotes.take(64).find(begins).map_or(body, |at| &body[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_the_same_wherever_it_begins() {
        let (one, other) = (br#"{"model":"a","messages":[1]}"#, br#"{"user":"x","model":"a","messages":[1]}"#);
        assert_eq!(prompt(one), prompt(other));
        assert_eq!(prompt(br#"{"model":"a"}"#), br#"{"model":"a"}"#);
        assert_eq!(prompt(b""), b"");
    }
}
