//! Pages of other origins that may call the data port, as `--cors-origin` names them.

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderValue, Method, Request, Uri, header};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

use crate::http::events;
use crate::http::v2::HEADER_LENGTH;
use crate::server::address::REVISION;
use crate::server::edge::{OVERHEAD, REQUEST_ID, SERVER_TIMING};

/// How long a browser may keep what it was told; it asks anew for each route.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// A value of `--cors-origin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsOrigin {
    Any,
    /// As browsers write it.
    One(HeaderValue),
}

impl CorsOrigin {
    pub fn is(&self, origin: &HeaderValue) -> bool {
        match self {
            CorsOrigin::Any => true,
            CorsOrigin::One(named) => named == origin,
        }
    }
}

impl FromStr for CorsOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<CorsOrigin, String> {
        if text == "*" {
            return Ok(CorsOrigin::Any);
        }
        let refused =
            || format!("'{text}' is not an origin: give * or SCHEME://HOST[:PORT], such as https://app.example.com");
        let uri: Uri = text.parse().map_err(|_| refused())?;
        let (scheme, authority) = uri.scheme_str().zip(uri.authority()).ok_or_else(refused)?;
        // Browsers send it in lower case, with nothing behind the port; another spelling would never match.
        let written = format!("{scheme}://{authority}").to_ascii_lowercase();
        let host = authority.host();
        let in_names =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'[' | b']');
        // The port, if any, is all that follows the host.
        let port = authority.port_u16().map_or_else(String::new, |port| format!(":{port}"));
        let plain = !host.is_empty() && host.bytes().all(in_names) && authority.as_str() == format!("{host}{port}");
        if written != text || !plain {
            return Err(refused());
        }
        HeaderValue::from_str(text).map(CorsOrigin::One).map_err(|_| refused())
    }
}

/// Whether a request asks for what a route allows, and is no preflight.
pub fn is_options_only<B>(request: &Request<B>) -> bool {
    request.method() == Method::OPTIONS && !request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers preflights, and marks answers as readable for these origins. Credentials are never allowed, so every header
/// that a page asks to send may be: those of inference, `authorization`, and the one a service's calls stick by.
pub fn layer(origins: &[CorsOrigin]) -> CorsLayer {
    let named: Option<Vec<_>> = origins
        .iter()
        .map(|origin| match origin {
            CorsOrigin::Any => None,
            CorsOrigin::One(value) => Some(value.clone()),
        })
        .collect();
    let ours = [REQUEST_ID, REVISION, OVERHEAD, SERVER_TIMING, HEADER_LENGTH, header::RETRY_AFTER];
    CorsLayer::new()
        .allow_origin(named.map_or_else(AllowOrigin::any, AllowOrigin::list))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::OPTIONS])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(ours.into_iter().chain(events::headers()).collect::<Vec<_>>())
        .max_age(MAX_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_written_as_browsers_write_them() {
        for right in ["http://localhost:3000", "https://app.example.com", "http://127.0.0.1", "http://[::1]:80"] {
            assert_eq!(right.parse(), Ok(CorsOrigin::One(HeaderValue::from_static(right))));
        }
        assert_eq!("*".parse(), Ok(CorsOrigin::Any));
        for wrong in [
            "",
            "null",
            "app.example.com",
            "https://app.example.com/",
            "https://app.example.com/page",
            "https://App.example.com",
            "https://user@app.example.com",
            "https://*.example.com",
            "https://app.example.com:x",
            "https://app.example.com:99999",
            "https://a.example.com, https://b.example.com",
            "//app.example.com",
        ] {
            let refused = wrong.parse::<CorsOrigin>().unwrap_err();
            assert!(refused.contains("SCHEME://HOST"), "{wrong}: {refused}");
        }
    }
}
