//! One question to an HTTP server, redirects included.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use url::Url;
use weirgate_protocol::remote_url::redacted;

use super::allowed::{self, UrlPrefix};

const MOST_REDIRECTS: usize = 10;
const CONNECT: Duration = Duration::from_secs(10);

/// Why there is no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// It may go better next time.
    Again(String),
    Final(String),
    /// It came whole, and is nothing that can be used: not before the server has another one.
    Useless(String),
    /// The stop was asked for.
    Stopped,
}

/// By what a file is told from another one at the same URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Validators {
    pub etag: Option<String>,
    pub last_modified: Option<String>,
}

impl Validators {
    /// One that holds for each byte, as a continuation needs it.
    pub fn strong(&self) -> Option<&str> {
        let etag = self.etag.as_deref().filter(|etag| !etag.starts_with("W/"));
        etag.or(self.last_modified.as_deref())
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Want<'a> {
    All,
    /// All of it, unless it is what these say.
    Changed(&'a Validators),
    /// What follows after so many bytes, if they are of the file that this validator belongs to.
    Rest(u64, &'a str),
}

pub(super) struct Answer {
    pub status: StatusCode,
    pub validators: Validators,
    /// Where its bytes begin in the file.
    pub start: u64,
    /// Of the whole file, where it is said.
    pub total: Option<u64>,
    pub body: ureq::BodyReader<'static>,
}

pub(super) struct Client {
    agent: Agent,
    allowed: Arc<[UrlPrefix]>,
    silence: Duration,
}

impl Client {
    /// `silence` is how long a server may send nothing.
    pub fn new(allowed: Arc<[UrlPrefix]>, silence: Duration) -> Client {
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::PlatformVerifier)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        // Each redirect is judged here. Without an idle connection nothing outlives a download.
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .max_idle_connections(0)
            .accept_encoding("identity")
            .user_agent(concat!("weirgate/", env!("CARGO_PKG_VERSION")))
            .timeout_resolve(Some(CONNECT))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(silence))
            .timeout_per_write(Some(silence))
            .tls_config(tls)
            .build();
        Client { agent: config.new_agent(), allowed, silence }
    }

    /// Ends what runs: for another thread.
    pub fn interrupt(&self) -> impl FnOnce() + Send + use<> {
        let agent = self.agent.clone();
        move || agent.shutdown()
    }

    pub fn get(&self, url: &Url, want: Want<'_>) -> Result<Answer, Failed> {
        let mut at = url.clone();
        for _ in 0..=MOST_REDIRECTS {
            let place = if at == *url { String::new() } else { format!("redirected to {}: ", redacted(at.as_str())) };
            allowed::check(&at, &self.allowed).map_err(|error| Failed::Final(format!("{place}{error}")))?;
            let response = self.ask(&at, want).map_err(|failed| failed.prefixed(&place))?;
            if is_redirect(response.status()) {
                at = redirected(&at, &response).map_err(|error| Failed::Final(format!("{place}{error}")))?;
                continue;
            }
            return judged(response, is_gzip(url)).map_err(|failed| failed.prefixed(&place));
        }
        Err(Failed::Final(format!("redirected more than {MOST_REDIRECTS} times")))
    }

    fn ask(&self, url: &Url, want: Want<'_>) -> Result<Response<ureq::Body>, Failed> {
        let mut bare = url.clone();
        // Neither fails for http and https.
        let _ = bare.set_username("");
        let _ = bare.set_password(None);
        bare.set_fragment(None);
        let mut request = self.agent.get(bare.as_str());
        if let Some(credentials) = credentials(url) {
            request = request.header(header::AUTHORIZATION, credentials);
        }
        match want {
            Want::All => {}
            Want::Changed(Validators { etag, last_modified }) => {
                if let Some(etag) = etag {
                    request = request.header(header::IF_NONE_MATCH, etag);
                }
                if let Some(date) = last_modified {
                    request = request.header(header::IF_MODIFIED_SINCE, date);
                }
            }
            Want::Rest(at, validator) => {
                request = request.header(header::RANGE, format!("bytes={at}-")).header(header::IF_RANGE, validator);
            }
        }
        request.call().map_err(|error| self.failed(error))
    }

    fn failed(&self, error: ureq::Error) -> Failed {
        match error {
            ureq::Error::Io(error) => match certificate_problem(&error) {
                Some(problem) => Failed::Final(problem),
                None => Failed::Again(format!("the connection failed: {error}")),
            },
            ureq::Error::Rustls(error) => Failed::Final(untrusted(&error)),
            ureq::Error::Timeout(_) => Failed::Again(format!("the server was silent for {:?}", self.silence)),
            ureq::Error::HostNotFound => Failed::Again("its host is not known".to_owned()),
            // Its text is the URL.
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => {
                Failed::Final("it can't be asked for: check it".to_owned())
            }
            error @ (ureq::Error::Protocol(_) | ureq::Error::ConnectProxyFailed(_) | ureq::Error::ConnectionFailed) => {
                Failed::Again(error.to_string())
            }
            error => Failed::Final(error.to_string()),
        }
    }
}

impl Failed {
    fn prefixed(self, place: &str) -> Failed {
        match self {
            Failed::Again(reason) => Failed::Again(format!("{place}{reason}")),
            Failed::Final(reason) => Failed::Final(format!("{place}{reason}")),
            Failed::Useless(reason) => Failed::Useless(format!("{place}{reason}")),
            Failed::Stopped => Failed::Stopped,
        }
    }
}

fn is_gzip(url: &Url) -> bool {
    [".gz", ".tgz"].iter().any(|ending| url.path().ends_with(ending))
}

/// Whether it is meant for people: a form to sign in, a list of files, an error in disguise.
fn is_page(response: &Response<ureq::Body>) -> bool {
    let kind = text(response, header::CONTENT_TYPE).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Where a redirect leads. Credentials stay with the origin they were given for.
fn redirected(from: &Url, response: &Response<ureq::Body>) -> Result<Url, String> {
    let location = text(response, header::LOCATION).ok_or("redirected without a Location")?;
    let mut to = from.join(&location).map_err(|error| format!("redirected to what is no URL: {error}"))?;
    match (from.scheme(), to.scheme()) {
        ("https", "http") => {
            return Err("redirected from https to http, which anybody on the way can change".to_owned());
        }
        (_, "http" | "https") => {}
        (_, other) => return Err(format!("redirected to {other}:, which is not supported")),
    }
    if to.origin() == from.origin() && to.username().is_empty() && to.password().is_none() {
        let _ = to.set_username(from.username());
        let _ = to.set_password(from.password());
    }
    Ok(to)
}

/// Sorts the answers that have something to give from those that have not.
fn judged(response: Response<ureq::Body>, gzip: bool) -> Result<Answer, Failed> {
    let status = response.status();
    match status.as_u16() {
        200 | 206 | 304 | 416 => {}
        408 | 425 | 429 | 500..=599 => return Err(Failed::Again(format!("the server answered {status}"))),
        401 | 403 => {
            let check = "check user and password, or whether a signature in the URL is still valid";
            return Err(Failed::Final(format!("the server answered {status}: {check}")));
        }
        _ => return Err(Failed::Final(format!("the server answered {status}: check the URL"))),
    }
    if matches!(status.as_u16(), 200 | 206) && is_page(&response) {
        return Err(Failed::Final("the server sent text/html, which is no model: check the URL".to_owned()));
    }
    let range = text(&response, header::CONTENT_RANGE);
    let (start, total) = match (status.as_u16(), range.as_deref().map(content_range)) {
        (206, Some(Some(range))) => range,
        (206, _) => return Err(Failed::Again("the server answered a part without saying which".to_owned())),
        (416, Some(Some(range))) => range,
        _ => (0, response.body().content_length()),
    };
    // Of a `.tar.gz` servers say `gzip` too, and mean the file as it is.
    let meant = |encoding: &str| encoding == "identity" || (gzip && matches!(encoding, "gzip" | "x-gzip"));
    if let Some(encoding) = text(&response, header::CONTENT_ENCODING).filter(|encoding| !meant(encoding)) {
        return Err(Failed::Final(format!(
            "the server answers in content-encoding {encoding:?}, which was not asked for"
        )));
    }
    let validators =
        Validators { etag: text(&response, header::ETAG), last_modified: text(&response, header::LAST_MODIFIED) };
    // The limit on its size is kept where it is written.
    let body = response.into_body().into_with_config().limit(u64::MAX).reader();
    Ok(Answer { status, validators, start, total, body })
}

fn text(response: &Response<ureq::Body>, name: header::HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// `bytes 5-9/10` or `bytes */10`: where it starts, and the whole length.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let start = if range == "*" { 0 } else { range.split_once('-')?.0.parse().ok()? };
    Some((start, total.parse().ok()))
}

/// The `Authorization` of a URL's user and password.
fn credentials(url: &Url) -> Option<String> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut plain: Vec<u8> = percent_decode_str(url.username()).collect();
    plain.push(b':');
    plain.extend(percent_decode_str(url.password().unwrap_or_default()));
    Some(format!("Basic {}", STANDARD.encode(plain)))
}

fn certificate_problem(error: &io::Error) -> Option<String> {
    error.get_ref()?.downcast_ref::<rustls::Error>().map(untrusted)
}

fn untrusted(error: &rustls::Error) -> String {
    if matches!(error, rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) {
        return "the server speaks no TLS on this port: write http, or the port that speaks it".to_owned();
    }
    format!("no TLS connection to the server can be trusted: {error}: SSL_CERT_FILE names further authorities")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        assert_eq!(content_range("bytes */10"), Some((0, Some(10))));
        for bad in ["", "bytes", "bytes 5/10", "items 5-9/10", "bytes x-9/10"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }

    #[test]
    fn credentials_are_decoded() {
        let of = |url: &str| credentials(&Url::parse(url).unwrap());
        assert_eq!(of("http://host/"), None);
        assert_eq!(of("http://a:p%40b@host/").unwrap(), format!("Basic {}", STANDARD.encode("a:p@b")));
        assert_eq!(of("http://a@host/").unwrap(), format!("Basic {}", STANDARD.encode("a:")));
    }

    #[test]
    fn only_a_strong_validator_continues_a_file() {
        let of = |etag: &str, date: &str| {
            let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            Validators { etag: some(etag), last_modified: some(date) }.strong().map(str::to_owned)
        };
        assert_eq!(of("\"a\"", "date").unwrap(), "\"a\"");
        assert_eq!(of("W/\"a\"", "date").unwrap(), "date");
        assert_eq!(of("W/\"a\"", ""), None);
    }
}
