//! Probes: what Kubernetes would ask of a container.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use prost::Message;
use tokio::net::TcpStream;
use weirgate_protocol::UpstreamUrl;

use super::process::{Guard, Invocation, Process};
use crate::remote::ask::{Whole, ask};
use crate::remote::{Address, Link, OutBody, Transport, TransportConfig};

/// A probe of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub check: Check,
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub success_threshold: u32,
    pub failure_threshold: u32,
}

/// What is asked. No port: the process's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// Anything from 200 to 399 is a success.
    Http {
        path: String,
        port: Option<u16>,
        headers: Vec<(String, String)>,
    },
    Tcp {
        port: Option<u16>,
    },
    /// `grpc.health.v1.Health`.
    Grpc {
        port: Option<u16>,
        service: Option<String>,
    },
    Exec {
        command: Vec<String>,
    },
}

/// A process, as its probes need to know it.
#[derive(Clone, Copy)]
pub(super) struct Probed<'a> {
    pub guard: &'a Guard,
    pub port: u16,
    pub variables: &'a [(String, String)],
    pub working_dir: Option<&'a std::path::Path>,
}

/// The largest answer that is read; a probe's says nothing but its status.
const LARGEST_ANSWER: usize = 64 << 10;
const SERVING: i32 = 1;

#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

impl Probe {
    /// Asks once; an error says what came back.
    pub(super) async fn ask(&self, of: Probed<'_>) -> Result<(), String> {
        let asked = async {
            match &self.check {
                Check::Http { path, port, headers } => http(port.unwrap_or(of.port), path, headers, self.timeout).await,
                Check::Tcp { port } => tcp(port.unwrap_or(of.port)).await,
                Check::Grpc { port, service } => {
                    grpc(port.unwrap_or(of.port), service.as_deref().unwrap_or_default(), self.timeout).await
                }
                Check::Exec { command } => exec(command, of).await,
            }
        };
        let late = || Err(format!("{}: no answer in {:?}", self.check.shown(), self.timeout));
        tokio::time::timeout(self.timeout, asked).await.unwrap_or_else(|_| late())
    }
}

impl Check {
    fn shown(&self) -> String {
        match self {
            Check::Http { path, .. } => get(path),
            Check::Tcp { .. } => "a connection".to_owned(),
            Check::Grpc { .. } => "grpc.health.v1.Health/Check".to_owned(),
            Check::Exec { command } => format!("'{}'", command.first().map(String::as_str).unwrap_or_default()),
        }
    }
}

/// A question as it is told: a query may be a secret.
fn get(path: &str) -> String {
    match path.split_once('?') {
        Some((path, _)) => format!("GET {path}?***"),
        None => format!("GET {path}"),
    }
}

async fn tcp(port: u16) -> Result<(), String> {
    let connected = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
    connected.map(drop).map_err(|error| format!("port {port} can't be connected to: {error}"))
}

fn link(scheme: &str, port: u16, timeout: Duration) -> Result<Link, String> {
    let url = format!("{scheme}://{}:{port}", Ipv4Addr::LOCALHOST);
    let address = UpstreamUrl::parse(&url).map(Address::Url).map_err(|error| format!("{url} {error}"))?;
    Ok(Transport::new(TransportConfig { connect_timeout: timeout, ..TransportConfig::new(address) })?.into())
}

async fn http(port: u16, path: &str, headers: &[(String, String)], timeout: Duration) -> Result<(), String> {
    let question = get(path);
    let mut request = Request::builder().method(Method::GET).uri(path);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(OutBody::Whole(Bytes::new())).map_err(|error| format!("{question}: {error}"))?;
    let link = link("http", port, timeout)?;
    // As Kubernetes does it: the status says it all, however long the page is.
    let answer = link.send(request).await.map_err(|fault| format!("{question}: {}", fault.error))?;
    match answer.status().as_u16() {
        200..=399 => Ok(()),
        status => Err(format!("{question} answered {status}")),
    }
}

async fn grpc(port: u16, service: &str, timeout: Duration) -> Result<(), String> {
    let message = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
    let mut body = BytesMut::with_capacity(message.len() + 5);
    body.put_u8(0);
    body.put_u32(u32::try_from(message.len()).map_err(|_| "the service's name is too long")?);
    body.put_slice(&message);
    let mut request = Request::new(OutBody::Whole(body.freeze()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("/grpc.health.v1.Health/Check");
    let headers: &mut HeaderMap = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(HeaderName::from_static("te"), HeaderValue::from_static("trailers"));
    let link = link("grpc", port, timeout)?;
    let answer = ask(&link, request, LARGEST_ANSWER).await;
    let Whole { status, headers, body, trailers } = answer.map_err(|fault| fault.error.to_string())?;
    let code = trailers.as_ref().and_then(|trailers| trailers.get("grpc-status")).or(headers.get("grpc-status"));
    let code = code.and_then(|code| code.to_str().ok()).unwrap_or("none");
    if code != "0" {
        return Err(format!("grpc.health.v1.Health/Check answered {status}, grpc-status {code}"));
    }
    let message = body.get(5..).and_then(|message| HealthCheckResponse::decode(message).ok());
    match message {
        Some(HealthCheckResponse { status: SERVING }) => Ok(()),
        Some(HealthCheckResponse { status }) => Err(format!("grpc.health.v1.Health/Check says {status}, not SERVING")),
        None => Err("grpc.health.v1.Health/Check answered something that is none".to_owned()),
    }
}

/// Under a guard of its own, as the process itself: what it has started is gone when it is over, or late.
async fn exec(command: &[String], of: Probed<'_>) -> Result<(), String> {
    let program = command.first().ok_or("the probe has no command")?;
    let what = Invocation {
        command: command.to_vec(),
        variables: of.variables.to_vec(),
        working_dir: of.working_dir.map(std::path::Path::to_owned),
    };
    let mut process = Process::start(of.guard, &what, None).await?;
    let exit = process.ended().await;
    if exit.is_success() { Ok(()) } else { Err(format!("'{program}' {exit}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_not_told() {
        let check = |path: &str| Check::Http { path: path.to_owned(), port: None, headers: Vec::new() }.shown();
        assert_eq!(check("/health?token=hush&b"), "GET /health?***");
        assert_eq!(check("/health"), "GET /health");
    }
}
