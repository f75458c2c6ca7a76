//! Who may use the control API: the host it was called by, the page that called it, and the token.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, header};
use weirgate_deploy::state::Token;
use weirgate_protocol::{Error, Result};

/// How much of a caller's value an error repeats.
const LONGEST_SHOWN: usize = 128;

/// What a request must show.
#[derive(Debug)]
pub struct Access {
    token: Token,
    bound: IpAddr,
    names: Vec<String>,
}

impl Access {
    /// `bound` is the address of the port; `names` are further hosts by which it may be called.
    pub fn new(token: Token, bound: SocketAddr, names: Vec<String>) -> Access {
        Access { token, bound: bound.ip().to_canonical(), names }
    }

    /// `peer` is the other end of the connection, as far as it is known.
    pub(super) fn check(&self, peer: Option<IpAddr>, parts: &Parts) -> Result<()> {
        let host = self.host(parts)?;
        check_origin(parts, &host)?;
        let reads = parts.method == Method::GET || parts.method == Method::HEAD;
        let here = peer.is_some_and(|peer| peer.is_loopback()) && is_loopback(&host) && !is_forwarded(&parts.headers);
        // Whoever shows a token wants to see more than others do: that it is a wrong one is to be told.
        if reads && here && !shows_token(&parts.headers) { Ok(()) } else { self.check_token(&parts.headers) }
    }

    /// The one host that the request names. A page of a foreign site that has its own name resolve to this machine would
    /// name that.
    fn host(&self, parts: &Parts) -> Result<String> {
        let authority = parts.uri.authority().map(|authority| authority.as_str().to_owned());
        let headers = parts.headers.get_all(header::HOST).iter().map(text);
        let mut hosts = authority.into_iter().chain(headers);
        let Some(host) = hosts.next() else {
            return Err(Error::forbidden(format!("the request names no Host: allowed are {}", self.allowed())));
        };
        if let Some(other) = hosts.find(|other| !other.eq_ignore_ascii_case(&host)) {
            return Err(Error::forbidden(format!(
                "the request names two hosts, '{}' and '{}': name one",
                shown(&host),
                shown(&other)
            )));
        }
        if !self.allows(&host) {
            return Err(Error::forbidden(format!(
                "Host is '{}': allowed are {} (flag --admin-host)",
                shown(&host),
                self.allowed()
            )));
        }
        Ok(host)
    }

    /// Ports are left out of it: a page can't choose another one without being of another origin.
    fn allows(&self, host: &str) -> bool {
        let Some(name) = bare(host) else { return false };
        is_loopback(host)
            || match name.parse::<IpAddr>() {
                // No name was resolved to get here, so an address of a port that is open on all of them is fine.
                Ok(address) => self.bound.is_unspecified() || address == self.bound,
                Err(_) => self.names.iter().any(|allowed| name.eq_ignore_ascii_case(allowed)),
            }
    }

    fn allowed(&self) -> String {
        let bound = if self.bound.is_unspecified() { "any IP address".to_owned() } else { self.bound.to_string() };
        let names = self.names.iter().map(|name| format!(", {name}"));
        format!("localhost, loopback addresses, {bound}{}", names.collect::<String>())
    }

