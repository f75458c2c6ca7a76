//! One process as a replica: started, asked until it is ready, watched, and ended in order.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::watch as channel;
use weirgate_models::storage::{Source, check_within};
use weirgate_models::{LoadError, Stop};
use weirgate_protocol::UpstreamUrl;

use super::expand::{expand, find, variables};
use super::listens::listens;
use super::port::Port;
use super::probe::{Probe, Probed};
use super::process::{Exit, Invocation, Process, whose};
use super::{ChildrenConfig, Command, Ours, Runs, Speaks};
use crate::kind::{Ending, EventKind, Tell, stop_asked};
use crate::remote::{Address, Remote, Transport, TransportConfig};
use crate::replica::FailureKind;
use crate::upstream::Follow;
use crate::waits::Waits;

/// For connections to a process of this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The news that a process has ended comes later than that it refuses connections, if only by moments.
const REFUSAL_PAUSE: Duration = Duration::from_millis(50);
/// Ports that a reason names.
const MOST_PORTS: usize = 5;
/// For a guard to say that the command runs.
const GUARD_PATIENCE: Duration = Duration::from_secs(30);

/// A replica's task.
pub(super) struct Body {
    pub config: Arc<ChildrenConfig>,
    pub ids: Arc<AtomicU64>,
    pub tell: Tell,
    pub stopping: channel::Receiver<bool>,
}

/// What a process was started with, and where it is reached.
struct Place {
    invocation: Invocation,
    address: Address,
    /// The port, until the process has ended.
    port: Option<Port>,
    /// Files that are of no use without the process.
    _files: Files,
}

/// Removed when dropped.
#[derive(Default)]
struct Files(Vec<PathBuf>);

