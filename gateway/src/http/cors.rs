//! Pages of other origins that may call the data port, as `--cors-origin` names them.

use std::str::FromStr;
use std::time::Duration;

use http::{HeaderValue, Method, Uri};
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};

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
        if written != text || authority.as_str().contains('@') || authority.host().is_empty() {
            return Err(refused());
        }
        HeaderValue::from_str(text).map(CorsOrigin::One).map_err(|_| refused())
    }
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
    CorsLayer::new()
        .allow_origin(named.map_or_else(AllowOrigin::any, AllowOrigin::list))
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::OPTIONS])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([REQUEST_ID, REVISION, OVERHEAD, SERVER_TIMING, HEADER_LENGTH])
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
            "https://*.example.com:x",
            "https://a.example.com, https://b.example.com",
            "//app.example.com",
        ] {
            let refused = wrong.parse::<CorsOrigin>().unwrap_err();
            assert!(refused.contains("SCHEME://HOST"), "{wrong}: {refused}");
        }
    }
}