    /// Whether the token was sent.
    pub(crate) fn check_token(&self, headers: &HeaderMap) -> Result<()> {
        match bearer(headers) {
            Some(token) if self.token.is(token.trim_ascii()) => Ok(()),
            Some(_) => Err(Error::forbidden(
                "the token is not this server's: take the one in the file token of its state folder",
            )),
            None => Err(Error::unauthenticated(
                "a token is needed to change anything, and to read from another machine or through a proxy: send \
                 'Authorization: Bearer TOKEN' with the one in the file token of the server's state folder",
            )),
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

fn shows_token(headers: &HeaderMap) -> bool {
    bearer(headers).is_some()
}

/// A host without its port, brackets and final dot; none where it is no plain host.
fn bare(host: &str) -> Option<String> {
    let authority: http::uri::Authority = host.parse().ok().filter(|_| !host.contains('@'))?;
    let name = authority.host();
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    Some(address.or(name.strip_suffix('.')).unwrap_or(name).to_owned())
}

/// Whether a host is this machine for whoever uses it.
fn is_loopback(host: &str) -> bool {
    bare(host).is_some_and(|name| match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    })
}

/// Whether a proxy says that somebody else asks: its own connection comes from this machine.
fn is_forwarded(headers: &HeaderMap) -> bool {
    let proxy = |name: &str| matches!(name, "forwarded" | "via" | "x-real-ip") || name.starts_with("x-forwarded-");
    headers.keys().any(|name| proxy(name.as_str()))
}

/// A browser says which page a request comes from: it must be one of this very host and port.
fn check_origin(parts: &Parts, host: &str) -> Result<()> {
    for origin in parts.headers.get_all(header::ORIGIN).iter().map(text) {
        let of = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if !of.is_some_and(|of| of.eq_ignore_ascii_case(host)) {
            return Err(Error::forbidden(format!(
                "Origin is '{}': allowed is http://{} or none",
                shown(&origin),
                shown(host)
            )));
        }
    }
    Ok(())
}

fn text(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

fn shown(text: &str) -> String {
    text.chars().take(LONGEST_SHOWN).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use weirgate_deploy::StateFolder;
    use weirgate_protocol::ErrorCode;

    use super::*;

    /// What a GET of `host` is refused with, on a port bound to `bound`.
    fn refused(bound: &str, peer: &str, host: &str, secret: Option<&str>) -> Option<ErrorCode> {
        refused_with(bound, peer, host, secret, None)
    }

    fn refused_with(
        bound: &str,
        peer: &str,
        host: &str,
        secret: Option<&str>,
        more: Option<&str>,
    ) -> Option<ErrorCode> {
        let (process, thread) = (std::process::id(), std::thread::current().id());
        let folder = std::env::temp_dir().join(format!("weirgate-access-{process}-{thread:?}"));
        let token = StateFolder::open(&folder).unwrap().token().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        let mut request = Request::get("/").header(header::HOST, host);
        if let Some(secret) = secret {
            let secret = if secret == "own" { token.secret() } else { secret };
            request = request.header(header::AUTHORIZATION, format!("Bearer {secret}"));
        }
        if let Some(name) = more {
            request = request.header(name, "203.0.113.9");
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let access =
            Access::new(token, SocketAddr::new(bound.parse().unwrap(), 8081), vec!["weirgate.test".to_owned()]);
        access.check(peer.parse().ok(), &parts).err().map(|error| error.code())
    }

    #[test]
    fn reading_from_beyond_this_machine_and_being_reached_there() {
        let (away, here) = ("10.0.0.9", "127.0.0.1");
        for (bound, peer, host, secret, expected) in [
            ("10.0.0.1", away, "10.0.0.1:8081", None, Some(ErrorCode::Unauthenticated)),
            ("10.0.0.1", away, "10.0.0.1:8081", Some("other"), Some(ErrorCode::Forbidden)),
            ("10.0.0.1", away, "10.0.0.1:8081", Some("own"), None),
            ("10.0.0.1", away, "10.0.0.2", Some("own"), Some(ErrorCode::Forbidden)),
            ("10.0.0.1", "unknown", "10.0.0.1", None, Some(ErrorCode::Unauthenticated)),
            ("10.0.0.1", here, "10.0.0.1", None, Some(ErrorCode::Unauthenticated)),
            ("0.0.0.0", away, "10.0.0.7:8081", Some("own"), None),
            ("::", away, "[fe80::1]:8081", Some("own"), None),
            ("::", away, "evil.test", Some("own"), Some(ErrorCode::Forbidden)),
            ("::", "::1", "localhost", None, None),
        ] {
            assert_eq!(refused(bound, peer, host, secret), expected, "{bound} {peer} {host} {secret:?}");
        }
    }
    /// A proxy on this machine has a loopback address too, whoever calls it.
    #[test]
    fn reading_through_a_proxy_needs_the_token() {
        let here = "127.0.0.1";
        for host in ["weirgate.test", "weirgate.test:443"] {
            assert_eq!(refused(here, here, host, None), Some(ErrorCode::Unauthenticated), "{host}");
            assert_eq!(refused(here, here, host, Some("own")), None, "{host}");
        }
        for header in ["Forwarded", "Via", "X-Real-IP", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"] {
            let with = |secret| refused_with(here, here, "localhost:8081", secret, Some(header));
            assert_eq!((with(None), with(Some("own"))), (Some(ErrorCode::Unauthenticated), None), "{header}");
        }
        assert_eq!(refused_with(here, here, "localhost:8081", None, Some("X-Request-Id")), None);
    }
}
