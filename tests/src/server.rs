//! The binary, running.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use crate::environment::{binary, onnxruntime};
use crate::http::{Http1, Reply};
use crate::manifest::Service;
use crate::metrics::Metrics;
use crate::process::{self, Folder};
use crate::wait::{eventually, within};

/// A running `weirgate serve`; killed when dropped. It watches a folder of its own with one file for each service, and has a
/// state folder of its own.
pub struct Server {
    child: Child,
    pub data: SocketAddr,
    pub admin: SocketAddr,
    log: Arc<Mutex<String>>,
    folder: Folder,
    start: Start,
}

/// How to start one.
#[derive(Clone, Default)]
pub struct Start {
    services: Vec<Service>,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    at_once: bool,
    without_files: bool,
}

impl Start {
    pub fn flag(mut self, name: &str, value: &str) -> Start {
        self.flags.extend([name.to_owned(), value.to_owned()]);
        self
    }

    /// A flag without a value.
    pub fn switch(mut self, name: &str) -> Start {
        self.flags.push(name.to_owned());
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

    /// Watches no files: it serves what is applied.
    pub fn without_files(mut self) -> Start {
        self.without_files = true;
        self
    }

    pub async fn start(self) -> Server {
        let folder = Folder::new();
        folder.folder(MANIFESTS);
        for service in &self.services {
            folder.replace(&file_of(service), &service.yaml());
        }
        let (child, log) = self.spawn(&folder, &[]);
        let unset = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server { child, data: unset, admin: unset, log, folder, start: self };
        server.opens().await;
        server
    }

    fn spawn(&self, folder: &Folder, more: &[&str]) -> (Child, Arc<Mutex<String>>) {
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        if !self.without_files {
            command.arg("-f").arg(folder.path().join(MANIFESTS));
        }
        let mut child = command
            .arg("--state")
            .arg(folder.path().join(STATE))
            .args(&self.flags)
            .args(more)
            .env("ORT_DYLIB_PATH", onnxruntime())
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let log = Arc::new(Mutex::new(String::new()));
        keep_log(child.stderr.take().unwrap(), log.clone());
        (child, log)
    }
}

/// The watched folder, within the server's own.
const MANIFESTS: &str = "manifests";
const STATE: &str = "state";

fn file_of(service: &Service) -> String {
    format!("{MANIFESTS}/{}.yaml", service.file())
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

    /// Waits for the ports to be open, and for the models unless they are not to be waited for.
    async fn opens(&mut self) {
        let stdout = self.child.stdout.take().unwrap();
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
            let line = line.unwrap_or_else(|| panic!("no address of the {port} port: {printed:?}\n{}", self.log()));
            line.rsplit("://").next().unwrap().parse().unwrap()
        };
        (self.data, self.admin) = (address("data"), address("admin"));
        if !self.start.at_once {
            eventually("the server to be ready", async || {
                (self.admin_get("/readyz").await?.status == 200).then_some(())
            })
            .await;
        }
    }

    /// SIGKILL, as a machine that loses its power does.
    pub async fn kill(&mut self) {
        self.signal("KILL");
        self.ended().await;
    }

    /// Starts the server, which must have ended, once more: with the same flags, manifests and state, on other ports.
    pub async fn restart(&mut self) {
        assert!(!self.is_running(), "the server still runs");
        (self.child, self.log) = self.start.spawn(&self.folder, &[]);
        self.opens().await;
    }

    /// Starts another process that is to take this one's place, and waits until it has: this one must then end by itself.
    pub async fn take_over(&mut self) -> ExitStatus {
        let taker = self.begin_takeover();
        self.replaced_by(taker).await
    }

    /// Starts another process that is to take this one's place. It belongs to whoever asked for it.
    pub fn begin_takeover(&self) -> (Child, Arc<Mutex<String>>) {
        self.start.spawn(&self.folder, &["--takeover"])
    }

    /// Waits until the other process serves in this one's place, on the same ports, and this one has ended well.
    pub async fn replaced_by(&mut self, (child, log): (Child, Arc<Mutex<String>>)) -> ExitStatus {
        let mut before = std::mem::replace(&mut self.child, child);
        let log = std::mem::replace(&mut self.log, log);
        let addresses = (self.data, self.admin);
        self.opens().await;
        assert_eq!((self.data, self.admin), addresses, "the addresses are kept");
        let ended = eventually("the process that was replaced to end", async || before.try_wait().unwrap()).await;
        assert!(ended.success(), "it ended with {ended}:\n{}", log.lock().unwrap_or_else(PoisonError::into_inner));
        ended
    }

    /// Reads this process's log, also when another one has taken its place.
    pub fn log_reader(&self) -> impl Fn() -> String + Send + 'static {
        let log = self.log.clone();
        move || log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes a service's manifest into the watched folder, in one piece.
    pub fn write(&self, service: &Service) -> PathBuf {
        self.folder.replace(&file_of(service), &service.yaml())
    }

    /// The file with a service's manifest.
    pub fn file(&self, service: &Service) -> PathBuf {
        self.folder.path().join(file_of(service))
    }

    pub fn state(&self) -> PathBuf {
        self.folder.path().join(STATE)
    }

    /// The folder that goes when the server does.
    pub fn folder(&self) -> &Folder {
        &self.folder
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
        let ended = self.child.try_wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let state = match ended {
                Ok(Some(status)) => format!("had ended by itself: {status}"),
                _ => "was running".to_owned(),
            };
            eprintln!("--- the server {state}; its log:\n{}", self.log());
        }
    }
}
