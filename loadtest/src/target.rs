//! Where requests go.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// A server's address, and the path that all of its endpoints lie below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub tls: bool,
    pub host: Host,
    pub port: u16,
    /// Without a slash at its end; empty for the root.
    pub path: String,
}

impl Target {
    /// The value of `Host` and `:authority`; the port is left out where it is the scheme's own.
    pub fn authority(&self) -> String {
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => self.host.to_string(),
            (_, port) => format!("{}:{port}", self.host),
        }
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Target, String> {
        let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&with_scheme).map_err(|error| format!("'{text}' is not a URL: {error}"))?;
        let tls = match url.scheme() {
            "http" => false,
            "https" => true,
            other => return Err(format!("scheme '{other}' is not known: give http or https")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a user and password in the URL are not sent: give -H 'authorization: ...'".to_owned());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(format!("'{text}' has a query or fragment: give the server's address and perhaps a path"));
        }
        let host = url.host().ok_or_else(|| format!("'{text}' names no host"))?.to_owned();
        let port = url.port_or_known_default().ok_or_else(|| format!("'{text}' has no port"))?;
        Ok(Target { tls, host, port, path: url.path().trim_end_matches('/').to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_the_ways_people_write_them() {
        for (text, shown, authority) in [
            ("127.0.0.1:8080", "http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("http://localhost/", "http://localhost", "localhost"),
            ("https://[::1]:8443/team/digits/", "https://[::1]:8443/team/digits", "[::1]:8443"),
            ("https://models.example", "https://models.example", "models.example"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.to_string().as_str(), target.authority().as_str()), (shown, authority), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_told() {
        for (text, part) in [
            ("ftp://x", "scheme 'ftp'"),
            ("http://user:secret@x", "authorization"),
            ("http://x/?a=1", "query"),
            ("http://", "is not a URL"),
        ] {
            let error = text.parse::<Target>().unwrap_err();
            assert!(error.contains(part) && !error.contains("secret"), "{text}: {error}");
        }
    }
}
