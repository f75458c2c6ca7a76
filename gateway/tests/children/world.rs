//! A set of replicas whose lane writes down what it is told.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::task::JoinSet;
use weirgate_replicas::child::{Check, ChildrenConfig, Command, Guard, Ports, Probe, Runs, Speaks};
use weirgate_replicas::remote::WatchConfig;
use weirgate_replicas::{
    BatchReport, Counts, Failure, Feed, Finished, Pull, Remote, RemoteLimits, Replica, ReplicaSet, SetState, Wanted,
};

/// Longer than anything takes here, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that answers V1 for model `m`, on the port that `PORT` tells.
pub const SERVER: &str = r#"
import http.server, json, os
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        known = self.path == "/v1/models/m"
        body = json.dumps({"name": "m", "ready": True, "pid": os.getpid()} if known else {"error": "no"}).encode()
        self.send_response(200 if known else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"#;

pub fn python() -> String {
    std::env::var("WEIRGATE_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// `python3 -c SERVER`
pub fn server() -> Vec<String> {
    vec![python(), "-c".to_owned(), SERVER.to_owned()]
}

/// `sh -c SCRIPT`, with the server as `"$@"`.
pub fn shell(script: &str) -> Vec<String> {
    let mut words = vec!["sh".to_owned(), "-c".to_owned(), script.to_owned(), "sh".to_owned()];
    words.extend(server());
    words
}

pub fn command(words: Vec<String>) -> Command {
    Command {
        command: words,
        env: Vec::new(),
        working_dir: None,
        port: None,
        speaks: Speaks::Http1,
        ports: Arc::new(Ports::default()),
        startup: None,
        readiness: None,
        liveness: None,
    }
}

pub fn exec(words: &[&str]) -> Probe {
    Probe {
        check: Check::Exec { command: words.iter().map(|word| (*word).to_owned()).collect() },
        initial_delay: Duration::ZERO,
        period: Duration::from_millis(100),
        timeout: Duration::from_secs(10),
        success_threshold: 1,
        failure_threshold: 2,
    }
}

pub fn config(command: Command) -> ChildrenConfig {
    ChildrenConfig {
        service: "test/m".into(),
        revision: "m-predictor-1".into(),
        guard: Guard {
            program: env!("CARGO_BIN_EXE_weirgate").into(),
            arguments: ["child-guard", "--"].map(str::to_owned).to_vec(),
        },
        runs: Runs::Command(Box::new(command)),
        watch: watching(),
        limits: RemoteLimits::default(),
        grace: Duration::from_secs(5),
    }
}

pub fn watching() -> WatchConfig {
    WatchConfig { every: Duration::from_millis(100), threshold: 2, ..WatchConfig::new("m") }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Joined(u64),
    Changed(u64),
    Drains(u64),
    Left(u64),
    Loading,
    Starts(String),
    Ready { ready: usize, load: u64, failure: Option<String> },
    Failed(String),
}

/// What a lane was told, and the servers that it has.
#[derive(Default)]
pub struct Notes {
    pub told: Mutex<Vec<Told>>,
    pub remotes: Mutex<Vec<Arc<Remote>>>,
    pub noted: Mutex<Vec<Failure>>,
    pub counts: Mutex<Vec<Counts>>,
}

impl Feed for Notes {
    fn pull(&self, _: &Arc<dyn Replica>) -> Pull {
        Pull::Empty
    }

    fn leave(&self, _: &Arc<dyn Replica>) {}

    fn ran(&self, _: &Arc<dyn Replica>, _: &BatchReport, _: Vec<Finished>) {}

    fn state_changed(&self, state: SetState) {
        self.told.lock().push(match state {
            SetState::Loading { reason: None } => Told::Loading,
            SetState::Loading { reason: Some(reason) } => Told::Starts(reason.reason.to_string()),
            SetState::Ready { ready, load, failure, .. } => {
                Told::Ready { ready, load, failure: failure.map(|failure| failure.reason.to_string()) }
            }
            SetState::Failed(failure) => Told::Failed(failure.reason.to_string()),
        });
    }

    fn counts_changed(&self, counts: Counts) {
        self.counts.lock().push(counts);
    }

    fn noted(&self, failure: &Failure) {
        self.noted.lock().push(failure.clone());
    }

    fn remote_joined(&self, remote: Arc<Remote>) {
        self.told.lock().push(Told::Joined(remote.id));
        self.remotes.lock().push(remote);
    }

    fn remote_changed(&self, id: u64) {
        self.told.lock().push(Told::Changed(id));
    }

    fn remote_drains(&self, id: u64) {
        self.told.lock().push(Told::Drains(id));
    }

    fn remote_left(&self, id: u64) {
        self.told.lock().push(Told::Left(id));
        self.remotes.lock().retain(|remote| remote.id != id);
    }
}

pub struct Set {
    pub notes: Arc<Notes>,
    pub wanted: watch::Sender<Wanted>,
    tasks: JoinSet<()>,
}

impl Set {
    pub fn of(replicas: usize, config: ChildrenConfig) -> Set {
        Set::run(replicas, |feed| ReplicaSet::children(config, feed))
    }

    pub fn run(replicas: usize, set: impl FnOnce(Arc<dyn Feed>) -> ReplicaSet) -> Set {
        let notes = Arc::new(Notes::default());
        let (wanted, receiver) = watch::channel(Wanted::replicas(replicas));
        let mut tasks = JoinSet::new();
        tasks.spawn(set(notes.clone()).run(receiver));
        Set { notes, wanted, tasks }
    }

    /// Waits until what was told is like that.
    pub async fn until(&self, what: &str, like: impl Fn(&[Told]) -> bool) {
        within(what, || like(&self.notes.told.lock())).await.unwrap_or_else(|| {
            panic!("not within {PATIENCE:?}: {what}: {:?}", self.notes.told.lock());
        });
    }

    /// Waits until something was noted of a replica that is like that.
    pub async fn noted(&self, what: &str, like: impl Fn(&Failure) -> bool) -> Failure {
        let found = || self.notes.noted.lock().iter().find(|failure| like(failure)).cloned();
        within(what, || found().is_some()).await.unwrap_or_else(|| {
            panic!("not within {PATIENCE:?}: {what}: {:?}", self.notes.noted.lock());
        });
        found().unwrap()
    }

    pub async fn ready(&self, replicas: usize) {
        self.until(
            &format!("{replicas} are ready"),
            |told| matches!(told.last(), Some(Told::Ready { ready, .. }) if *ready == replicas),
        )
        .await;
    }

    /// Waits until a server has joined for the how manieth time, and is ready.
    pub async fn joined(&self, times: usize) {
        let joined = |told: &&Told| matches!(told, Told::Joined(_));
        self.until(&format!("{times} have joined"), |told| told.iter().filter(joined).count() == times).await;
        self.ready(1).await;
    }

    /// How often something was told.
    pub fn count(&self, like: impl Fn(&Told) -> bool) -> usize {
        self.notes.told.lock().iter().filter(|told| like(told)).count()
    }

    /// The process behind the only server, by its own word.
    pub async fn pid(&self) -> u32 {
        let remote = self.notes.remotes.lock()[0].clone();
        pid(&remote).await
    }

    /// Has the replicas end and waits until the set has.
    pub async fn end(mut self) -> Vec<Told> {
        self.wanted.send_replace(Wanted::default());
        tokio::time::timeout(PATIENCE, self.tasks.join_next()).await.expect("the set ends").unwrap().unwrap();
        std::mem::take(&mut *self.notes.told.lock())
    }

    /// As if the task that holds the set were gone.
    pub fn abort(self) {}
}

/// The process that answers behind a server.
pub async fn pid(remote: &Remote) -> u32 {
    use http_body_util::BodyExt;
    let request =
        http::Request::get("/v1/models/m").body(weirgate_replicas::remote::OutBody::Whole(Default::default()));
    let answer = remote.link.send(request.unwrap()).await.map_err(|fault| fault.error).unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
    answer["pid"].as_u64().unwrap().try_into().unwrap()
}

/// Whether a process runs; one that has ended and was not buried does not.
pub fn alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, after)| !after.trim_start().starts_with('Z'))
}

pub fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

pub async fn dead(pid: u32) {
    within("it is dead", || !alive(pid)).await.unwrap_or_else(|| panic!("process {pid} lives on"));
}

pub async fn within(_: &str, holds: impl Fn() -> bool) -> Option<()> {
    let patient = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, patient).await.ok()
}

/// A folder that goes with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("weirgate-children-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    pub async fn number(&self, name: &str) -> u32 {
        let read = || std::fs::read_to_string(self.0.join(name)).ok().and_then(|text| text.trim().parse().ok());
        within("the number is written", || read().is_some()).await.expect("it is written");
        read().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