impl Drop for Files {
    fn drop(&mut self) {
        for file in &self.0 {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// Why a process is not looked after any more.
enum Over {
    Exited(Exit),
    /// It hangs, or never became what it should be.
    Failed(Wrong),
    Stop,
}

/// What has failed, and why.
type Wrong = (FailureKind, String);

impl Body {
    pub async fn run(self) {
        let ending = Ending::new(self.tell.clone());
        let name: Arc<str> = format!("child {}", self.tell.replica).into();
        let started = tokio::select! {
            started = self.start() => started,
            () = stop_asked(self.stopping.clone()) => return ending.tell(EventKind::Exited(None)),
        };
        let (mut place, mut process) = match started {
            Ok(started) => started,
            Err(wrong) => return ending.tell(EventKind::Exited(Some(wrong))),
        };
        let started = Instant::now();
        let (config, replica, pid) = (&self.config, self.tell.replica, process.pid);
        tracing::info!(service = %config.service, revision = %config.revision, replica, pid, "process started");
        let care = Care { body: &self, place: &place, name, pid, started, remotes: Mutex::default() };
        let over = tokio::select! {
            exit = process.ended() => Over::Exited(exit),
            reason = care.take() => Over::Failed(reason),
            () = stop_asked(self.stopping.clone()) => Over::Stop,
        };
        let remotes = care.remotes.into_inner();
        match over {
            Over::Exited(exit) => {
                let lived = started.elapsed().as_secs();
                let reason = format!("its process {exit} after {lived} s{}", place.hint());
                // Whoever takes its place may have the port: nobody listens there any more.
                place.port = None;
                // At once: calls are not to be passed to what is gone.
                let kind = FailureKind::Exit { code: exit.code() };
                ending.tell(EventKind::Exited(Some((kind, reason))));
                process.bury().await;
            }
            Over::Failed(wrong) => {
                ending.tell(EventKind::Exited(Some(wrong)));
                process.stop(config.grace).await;
            }
            Over::Stop => {
                let finished = async {
                    for gone in remotes.iter().filter_map(Weak::upgrade).map(|remote| remote.gone()) {
                        gone.await;
                    }
                };
                let _ = tokio::time::timeout(config.grace, finished).await;
                process.stop(config.grace).await;
                ending.tell(EventKind::Exited(None));
            }
        }
    }

    /// Dropping this before it is done kills what was started.
    async fn start(&self) -> Result<(Place, Process), Wrong> {
        let not_started = |reason| (FailureKind::Start, reason);
        let place = self.place().await?;
        let whose = whose(&self.config.service, &self.config.revision, self.tell.replica);
        let started = Process::start(&self.config.guard, &place.invocation, Some(&whose));
        let late = |_| format!("its guard did not say within {GUARD_PATIENCE:?} that it runs");
        let process = tokio::time::timeout(GUARD_PATIENCE, started).await.map_err(late).and_then(|started| started);
        Ok((place, process.map_err(not_started)?))
    }

    async fn place(&self) -> Result<Place, Wrong> {
        let place = match &self.config.runs {
            Runs::Command(command) => place_of(command),
            Runs::Ours(ours) => {
                let fetched = fetch(ours.source.clone(), self.config.service.clone()).await;
                let model = fetched.map_err(|reason| (FailureKind::Load, reason))?;
                place_of_ours(ours, &model)
            }
        };
        place.map_err(|reason| (FailureKind::Start, reason))
    }
}

/// Brings a model here. Dropping this stops it.
async fn fetch(source: Arc<Source>, service: Arc<str>) -> Result<PathBuf, String> {
    struct Asked(Stop);
    impl Drop for Asked {
        fn drop(&mut self) {
            self.0.ask();
        }
    }
    let stop = Asked(Stop::default());
    let stopping = stop.0.clone();
    let fetched = tokio::task::spawn_blocking(move || {
        let place = source.fetch(&service, &stopping)?;
        check_within(place.path(), place.roots())?;
        Ok(place.path().to_owned())
    });
    match fetched.await {
        Ok(Ok(path)) => Ok(path),
        Ok(Err(LoadError(text))) => Err(text),
        Err(error) => Err(format!("the model could not be brought here: {error}")),
    }
}

fn place_of(command: &Command) -> Result<Place, String> {
    let port = command.ports.take(command.port).map_err(|error| format!("it can't have a port: {error}"))?;
    let number = port.number.to_string();
    let ours = ["PORT", "WEIRGATE_PORT"].map(|name| (name.to_owned(), number.clone()));
    let variables = variables(&command.env, ours.to_vec());
    let words = command.command.iter().map(|word| expand(word, |name| find(&variables, name)));
    let scheme = match command.speaks {
        Speaks::Http1 => "http",
        Speaks::H2c => "h2c",
        Speaks::Grpc => "grpc",
    };
    let url = format!("{scheme}://127.0.0.1:{number}");
    let address = UpstreamUrl::parse(&url).map(Address::Url).map_err(|error| format!("{url} {error}"))?;
    let invocation = Invocation { command: words.collect(), variables, working_dir: command.working_dir.clone() };
    Ok(Place { invocation, address, port: Some(port), _files: Files::default() })
}

fn place_of_ours(ours: &Ours, model: &Path) -> Result<Place, String> {
    let number = ours.numbers.fetch_add(1, Ordering::Relaxed);
    let [socket, manifest] = ["sock", "json"].map(|ending| ours.folder.join(format!("{number}.{ending}")));
    let text = (ours.manifest)(model)?;
    let mut files = Files::default();
    files
        .write_private(&manifest, &text)
        .map_err(|error| format!("its manifest can't be written to {}: {error}", manifest.display()))?;
    files.0.push(socket.clone());
    let paths = [("SOCKET", &socket), ("MANIFEST", &manifest)].map(|(name, path)| (name, path.to_string_lossy()));
    let known = |name: &str| paths.iter().find(|(known, _)| *known == name).map(|(_, path)| &**path);
    let words = ours.command.iter().map(|word| expand(word, known)).collect();
    let invocation = Invocation { command: words, variables: Vec::new(), working_dir: None };
    Ok(Place { invocation, address: Address::Unix(socket), port: None, _files: files })
}

impl Files {
    /// Writes a new file. A manifest may hold the secrets of a URL.
    fn write_private(&mut self, path: &Path, text: &str) -> std::io::Result<()> {
        use std::io::Write;
        use std::os::unix::fs::OpenOptionsExt;
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        // From here on it is this one's to remove.
        self.0.push(path.to_owned());
        file.write_all(text.as_bytes())
    }
}

impl Place {
    /// What may explain that a program ended: it wanted a port that it was not given.
    fn hint(&self) -> String {
        self.told().map(|told| format!("; {told}")).unwrap_or_default()
    }

    /// What it was told to listen on, and why.
    fn told(&self) -> Option<String> {
        let Port { number, wanted, .. } = self.port.as_ref()?;
        Some(match wanted {
            Some(wanted) if wanted == number => format!("told PORT={number} (containerPort)"),
            Some(wanted) => format!("told PORT={number} (containerPort {wanted} is taken)"),
            None => format!("told PORT={number} (there is no containerPort)"),
        })
    }

    /// Why the process, which runs, is not ready.
    fn not_ready(&self, pid: u32, text: &str, lasted: Option<Duration>) -> String {
        let told = self.told().map(|told| format!("{told}; ")).unwrap_or_default();
        let lasted = lasted.map(|lasted| format!(", for {} s", lasted.as_secs())).unwrap_or_default();
        format!("{told}{text}{lasted}; the process is still running{}", self.elsewhere(pid))
    }

    /// Where the process listens, if not where it was told.
    fn elsewhere(&self, pid: u32) -> String {
        let Some(port) = &self.port else { return String::new() };
        let ports = listens(pid);
        if ports.is_empty() || ports.contains(&port.number) {
            return String::new();
        }
        let ports: Vec<String> = ports.iter().take(MOST_PORTS).map(u16::to_string).collect();
        format!(" and listens on {} instead", ports.join(", "))
    }
}

/// Looks after a process that runs.
struct Care<'a> {
    body: &'a Body,
    place: &'a Place,
    name: Arc<str>,
    pid: u32,
    started: Instant,
    /// The servers that may hold calls: the one that is ready, and those before it that were.
    remotes: Mutex<Vec<Weak<Remote>>>,
}

impl Care<'_> {
    /// Returns why the process has to go.
    async fn take(&self) -> Wrong {
        let mut waits = Waits::new(self.started);
        let Runs::Command(command) = &self.body.config.runs else { return self.be_ready(None, waits).await };
        if let Some(startup) = &command.startup
            && let Err(reason) = self.until(startup, &mut waits).await
        {
            let reason = format!("its startup probe failed {} times: {reason}", startup.failure_threshold);
            return (FailureKind::Unhealthy, format!("{reason}{}", self.place.hint()));
        }
        let alive = async {
            match &command.liveness {
                Some(liveness) => {
                    let reason = self.while_good(liveness).await;
                    format!("its liveness probe failed {} times: {reason}", liveness.failure_threshold)
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            reason = alive => (FailureKind::Unhealthy, reason),
            wrong = self.be_ready(command.readiness.as_ref(), waits) => wrong,
        }
    }

    /// Tells when the process is ready and when it is not, for as long as it runs; an error that no time heals is returned.
    async fn be_ready(&self, readiness: Option<&Probe>, waits: Waits) -> Wrong {
        let started = Instant::now();
        let mut waits = Some(waits);
        // Why it is not ready any more, as it was told last.
        let mut told = None;
        loop {
            if let Some(probe) = readiness {
                self.until_ready(probe, started, &mut waits, told.take()).await;
            }
            let remote = match self.connect() {
                Ok(remote) => remote,
                Err(error) => return (FailureKind::Start, error),
            };
            let not_ready = async {
                match readiness {
                    Some(probe) => format!("its readiness probe fails: {}", self.while_good(probe).await),
                    None => std::future::pending().await,
                }
            };
            let mut follow = Follow {
                config: &self.body.config.watch,
                tell: &self.body.tell,
                kind: FailureKind::NotReady,
                waits: &mut waits,
                reason: &|text, lasted| self.not_ready(text, lasted),
            };
            let reason = tokio::select! {
                reason = follow.until_not_ready(remote) => Some(reason),
                text = not_ready => self.unready(&text, &mut waits),
            };
            told.clone_from(&reason);
            if let Some(reason) = reason {
                self.body.tell.tell(EventKind::NotReady(FailureKind::NotReady, reason));
            }
        }
    }

    /// Tells what a process that starts waits for, where it is time to. The reason that one which was ready is not any more is
    /// the caller's to tell.
    fn unready(&self, text: &str, waits: &mut Option<Waits>) -> Option<String> {
        let Some(waits) = waits else { return Some(self.not_ready(text, None)) };
        if let Some(lasted) = waits.found(text, Instant::now()) {
            self.body.tell.tell(EventKind::Starts(self.not_ready(text, Some(lasted))));
        }
        None
    }

    fn not_ready(&self, text: &str, lasted: Option<Duration>) -> String {
        self.place.not_ready(self.pid, text, lasted)
    }

    fn connect(&self) -> Result<Arc<Remote>, String> {
        let config = &self.body.config;
        let ours = matches!(config.runs, Runs::Ours(_));
        let address = self.place.address.clone();
        let transport = TransportConfig {
            connect_timeout: CONNECT_TIMEOUT,
            refusal_pause: REFUSAL_PAUSE,
            ours,
            ..TransportConfig::new(address)
        };
        let transport = Transport::new(transport)?;
        let id = self.body.ids.fetch_add(1, Ordering::Relaxed);
        let slots = if ours { 0 } else { config.limits.slots() };
        let remote = Remote::new(id, self.name.clone(), transport, ours, slots);
        let mut remotes = self.remotes.lock();
        remotes.retain(|remote| remote.strong_count() > 0);
        remotes.push(Arc::downgrade(&remote));
        drop(remotes);
        Ok(remote)
    }

    fn probed(&self) -> Probed<'_> {
        let Invocation { variables, working_dir, .. } = &self.place.invocation;
        let port = self.place.port.as_ref().map_or(0, |port| port.number);
        Probed { guard: &self.body.config.guard, port, variables, working_dir: working_dir.as_deref() }
    }

    /// Asks until a probe succeeds, or fails as often as it may.
    async fn until(&self, probe: &Probe, waits: &mut Waits) -> Result<(), String> {
        tokio::time::sleep(probe.initial_delay).await;
        let mut failures = 0;
        loop {
            let Err(reason) = probe.ask(self.probed()).await else { return Ok(()) };
            failures += 1;
            if failures >= probe.failure_threshold {
                return Err(reason);
            }
            if let Some(lasted) = waits.found(&reason, Instant::now()) {
                let reason = self.not_ready(&format!("its startup probe fails: {reason}"), Some(lasted));
                self.body.tell.tell(EventKind::Starts(reason));
            }
            tokio::time::sleep(probe.period).await;
        }
    }

    /// Asks until a probe has succeeded often enough. `told`: why the replica is not ready, as far as it was told.
    async fn until_ready(&self, probe: &Probe, started: Instant, waits: &mut Option<Waits>, mut told: Option<String>) {
        tokio::time::sleep(probe.initial_delay.saturating_sub(started.elapsed())).await;
        let mut successes = 0;
        loop {
            match probe.ask(self.probed()).await {
                Ok(()) => successes += 1,
                Err(reason) => {
                    successes = 0;
                    let reason = self.unready(&format!("its readiness probe fails: {reason}"), waits);
                    if let Some(reason) = reason.filter(|reason| told.as_ref() != Some(reason)) {
                        self.body.tell.tell(EventKind::NotReady(FailureKind::NotReady, reason.clone()));
                        told = Some(reason);
                    }
                }
            }
            if successes >= probe.success_threshold {
                return;
            }
            // Whoever starts is asked more often than whoever runs.
            tokio::time::sleep(probe.period.min(Duration::from_secs(1))).await;
        }
    }

    /// Asks until a probe has failed as often as it may; why.
    async fn while_good(&self, probe: &Probe) -> String {
        let mut failures = 0;
        loop {
            tokio::time::sleep(probe.period).await;
            match probe.ask(self.probed()).await {
                Ok(()) => failures = 0,
                Err(reason) => {
                    failures += 1;
                    if failures >= probe.failure_threshold {
                        return reason;
                    }
                }
            }
        }
    }
}
