//! Who may use the control API: the host it was called by, the page that called it, and the token.

use std::net::{IpAddr, SocketAddr};

use http::request::Parts;
use http::{HeaderValue, Method, header};
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
        if reads && peer.is_some_and(|peer| peer.is_loopback()) { Ok(()) } else { self.check_token(parts) }
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
        let Ok(authority) = host.parse::<http::uri::Authority>() else { return false };
        if host.contains('@') {
            return false;
        }
        let name = authority.host();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        if let Ok(address) = bare.parse::<IpAddr>() {
            // No name was resolved to get here, so an address of a port that is open on all of them is fine.
            return address.to_canonical().is_loopback() || self.bound.is_unspecified() || address == self.bound;
        }
        let name = name.strip_suffix('.').unwrap_or(name);
        let named = |allowed: &str| name.eq_ignore_ascii_case(allowed);
        named("localhost") || self.names.iter().any(|allowed| named(allowed))
    }

    fn allowed(&self) -> String {
        let bound = if self.bound.is_unspecified() { "any IP address".to_owned() } else { self.bound.to_string() };
        let names = self.names.iter().map(|name| format!(", {name}"));
        format!("localhost, loopback addresses, {bound}{}", names.collect::<String>())
    }

    fn check_token(&self, parts: &Parts) -> Result<()> {
        let header = parts.headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        let bearer = header.and_then(|header| header.split_at_checked(7));
        match bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer ")) {
            Some((_, token)) if self.token.is(token.trim_ascii()) => Ok(()),
            Some(_) => Err(Error::forbidden(
                "the token is not this server's: take the one in the file token of its state folder",
            )),
            None => Err(Error::unauthenticated(
                "a token is needed to change anything, and to read from another machine: send 'Authorization: Bearer \
                 TOKEN' with the one in the file token of the server's state folder",
            )),
        }
    }
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
        let folder = std::env::temp_dir().join(format!("weirgate-access-{}", std::process::id()));
        let token = StateFolder::open(&folder).unwrap().token().unwrap();
        std::fs::remove_dir_all(folder).unwrap();
        let mut request = Request::get("/").header(header::HOST, host);
        if let Some(secret) = secret {
            let secret = if secret == "own" { token.secret() } else { secret };
            request = request.header(header::AUTHORIZATION, format!("Bearer {secret}"));
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let access = Access::new(token, SocketAddr::new(bound.parse().unwrap(), 8081), Vec::new());
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
            ("10.0.0.1", here, "10.0.0.1", None, None),
            ("0.0.0.0", away, "10.0.0.7:8081", Some("own"), None),
            ("::", away, "[fe80::1]:8081", Some("own"), None),
            ("::", away, "evil.test", Some("own"), Some(ErrorCode::Forbidden)),
            ("::", "::1", "localhost", None, None),
        ] {
            assert_eq!(refused(bound, peer, host, secret), expected, "{bound} {peer} {host} {secret:?}");
        }
    }
}
