//! Where a server listens, and what its requests say of that.

use std::fmt;
use std::path::PathBuf;

use http::uri::{Authority, PathAndQuery};
use http::{Uri, uri};
use weirgate_protocol::UpstreamUrl;

use crate::remote::fault::{Fault, FaultKind};

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Url(UpstreamUrl),
    /// A Unix socket of this machine, spoken to by h2.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Url(url) => url.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What each request to a server has in common.
pub(in crate::remote) struct Origin {
    scheme: uri::Scheme,
    /// For `host` and `:authority`; without the scheme's own port, as clients send it.
    authority: String,
    /// Comes before every request's path.
    path: String,
    /// For errors.
    pub name: String,
}

impl Origin {
    pub fn new(address: &Address) -> Origin {
        let name = address.to_string();
        match address {
            Address::Unix(_) => {
                Origin { scheme: uri::Scheme::HTTP, authority: "localhost".to_owned(), path: String::new(), name }
            }
            Address::Url(url) => {
                let (scheme, port) =
                    if url.scheme.is_tls() { (uri::Scheme::HTTPS, ":443") } else { (uri::Scheme::HTTP, ":80") };
                let authority = url.authority();
                let authority = authority.strip_suffix(port).unwrap_or(&authority).to_owned();
                Origin { scheme, authority, path: url.path.clone(), name }
            }
        }
    }

    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The request's target as HTTP/1.1 has it, in two parts.
    pub fn target<'a>(&'a self, target: &'a PathAndQuery) -> (&'a str, &'a str) {
        (&self.path, target.as_str())
    }

    /// The request's target as h2 has it.
    pub fn uri(&self, target: PathAndQuery) -> Result<Uri, Fault> {
        let target = if self.path.is_empty() {
            Ok(target)
        } else {
            let (path, rest) = self.target(&target);
            PathAndQuery::try_from(format!("{path}{rest}"))
        };
        let built = target.map_err(http::Error::from).and_then(|target| {
            let authority = Authority::try_from(self.authority.as_str())?;
            Uri::builder().scheme(self.scheme.clone()).authority(authority).path_and_query(target).build()
        });
        built.map_err(|error| Fault::new(FaultKind::Caller, format!("{}: no target of a request: {error}", self.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(url: &str) -> Origin {
        Origin::new(&Address::Url(UpstreamUrl::parse(url).unwrap()))
    }

    #[test]
    fn targets_and_hosts() {
        for (url, target, host, uri) in [
            ("http://a:80", "/x?y=z", "a", "http://a/x?y=z"),
            ("http://a:81/base", "/x", "a:81", "http://a:81/base/x"),
            ("https://[::1]", "/", "[::1]", "https://[::1]/"),
            ("grpcs://a:80", "/p.S/M", "a:80", "https://a:80/p.S/M"),
        ] {
            let origin = origin(url);
            assert_eq!(origin.authority(), host);
            assert_eq!(origin.uri(target.parse().unwrap()).unwrap(), uri);
        }
    }
}
