//! The binary, running.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::environment::{binary, onnxruntime};
use crate::http::{Http1, Reply};
use crate::manifest::{Service, documents};
use crate::metrics::Metrics;
use crate::process::{self, Folder};
use crate::wait::{eventually, within};

/// A running `weirgate serve`; killed when dropped.
pub struct Server {
    child: Child,
    pub data: SocketAddr,
    pub admin: SocketAddr,
    log: Arc<Mutex<String>>,
    _folder: Folder,
}

/// How to start one.
#[derive(Default)]
pub struct Start {
    services: Vec<Service>,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    at_once: bool,
}

impl Start {
    pub fn flag(mut self, name: &str, value: &str) -> Start {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    pub fn variable(mut self, name: &str, value: &str) -> Start {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns as soon as the ports are open, while models still load.
    pub fn at_once(mut self) -> Start {
        self.at_once = true;
        self
    }

    pub async fn start(self) -> Server {
        let folder = Folder::new();
        let manifest = folder.file("services.yaml", &documents(&self.services));
        let mut child = Command::new(binary())
            .args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "-f"])
            .arg(manifest)
            .args(self.flags)
            .env("ORT_DYLIB_PATH", onnxruntime())
            .envs(self.variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let log = Arc::new(Mutex::new(String::new()));
        keep_log(child.stderr.take().unwrap(), log.clone());
        let stdout = child.stdout.take().unwrap();
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server { child, data: unset, admin: unset, log, _folder: folder };
        let printed = within(
            "the two addresses on standard output",
            tokio::task::spawn_blocking(move || {
                let lines = BufReader::new(stdout).lines().take(2).map_while(Result::ok);
                lines.collect::<Vec<_>>()
            }),
        );
        let printed = printed.await.unwrap();
        let address = |port: &str| {
            let line = printed.iter().find(|line| line.starts_with(port));
            let line = line.unwrap_or_else(|| panic!("no address of the {port} port: {printed:?}\n{}", server.log()));
            line.rsplit("http://").next().unwrap().parse().unwrap()
        };
        let (data, admin) = (address("data"), address("admin"));
        (server.data, server.admin) = (data, admin);
        if !self.at_once {
            eventually("the server to be ready", async || {
                (server.admin_get("/readyz").await?.status == 200).then_some(())
            })
            .await;
        }
        server
    }
}

/// Reads what the process logs until it ends.
fn keep_log(stderr: std::process::ChildStderr, log: Arc<Mutex<String>>) {
    let keep = move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push_str(&line);
            log.push('\n');
        }
    };
    std::thread::Builder::new().name("log".to_owned()).spawn(keep).unwrap();
}

impl Server {
    pub fn with(services: impl IntoIterator<Item = Service>) -> Start {
        Start { services: services.into_iter().collect(), ..Start::default() }
    }

    /// Starts with these services and waits until they are loaded or have failed.
    pub async fn start(services: impl IntoIterator<Item = Service>) -> Server {
        Self::with(services).start().await
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// One answer of the admin port; `None` where nobody listens.
    pub async fn admin_get(&self, path: &str) -> Option<Reply> {
        Http1::try_connect(self.admin).await.ok()?.try_send(crate::http::get(path)).await.ok()
    }

    pub async fn metrics(&self) -> Metrics {
        let reply = self.admin_get("/metrics").await.expect("the admin port answers");
        assert_eq!(reply.status, 200);
        Metrics::parse(&reply.text())
    }

    /// One metric of one service.
    pub async fn metric(&self, name: &str, service: &str) -> f64 {
        self.metrics().await.sum(name, &[("service", service)])
    }

    /// Batches that ran, and rows in all of them.
    pub async fn batches(&self, service: &str) -> (usize, usize) {
        let metrics = self.metrics().await;
        let of = |name| metrics.sum(name, &[("service", service)]) as usize;
        (of("weirgate_batch_rows_count"), of("weirgate_batch_rows_sum"))
    }

    /// Batches that closed for a reason.
    pub async fn closed(&self, service: &str, reason: &str) -> usize {
        let labels = [("service", service), ("reason", reason)];
        self.metrics().await.sum("weirgate_batches_closed_total", &labels) as usize
    }

    /// Waits until this many calls wait in the queue and this many run.
    pub async fn reaches(&self, service: &str, queued: usize, running: usize) {
        eventually(&format!("{queued} calls of {service} in the queue and {running} running"), async || {
            let metrics = self.metrics().await;
            let of = |name| metrics.sum(name, &[("service", service)]) as usize;
            let now = (of("weirgate_queue_requests"), of("weirgate_running_requests"));
            (now == (queued, running)).then_some(())
        })
        .await;
    }

    /// Waits until nothing waits and nothing runs, by every gauge.
    pub async fn is_idle(&self, service: &str) {
        self.reaches(service, 0, 0).await;
        eventually("no bytes in the queue", async || {
            (self.metric("weirgate_queue_bytes", service).await == 0.0).then_some(())
        })
        .await;
    }

    pub fn signal(&self, name: &str) {
        process::signal(self.pid(), name);
    }

    /// Waits for the process to end.
    pub async fn ended(&mut self) -> ExitStatus {
        eventually("the process to end", async || self.child.try_wait().unwrap()).await
    }

    /// SIGTERM, and what it exits with.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the server's log\n{}", self.log());
        }
    }
}
