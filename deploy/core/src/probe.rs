//! Probes of a container, with Kubernetes' defaults.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::container::port;
use crate::plan::{ProbeCheck, ProbePlan};
use crate::problem::{Report, quoted, shown};
use crate::values::check_whole;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ProbeSpec {
    http_get: Option<HttpGet>,
    tcp_socket: Option<TcpSocket>,
    grpc: Option<Grpc>,
    exec: Option<Exec>,
    initial_delay_seconds: Option<i64>,
    period_seconds: Option<i64>,
    timeout_seconds: Option<i64>,
    success_threshold: Option<i64>,
    failure_threshold: Option<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct HttpGet {
    path: String,
    port: Option<Value>,
    http_headers: Vec<Header>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Header {
    name: String,
    value: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TcpSocket {
    port: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Grpc {
    port: Option<Value>,
    service: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Exec {
    command: Vec<String>,
}

/// The ports of a container, as probes name them.
pub(crate) struct Ports<'a> {
    /// The one that calls go to.
    pub own: Option<i64>,
    pub named: Vec<(&'a str, Option<i64>)>,
}

/// The plan of a probe; none where something of it is wrong.
pub(crate) fn probe(
    name: &str,
    spec: &ProbeSpec,
    ports: &Ports<'_>,
    at: &str,
    report: &mut Report,
) -> Option<ProbePlan> {
    let at = format!("{at}.{name}");
    let seconds = |field: &str, found: Option<i64>, least: i64, default: u64, report: &mut Report| {
        check_whole(&format!("{at}.{field}"), found, least, report);
        Duration::from_secs(found.and_then(|found| u64::try_from(found).ok()).unwrap_or(default))
    };
    let initial_delay = seconds("initialDelaySeconds", spec.initial_delay_seconds, 0, 0, report);
    let period = seconds("periodSeconds", spec.period_seconds, 1, 10, report);
    let timeout = seconds("timeoutSeconds", spec.timeout_seconds, 1, 1, report);
    let times = |field: &str, found: Option<i64>, default: u32, report: &mut Report| {
        check_whole(&format!("{at}.{field}"), found, 1, report);
        found.and_then(|found| u32::try_from(found).ok()).unwrap_or(default)
    };
    let success_threshold = times("successThreshold", spec.success_threshold, 1, report);
    let failure_threshold = times("failureThreshold", spec.failure_threshold, 3, report);
    if name != "readinessProbe" && success_threshold > 1 {
        report.error(&format!("{at}.successThreshold"), format!("is {success_threshold}: allowed is 1"));
    }
    let check = check(spec, ports, &at, report)?;
    Some(ProbePlan { check, initial_delay, period, timeout, success_threshold, failure_threshold })
}

fn check(spec: &ProbeSpec, ports: &Ports<'_>, at: &str, report: &mut Report) -> Option<ProbeCheck> {
    let found = [
        ("httpGet", spec.http_get.is_some()),
        ("tcpSocket", spec.tcp_socket.is_some()),
        ("grpc", spec.grpc.is_some()),
        ("exec", spec.exec.is_some()),
    ];
    let found: Vec<_> = found.into_iter().filter(|(_, found)| *found).map(|(name, _)| name).collect();
    match found.as_slice() {
        [_] => {}
        [] => {
            report.error(at, "does not say how: write one of httpGet, tcpSocket, grpc, exec");
            return None;
        }
        several => {
            report.error(at, format!("holds {}: exactly one is allowed, remove the others", several.join(", ")));
            return None;
        }
    }
    if let Some(HttpGet { path, port, http_headers }) = &spec.http_get {
        let port = resolved(port.as_ref(), ports, &format!("{at}.httpGet.port"), report)?;
        let path = if path.starts_with('/') { path.clone() } else { format!("/{path}") };
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            report.error(&format!("{at}.httpGet.path"), format!("is {}: write a path of a URL", quoted(&path)));
        }
        let headers = http_headers.iter().map(|Header { name, value }| (name.clone(), value.clone())).collect();
        return Some(ProbeCheck::Http { path, port, headers });
    }
    if let Some(TcpSocket { port }) = &spec.tcp_socket {
        let port = resolved(port.as_ref(), ports, &format!("{at}.tcpSocket.port"), report)?;
        return Some(ProbeCheck::Tcp { port });
    }
    if let Some(Grpc { port, service }) = &spec.grpc {
        let port = resolved(port.as_ref(), ports, &format!("{at}.grpc.port"), report)?;
        let service = service.clone().filter(|service| !service.is_empty());
        return Some(ProbeCheck::Grpc { port, service });
    }
    let command = spec.exec.as_ref().map(|exec| exec.command.clone()).unwrap_or_default();
    if command.first().is_none_or(String::is_empty) || command.iter().any(|word| word.contains('\0')) {
        report.error(&format!("{at}.exec.command"), "is no command: write a program and its arguments");
        return None;
    }
    Some(ProbeCheck::Exec { command })
}

/// The port that is asked; `Some(None)`: the one that calls go to, whichever a replica has.
fn resolved(found: Option<&Value>, ports: &Ports<'_>, at: &str, report: &mut Report) -> Option<Option<u16>> {
    let number = match found {
        None => return Some(None),
        Some(Value::String(name)) => match ports.named.iter().find(|(known, _)| known == name) {
            Some((_, number)) => (*number)?,
            None => {
                report.error(at, format!("is {}: no port of the container has that name", quoted(name)));
                return None;
            }
        },
        Some(value) => value.as_i64().unwrap_or_default(),
    };
    if Some(number) == ports.own {
        return Some(None);
    }
    if port(number).is_none() {
        report.error(at, format!("is {}: allowed is 1 to 65535", found.map(shown).unwrap_or_default()));
        return None;
    }
    Some(port(number))
}
