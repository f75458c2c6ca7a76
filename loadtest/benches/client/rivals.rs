//! Who is compared: a command for a child process each, and what it tells in the end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use weirgate_loadtest::request::{Protocol, Request};
use weirgate_loadtest::result::{Findings, Report};
use weirgate_loadtest::{Result, record};

/// A load of the closed loop.
pub struct Load<'a> {
    pub address: SocketAddr,
    pub request: &'a Request,
    /// The request as V2's JSON: what ours makes its own from.
    pub json: &'a str,
    pub connections: usize,
    pub seconds: u32,
}

/// What a rival measured.
pub struct Measured {
    pub answered: f64,
    pub seconds: f64,
    /// Of the latency, in microseconds. h2load tells none.
    pub p50_us: Option<f64>,
    pub p99_us: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// `weirgate loadtest`.
    Ours,
    Wrk,
    H2load,
}

impl Rival {
    pub const fn label(self) -> &'static str {
        match self {
            Rival::Ours => "ours",
            Rival::Wrk => "wrk",
            Rival::H2load => "h2load",
        }
    }

    /// The one that others measure this protocol with.
    pub fn of(protocol: Protocol) -> Rival {
        if protocol.is_http2() { Rival::H2load } else { Rival::Wrk }
    }

    pub fn is_installed(self) -> bool {
        self == Rival::Ours || Command::new(self.label()).arg("--version").output().is_ok()
    }

    /// What to run: one thread, and a connection for each request in flight. Files it needs are put into `folder`.
    pub fn command(self, load: &Load<'_>, folder: &Path) -> Result<Command> {
        let Load { address, request, json, connections, seconds } = load;
        let url = format!("http://{address}{}", request.path);
        let mut command = Command::new(self.label());
        match self {
            Rival::Ours => {
                let body = folder.join("body.json");
                std::fs::write(&body, json)?;
                command = Command::new(record::binary());
                command
                    .arg("loadtest")
                    .arg(format!("http://{address}"))
                    .args(["-m", "identity"])
                    .arg("--body")
                    .arg(body);
                command.args([
                    "-p",
                    request.protocol.label(),
                    "--threads",
                    "1",
                    "--warmup",
                    "0s",
                    "--progress",
                    "none",
                ]);
                command.arg(format!("-c{connections}")).arg(format!("-d{seconds}s"));
                if request.protocol.is_http2() {
                    command.arg(format!("--connections={connections}"));
                }
                command.arg("-o").arg(folder.join(RESULT));
            }
            Rival::Wrk => {
                command.args(["-t1", "--latency"]).arg(format!("-c{connections}")).arg(format!("-d{seconds}s"));
                command.arg("-s").arg(script(request, folder)?).arg(url);
            }
            Rival::H2load => {
                let body = folder.join("body");
                std::fs::write(&body, &request.body)?;
                command.args(["-t1", "-m1"]).arg(format!("-c{connections}")).arg(format!("-D{seconds}"));
                for (name, value) in &request.headers {
                    command.arg("-H").arg(format!("{name}: {}", value.to_str().map_err(std::io::Error::other)?));
                }
                command.arg("-d").arg(body).arg(url);
            }
        }
        Ok(command)
    }

    /// What it measured, from what it printed or left in `folder`. An error where a request failed.
    pub fn measured(self, printed: &str, folder: &Path) -> Result<Measured> {
        let measured = match self {
            Rival::Ours => ours(&folder.join(RESULT))?,
            Rival::Wrk => wrk(printed),
            Rival::H2load => h2load(printed),
        };
        measured.ok_or_else(|| std::io::Error::other(format!("{}: no good run:\n{printed}", self.label())))
    }
}

/// The file with our result.
const RESULT: &str = "ours.json";

fn ours(file: &Path) -> Result<Option<Measured>> {
    let report = Report::read(file)?;
    // Of a run that leaves none behind the last one's must not be taken.
    std::fs::remove_file(file)?;
    let Findings::Run { run } = report.findings else { return Ok(None) };
    let us = |q| run.from_sent.at(q).map(|ms| ms * 1e3);
    Ok((run.outcomes.failed() == 0).then(|| Measured {
        answered: run.outcomes.ok as f64,
        seconds: run.seconds,
        p50_us: us(0.5),
        p99_us: us(0.99),
    }))
}

fn wrk(printed: &str) -> Option<Measured> {
    if printed.contains("Non-2xx") || printed.contains("Socket errors") {
        return None;
    }
    let (count, rest) = printed.lines().find_map(|line| line.trim().split_once(" requests in "))?;
    let quantile = |name: &str| microseconds(printed.lines().find_map(|line| line.trim().strip_prefix(name))?);
    Some(Measured {
        answered: number(count)?,
        seconds: microseconds(rest.split_once(',')?.0)? / 1e6,
        p50_us: quantile("50%"),
        p99_us: quantile("99%"),
    })
}

fn h2load(printed: &str) -> Option<Measured> {
    if !printed.contains(" 0 failed, 0 errored, 0 timeout") {
        return None;
    }
    let (seconds, _) = printed.lines().find_map(|line| line.strip_prefix("finished in ")?.split_once(','))?;
    let (count, _) = printed.lines().find_map(|line| line.strip_prefix("requests: ")?.split_once(" total,"))?;
    Some(Measured { answered: number(count)?, seconds: microseconds(seconds)? / 1e6, p50_us: None, p99_us: None })
}

/// Of a time as wrk and h2load write it: `71.00us`, `1.02ms`, `3.01s`, `1.00m`.
fn microseconds(text: &str) -> Option<f64> {
    let units = [("us", 1.0), ("ms", 1e3), ("s", 1e6), ("m", 6e7)];
    units.iter().find_map(|(unit, of)| Some(number(text.trim().strip_suffix(unit)?)? * of))
}

fn number(text: &str) -> Option<f64> {
    text.trim().parse().ok()
}

/// The request for wrk, whose language is Lua. Without a function of ours in it, wrk writes it out once.
fn script(request: &Request, folder: &Path) -> Result<PathBuf> {
    let body = std::str::from_utf8(&request.body).map_err(std::io::Error::other)?;
    let mut script = format!("wrk.method = 'POST'\nwrk.body = [==[{body}]==]\n");
    for (name, value) in &request.headers {
        let value = value.to_str().map_err(std::io::Error::other)?;
        script.push_str(&format!("wrk.headers['{name}'] = '{value}'\n"));
    }
    let path = folder.join("request.lua");
    std::fs::write(&path, script)?;
    Ok(path)
}

/// A folder for files of this benchmark.
pub fn folder() -> Result<PathBuf> {
    let folder = record::root().join("target/loadtest/client");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
