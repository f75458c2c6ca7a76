//! Who is compared: a command for a child process each, and what it prints in the end.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use weirgate_loadtest::request::{Protocol, Request};
use weirgate_loadtest::{Result, record};

/// A load of the closed loop.
pub struct Load<'a> {
    pub address: SocketAddr,
    pub request: &'a Request,
    pub connections: usize,
    pub seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// This library's client, in a process like the others.
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

    /// What to run. Files it needs are put into `folder`.
    pub fn command(self, load: &Load<'_>, folder: &Path) -> Result<Command> {
        let Load { address, request, connections, seconds } = load;
        let url = format!("http://{address}{}", request.path);
        let mut command = Command::new(self.label());
        match self {
            Rival::Ours => {
                command = Command::new(std::env::current_exe()?);
                command.arg("--client").arg(address.to_string()).arg(request.protocol.label());
                command.arg(connections.to_string()).arg(seconds.to_string());
            }
            Rival::Wrk => {
                command.arg("-t1").arg(format!("-c{connections}")).arg(format!("-d{seconds}s"));
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

    /// The requests that were answered and the seconds it took, from what was printed.
    pub fn answered(self, printed: &str) -> Result<(f64, f64)> {
        let found = match self {
            Rival::Ours => printed.trim().split_once(' ').map(|(count, seconds)| (number(count), number(seconds))),
            Rival::Wrk if printed.contains("Non-2xx") || printed.contains("Socket errors") => None,
            Rival::Wrk => {
                let line = printed.lines().find_map(|line| line.trim().split_once(" requests in "));
                line.map(|(count, rest)| (number(count), rest.split_once('s').and_then(|(time, _)| number(time))))
            }
            Rival::H2load if !printed.contains(" 0 failed, 0 errored, 0 timeout") => None,
            Rival::H2load => {
                let seconds = printed.lines().find_map(|line| line.strip_prefix("finished in ")?.split_once("s,"));
                let count = printed.lines().find_map(|line| line.strip_prefix("requests: ")?.split_once(" total,"));
                count.zip(seconds).map(|((count, _), (seconds, _))| (number(count), number(seconds)))
            }
        };
        let found = found.and_then(|(count, seconds)| count.zip(seconds));
        found.ok_or_else(|| std::io::Error::other(format!("{}: no good run:\n{printed}", self.label())))
    }
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
