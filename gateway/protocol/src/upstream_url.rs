//! The address of a server that answers calls for us.

use std::fmt;

use url::Url;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `http://`: HTTP/1.1 in the clear.
    Http,
    /// `https://`: HTTP/1.1 or h2, whichever the server picks.
    Https,
    /// `h2c://`: h2 in the clear, known beforehand.
    H2c,
    /// `grpc://`: V2 over gRPC and nothing else, in the clear.
    Grpc,
    /// `grpcs://`: the same over TLS.
    Grpcs,
}

impl Scheme {
    const ALL: [(&str, Scheme, u16); 5] = [
        ("http", Scheme::Http, 80),
        ("https", Scheme::Https, 443),
        ("h2c", Scheme::H2c, 80),
        ("grpc", Scheme::Grpc, 80),
        ("grpcs", Scheme::Grpcs, 443),
    ];

    pub const fn is_tls(self) -> bool {
        matches!(self, Scheme::Https | Scheme::Grpcs)
    }

    pub const fn is_grpc(self) -> bool {
        matches!(self, Scheme::Grpc | Scheme::Grpcs)
    }

    fn label(self) -> &'static str {
        Self::ALL.into_iter().find(|(_, scheme, _)| *scheme == self).map_or("", |(label, ..)| label)
    }
}

/// A server: `http://host:port`, with a path that comes before every request's. It holds no secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UpstreamUrl {
    pub scheme: Scheme,
    /// A name, or an address without brackets.
    pub host: String,
    pub port: u16,
    /// Without a slash at its end; empty where there is none.
    pub path: String,
}

impl UpstreamUrl {
    /// What is expected, for errors.
    pub const ALLOWED: &str = "http://HOST:PORT, https://, h2c://, grpc:// or grpcs://, with a path or without";

    /// An error says what is wrong, and reads on from the text: `has a query`.
    pub fn parse(text: &str) -> Result<UpstreamUrl, String> {
        let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
        let known = Scheme::ALL.into_iter().find(|(label, ..)| *label == url.scheme());
        let Some((_, scheme, port)) = known else { return Err(format!("is not {}", Self::ALLOWED)) };
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("names no host".to_owned());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds a user or a password, which upstreams are not sent: remove it".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("has a query or a fragment: remove it".to_owned());
        }
        let path = url.path().trim_end_matches('/').to_owned();
        if scheme.is_grpc() && !path.is_empty() {
            return Err("has a path, which gRPC has no place for: remove it".to_owned());
        }
        Ok(UpstreamUrl { scheme, host, port: url.port().unwrap_or(port), path })
    }

    /// `host:port`, as a `Host` header has it.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.label(), self.authority(), self.path)
    }
}

impl fmt::Debug for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_ports_and_paths() {
        for (text, shown) in [
            ("http://host", "http://host:80"),
            ("https://host/base/", "https://host:443/base"),
            ("grpc://[::1]:9000", "grpc://[::1]:9000"),
            ("h2c://10.0.0.1:8081", "h2c://10.0.0.1:8081"),
            ("grpcs://models.example.com", "grpcs://models.example.com:443"),
        ] {
            let url = UpstreamUrl::parse(text).unwrap();
            assert_eq!(url.to_string(), shown);
            assert_eq!(UpstreamUrl::parse(shown), Ok(url));
        }
    }

    #[test]
    fn what_is_no_upstream_says_why() {
        for (text, why) in [
            ("host:80", "http://"),
            ("ftp://host", "http://"),
            ("http://", "host"),
            ("grpc://", "host"),
            ("http://u:p@host", "password"),
            ("http://host?a=b", "query"),
            ("grpc://host/path", "path"),
        ] {
            let error = UpstreamUrl::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
