//! The heads of a passed call: the request's for the server, and the answer's for the caller.

use std::time::{Duration, Instant};

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use weirgate_protocol::deadline::{grpc_timeout, parse_retry_after, timeout_seconds};
use weirgate_protocol::{Error, Protocol, Result};
use weirgate_replicas::Remote;
use weirgate_replicas::remote::{Forwarded, RequestHead, request_headers};

use crate::server::address::{Prefix, TakenPrefix};
use crate::server::edge::{Arrival, GRPC_TIMEOUT, REQUEST_ID, REQUEST_TIMEOUT};

/// Where OpenAI's routes may begin.
const OPENAI_BASES: [&str; 2] = ["/openai/v1", "/v1"];

/// A request's head, less what depends on the server.
pub struct Head<'a> {
    parts: &'a Parts,
    arrival: &'a Arrival,
    /// What the caller's port speaks.
    scheme: &'static str,
    target: PathAndQuery,
}

impl<'a> Head<'a> {
    pub fn new(
        parts: &'a Parts,
        prefix: Option<Prefix<'_>>,
        arrival: &'a Arrival,
        scheme: &'static str,
    ) -> Result<Head<'a>> {
        Ok(Head { parts, arrival, scheme, target: target(parts, prefix)? })
    }

    /// The headers as the caller sent them.
    pub fn given(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// The request's head for this server, with the time that is left.
    pub fn request(&self, remote: &Remote, deadline: Instant) -> Result<RequestHead> {
        let (mut has_seconds, mut has_grpc) = (false, false);
        let keeps = |name: &HeaderName| match name.as_str() {
            // Asked of us; a server that explains itself to anybody would tell what its own callers may not know.
            "x-weirgate-explain" => false,
            // Said anew below: a server reads the first that it finds.
            "x-request-id" => false,
            "x-request-timeout-seconds" => {
                has_seconds = true;
                false
            }
            "grpc-timeout" => {
                has_grpc = true;
                false
            }
            _ => true,
        };
        let host = self.parts.uri.authority().map(|authority| authority.as_str());
        let forwarded = Forwarded { peer: self.arrival.peer, proto: self.scheme, host };
        let mut headers = request_headers(&self.parts.headers, &forwarded, keeps);
        headers.push((REQUEST_ID, self.arrival.request_id.clone()));
        // To somebody else's server it is said how long the call may take where the caller asked for less than for ever, and
        // to ours always.
        let left = || deadline.saturating_duration_since(Instant::now());
        let mut tell = |name, left: String| headers.extend(HeaderValue::try_from(left).ok().map(|left| (name, left)));
        if remote.ours || has_seconds {
            tell(REQUEST_TIMEOUT, timeout_seconds(left()));
        }
        if has_grpc {
            tell(GRPC_TIMEOUT, grpc_timeout(left()));
        }
        Ok(RequestHead { method: self.parts.method.clone(), target: self.target_at(remote)?, headers })
    }

    /// The target with the OpenAI base that this server has.
    fn target_at(&self, remote: &Remote) -> Result<PathAndQuery> {
        if self.arrival.head.protocol != Protocol::OpenAi {
            return Ok(self.target.clone());
        }
        let (described, given) = (remote.described(), self.target.as_str());
        let rest = OPENAI_BASES.iter().find_map(|base| Some((base, given.strip_prefix(base)?)));
        match (described.openai, rest) {
            (Some(base), Some((given, rest))) if base != *given => parse(format!("{base}{rest}")),
            _ => Ok(self.target.clone()),
        }
    }
}

/// The path and query without the prefix that named the service.
fn target(parts: &Parts, prefix: Option<Prefix<'_>>) -> Result<PathAndQuery> {
    let given = parts.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    // The router takes a prefix off by itself.
    let taken = parts.extensions.get::<TakenPrefix>().is_some();
    let Some(Prefix { namespace, label }) = prefix.filter(|_| !taken) else { return Ok(given) };
    let rest = given.as_str().get(namespace.len() + label.len() + 2..).unwrap_or_default();
    if rest.starts_with('/') { parse(rest.to_owned()) } else { parse(format!("/{rest}")) }
}

fn parse(target: String) -> Result<PathAndQuery> {
    PathAndQuery::try_from(target).map_err(|error| Error::invalid(format!("the path can't be passed on: {error}")))
}

/// When a server that has too much to do wants to be asked again.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    parse_retry_after(headers.get(header::RETRY_AFTER)?.to_str().ok()?)
}

/// The kinds of answers that are told apart.
pub const JSON: &str = "application/json";
pub const EVENT_STREAM: &str = "text/event-stream";

/// Whether a body is of this kind, whatever its parameters.
pub fn is_content(headers: &HeaderMap, kind: &str) -> bool {
    let begins =
        |value: &[u8]| value.get(..kind.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(kind.as_bytes()));
    headers.get(header::CONTENT_TYPE).is_some_and(|value| begins(value.as_bytes()))
}

/// The status that an answer without messages carries in its head.
pub fn grpc_status(headers: &HeaderMap) -> Option<i32> {
    const STATUS: HeaderName = HeaderName::from_static("grpc-status");
    headers.get(STATUS)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn target_of(uri: &str, prefix: Option<(&str, &str)>, taken: bool) -> String {
        let (mut parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
        let prefix = prefix.map(|(namespace, label)| Prefix { namespace, label });
        if let Some(prefix) = prefix.filter(|_| taken) {
            parts.extensions.insert(TakenPrefix::from(prefix));
        }
        target(&parts, prefix).unwrap().to_string()
    }

    #[test]
    fn the_prefix_is_taken_off_once() {
        assert_eq!(target_of("/ns/a/v2/models/a/infer?x=1", Some(("ns", "a")), false), "/v2/models/a/infer?x=1");
        assert_eq!(target_of("/v2/models/a/infer", Some(("v2", "models")), true), "/v2/models/a/infer");
        assert_eq!(target_of("http://host/v2?y", None, false), "/v2?y");
        assert_eq!(target_of("/ns/a", Some(("ns", "a")), false), "/");
    }
}
