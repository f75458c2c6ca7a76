//! A client of the control API, for the command line: one connection per request, and a limit on everything.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::uri::Authority;
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use weirgate_deploy::state::Token;

use crate::admin::wire::Refusal;

/// For one request, from the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(30);
const LONGEST_ANSWER: usize = 256 << 20;

/// Where the control API is: `http://HOST:PORT`, or `HOST:PORT`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminUrl(Authority);

impl std::str::FromStr for AdminUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<AdminUrl, String> {
        let refused = || format!("'{text}' is not the URL of an admin port: give http://HOST:PORT");
        if text.starts_with("https://") {
            return Err(format!("'{text}' asks for TLS, which the admin port does not speak: give http://HOST:PORT"));
        }
        let authority = text.strip_prefix("http://").unwrap_or(text);
        let authority: Authority = authority.strip_suffix('/').unwrap_or(authority).parse().map_err(|_| refused())?;
        let plain = authority.port_u16().is_some() && !authority.as_str().contains('@');
        if plain { Ok(AdminUrl(authority)) } else { Err(refused()) }
    }
}

impl std::fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.0)
    }
}

impl AdminUrl {
    fn is_loopback(&self) -> bool {
        let host = self.0.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

/// A blocking client.
pub struct Client {
    url: AdminUrl,
    token_file: Result<PathBuf, String>,
    runtime: Runtime,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// Nobody was reached, or what was reached does not speak as it should.
    Lost(String),
    Refused(StatusCode, Refusal),
}

impl Client {
    /// `token_file`, or why there is none, matters when a request needs it.
    pub fn new(url: AdminUrl, token_file: Result<PathBuf, String>) -> Result<Client, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| format!("the runtime can't be started: {error}"))?;
        Ok(Client { url, token_file, runtime })
    }

    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.send(Method::GET, path, Bytes::new(), false)
    }

    /// The same as those see it who have the token, where it can be read; else also why it could not be.
    pub fn get_as_written<T: DeserializeOwned>(&self, path: &str) -> Result<(T, Option<String>), Failure> {
        match self.token() {
            Ok(_) => Ok((self.send(Method::GET, path, Bytes::new(), true)?, None)),
            Err(error) => Ok((self.get(path)?, Some(error))),
        }
    }

    pub fn delete(&self, path: &str) -> Result<serde_json::Value, Failure> {
        self.send(Method::DELETE, path, Bytes::new(), true)
    }

    pub fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::Lost(error.to_string()))?;
        self.send(Method::POST, path, body.into(), true)
    }

    fn send<T: DeserializeOwned>(&self, method: Method, path: &str, body: Bytes, token: bool) -> Result<T, Failure> {
        let request = self.request(method, path, body, token).map_err(Failure::Lost)?;
        let exchange = async {
            match tokio::time::timeout(TIMEOUT, self.exchange(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!("{} did not answer within {} s", self.url, TIMEOUT.as_secs())),
            }
        };
        let (status, bytes) = self.runtime.block_on(exchange).map_err(Failure::Lost)?;
        if status.is_success() {
            return serde_json::from_slice(&bytes).map_err(|error| {
                let text = format!("{} answered what can't be read: {error} (is it another version?)", self.url);
                Failure::Lost(text)
            });
        }
        Err(match serde_json::from_slice(&bytes) {
            Ok(refusal) => Failure::Refused(status, refusal),
            Err(_) => Failure::Lost(format!("{} answered {status} (is it the admin port of weirgate?)", self.url)),
        })
    }

    fn token(&self) -> Result<HeaderValue, String> {
        let token = Token::read(self.token_file.as_ref().map_err(String::clone)?).map_err(|error| {
            format!("{error} (it is the token of `weirgate serve`: give its --state DIR, or --token-file FILE)")
        })?;
        let value = HeaderValue::from_str(&format!("Bearer {}", token.secret()));
        let mut value = value.map_err(|_| "the token can't be sent in a header".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The token goes only where it is needed.
    fn request(&self, method: Method, path: &str, body: Bytes, token: bool) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, self.url.0.as_str());
        if token || !self.url.is_loopback() {
            request = request.header(header::AUTHORIZATION, self.token()?);
        }
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        request.body(Full::new(body)).map_err(|error| format!("'{path}' can't be asked for: {error}"))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), String> {
        let lost = |error: &dyn std::fmt::Display| format!("the connection to {} was lost: {error}", self.url);
        let stream = TcpStream::connect(self.url.0.as_str()).await.map_err(|error| {
            format!("no server can be reached at {}: {error} (is `weirgate serve` running? --admin URL)", self.url)
        })?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|error| lost(&error))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| lost(&error))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, LONGEST_ANSWER).collect().await.map_err(|error| lost(&error))?;
            Ok((head.status, body.to_bytes()))
        };
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            answered = &mut answer => answered,
            // What the connection has to say of its end, the answer says too.
            _ = connection => answer.await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_urls() {
        for (text, url) in [
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("http://localhost:8081/", "http://localhost:8081"),
            ("127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("[::1]:8081", "http://[::1]:8081"),
        ] {
            let parsed: AdminUrl = text.parse().unwrap();
            assert_eq!(parsed.to_string(), url);
            assert!(parsed.is_loopback(), "{text}");
        }
        assert!(!"10.0.0.1:81".parse::<AdminUrl>().unwrap().is_loopback());
        for (text, expected) in [
            ("https://a:1", "TLS"),
            ("", "http://HOST:PORT"),
            ("a", "http://HOST:PORT"),
            ("http://a:1/x", "http://HOST:PORT"),
            ("http://user@a:1", "http://HOST:PORT"),
            ("a:99999", "http://HOST:PORT"),
        ] {
            let error = text.parse::<AdminUrl>().unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
