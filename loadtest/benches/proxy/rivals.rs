//! The proxies that are compared: each one process on one core, in front of the same upstream.

use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use weirgate_loadtest::process::{Log, Server, Weirgate};
use weirgate_loadtest::{Result, record};

/// The models, each a service of Weirgate's.
pub const MODELS: [&str; 2] = ["small", "large"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rival {
    /// With all that is on by default, and routing by the body's `model`.
    Weirgate,
    Nginx,
    Haproxy,
    /// Nothing but hyper: what a proxy built on the same parts can't go below.
    Floor,
}

impl Rival {
    pub const ALL: [Rival; 4] = [Rival::Weirgate, Rival::Nginx, Rival::Haproxy, Rival::Floor];

    pub const fn label(self) -> &'static str {
        match self {
            Rival::Weirgate => "weirgate",
            Rival::Nginx => "nginx",
            Rival::Haproxy => "haproxy",
            Rival::Floor => "bare hyper",
        }
    }

    /// Where its binary lies; none where it is not installed.
    fn program(self) -> Option<PathBuf> {
        match self {
            Rival::Weirgate => Some(record::binary()).filter(|path| path.is_file()),
            Rival::Floor => std::env::current_exe().ok(),
            Rival::Nginx | Rival::Haproxy => {
                // Debian's servers lie in /usr/sbin, which not everybody's PATH has.
                let path = std::env::var_os("PATH").unwrap_or_default();
                let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
                folders.map(|folder| folder.join(self.label())).find(|path| path.is_file())
            }
        }
    }

    pub fn is_installed(self) -> bool {
        self.program().is_some()
    }

    /// Starts it in front of `upstream`. `name` tells its files apart from those of other starts.
    pub fn start(self, name: &str, upstream: SocketAddr, core: usize) -> Result<Server> {
        let program = self.program().ok_or_else(|| std::io::Error::other(format!("{} is missing", self.label())))?;
        let folder = record::root().join("target/loadtest").join(name).join(self.label().replace(' ', "-"));
        std::fs::create_dir_all(&folder)?;
        let mut command = Command::new(program);
        let log = Log::File(folder.join("log"));
        match self {
            Rival::Weirgate => {
                let start =
                    MODELS.iter().fold(Weirgate::new(name), |start, model| start.manifest(&service(model, upstream)));
                start.start_settled(Some(core))
            }
            Rival::Floor => {
                command.arg("--proxy").arg(upstream.to_string());
                Server::start(Some(core), command, &log)
            }
            Rival::Nginx => {
                let address = free()?;
                command.arg("-p").arg(&folder).arg("-c").arg(write(&folder, &nginx(address, upstream, &folder)?)?);
                Server::start_at(Some(core), command, address, &log)
            }
            Rival::Haproxy => {
                let address = free()?;
                command.arg("-db").arg("-f").arg(write(&folder, &haproxy(address, upstream))?);
                Server::start_at(Some(core), command, address, &log)
            }
        }
    }
}

fn service(model: &str, upstream: SocketAddr) -> String {
    format!(
        "apiVersion: serving.kserve.io/v1beta1\nkind: InferenceService\nmetadata:\n  name: {model}\n  annotations:\n    \
         weirgate.dev/upstream: http://{upstream}\n    weirgate.dev/upstream-protocol: openai\nspec:\n  predictor:\n    containerConcurrency: 2048\n"
    )
}

/// A free port of the loopback address, as far as one can know.
fn free() -> Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

fn write(folder: &Path, text: &str) -> Result<PathBuf> {
    let path = folder.join("configuration");
    std::fs::write(&path, text)?;
    Ok(path)
}

/// One process that keeps its connections to the upstream, and passes each piece on as it comes: as one sets it for streams.
fn nginx(address: SocketAddr, upstream: SocketAddr, folder: &Path) -> Result<String> {
    let mut text = format!(
        "daemon off;\nmaster_process off;\nworker_processes 1;\npid {0}/pid;\nerror_log {0}/error.log;\n\
         events {{ worker_connections 8192; }}\nhttp {{\n  access_log off;\n  keepalive_requests 1000000000;\n",
        folder.display()
    );
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(text, "  {kind}_temp_path {}/{kind};", folder.display()).map_err(std::io::Error::other)?;
    }
    write!(
        text,
        "  upstream models {{ server {upstream}; keepalive 2048; keepalive_requests 1000000000; }}\n  \
         server {{\n    listen {address};\n    location / {{\n      proxy_pass http://models;\n      \
         proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n      proxy_buffering off;\n      \
         proxy_read_timeout 600s;\n    }}\n  }}\n}}\n"
    )
    .map_err(std::io::Error::other)?;
    Ok(text)
}

fn haproxy(address: SocketAddr, upstream: SocketAddr) -> String {
    format!(
        "global\n  nbthread 1\n  maxconn 8192\ndefaults\n  mode http\n  timeout connect 10s\n  timeout client 600s\n  \
         timeout server 600s\n  http-reuse always\nfrontend data\n  bind {address}\n  default_backend models\n\
         backend models\n  server one {upstream} pool-max-conn 2048\n"
    )
}
