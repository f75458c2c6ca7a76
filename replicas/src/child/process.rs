//! A command that runs under its guard.

use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::guard::TERMINATE;
use super::log::{Whose, log};

/// How a guard is started: this program again, with the words that make it one.
#[derive(Clone, Debug)]
pub struct Guard {
    pub program: PathBuf,
    pub arguments: Vec<String>,
}

/// What shall run.
#[derive(Debug)]
pub(super) struct Invocation {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Added to the gateway's own environment.
    pub variables: Vec<(String, String)>,
    pub working_dir: Option<PathBuf>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exit {
    Code(i32),
    Signal(i32),
    /// Its guard is gone, and it was killed.
    Lost,
}

/// A command that runs. Dropping this kills it, with all that it has started.
pub(super) struct Process {
    pub pid: u32,
    news: BufReader<OwnedReadHalf>,
    /// What has come of the next line.
    line: Vec<u8>,
    wishes: OwnedWriteHalf,
    guard: tokio::process::Child,
    logs: JoinSet<()>,
}

/// Variables of the gateway's that are nobody else's: they hold its settings, paths of keys among them.
const OWN: &str = "WEIRGATE_";
/// Added to the number of a signal that ended a command, where a code is asked for.
const BY_SIGNAL: i32 = 128;
/// What a guard says that can't be read: its command has ended all the same.
const UNKNOWN: i32 = 255;
/// After a command has ended, for what it left behind to be killed and its last lines to be read.
const BURIAL: Duration = Duration::from_secs(5);

impl Process {
    /// Starts a command; an error says why it could not be. Its lines are logged as those of `whose`, or by nobody.
    pub async fn start(
        guard: &Guard,
        what: &Invocation,
        whose: Option<&(dyn Fn(&'static str) -> Whose + Sync)>,
    ) -> Result<Process, String> {
        if let Some(folder) = what.working_dir.as_deref().filter(|folder| !folder.is_dir()) {
            return Err(format!("its working directory '{}' is no folder of this machine", folder.display()));
        }
        let failed = |error: std::io::Error| format!("its guard can't be started: {error}");
        let (ours, theirs) = StdStream::pair().map_err(failed)?;
        let mut command = Command::new(&guard.program);
        command.args(&guard.arguments).args(&what.command);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with(OWN) {
                command.env_remove(name);
            }
        }
        command.envs(what.variables.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &what.working_dir {
            command.current_dir(folder);
        }
        // What a terminal sends to the gateway is not for the guard: it ends by its socket.
        let output = || if whose.is_some() { Stdio::piped() } else { Stdio::null() };
        command.process_group(0).stdin(OwnedFd::from(theirs)).stdout(output()).stderr(output());
        let mut guard = command.spawn().map_err(failed)?;
        // The guard's end of the socket is the guard's alone.
        drop(command);
        let mut logs = JoinSet::new();
        if let Some((stdout, whose)) = guard.stdout.take().zip(whose) {
            logs.spawn(log(stdout, whose("stdout")));
        }
        if let Some((stderr, whose)) = guard.stderr.take().zip(whose) {
            logs.spawn(log(stderr, whose("stderr")));
        }
        ours.set_nonblocking(true).map_err(failed)?;
        let (news, wishes) = UnixStream::from_std(ours).map_err(failed)?.into_split();
        let mut process = Process { pid: 0, news: BufReader::new(news), line: Vec::new(), wishes, guard, logs };
        let program = what.command.first().map(String::as_str).unwrap_or_default();
        match process.news().await.as_deref().and_then(|line| line.split_once(' ')) {
            Some(("started", pid)) => process.pid = pid.parse().map_err(|_| "its guard told no process".to_owned())?,
            Some(("failed", why)) => return Err(format!("'{program}' can't be started: {why}")),
            _ => return Err("its guard ended before it was started".to_owned()),
        }
        Ok(process)
    }

    /// The next thing that the guard says; none where it is gone. Nothing is lost where this is dropped before.
    async fn news(&mut self) -> Option<String> {
        let read = self.news.read_until(b'\n', &mut self.line).await;
        let line = std::mem::take(&mut self.line);
        (read.is_ok() && line.ends_with(b"\n")).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
    }

    /// Waits until the command ends. Nothing is lost where this is dropped before.
    pub async fn ended(&mut self) -> Exit {
        match self.news().await.as_deref().and_then(|line| line.split_once(' ')) {
            Some(("exited", code)) => Exit::Code(code.parse().unwrap_or(UNKNOWN)),
            Some(("killed", signal)) => Exit::Signal(signal.parse().unwrap_or(UNKNOWN)),
            _ => {
                // What it watched over has lost its guard.
                if let Some(group) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
                    let _ = rustix::process::kill_process_group(group, Signal::KILL);
                }
                Exit::Lost
            }
        }
    }

    /// Asks the command to end, and kills what is left of it after the grace period.
    pub async fn stop(mut self, grace: Duration) {
        let asked = async {
            self.wishes.write_all(&[TERMINATE]).await.ok()?;
            Some(self.ended().await)
        };
        let _ = tokio::time::timeout(grace, asked).await;
        self.bury().await;
    }

    /// Waits until nothing of it is left.
    pub async fn bury(self) {
        let Process { news, wishes, mut guard, mut logs, .. } = self;
        // The end of the socket: whatever still runs is killed.
        drop((news, wishes));
        let over = async {
            let _ = guard.wait().await;
            while logs.join_next().await.is_some() {}
        };
        let _ = tokio::time::timeout(BURIAL, over).await;
    }
}

impl Exit {
    pub fn is_success(self) -> bool {
        self == Exit::Code(0)
    }

    /// As a shell tells it.
    pub fn code(self) -> Option<i32> {
        match self {
            Exit::Code(code) => Some(code),
            Exit::Signal(signal) => Some(BY_SIGNAL.saturating_add(signal)),
            Exit::Lost => None,
        }
    }
}

/// What the command did.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(0) => f.write_str("exited with code 0, though it should go on"),
            Exit::Code(code) => write!(f, "exited with code {code}"),
            Exit::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "was killed by signal {signal} ({name})"),
                None => write!(f, "was killed by signal {signal}"),
            },
            Exit::Lost => f.write_str("lost its guard and was killed"),
        }
    }
}

/// Those that end a process, as Linux numbers them on all machines that we run on.
fn signal_name(number: i32) -> Option<&'static str> {
    const NAMES: [(i32, &str); 18] = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (10, "SIGUSR1"),
        (11, "SIGSEGV"),
        (12, "SIGUSR2"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (31, "SIGSYS"),
    ];
    NAMES.iter().find(|(known, _)| *known == number).map(|(_, name)| *name)
}

/// The log's idea of whose a process is.
pub(super) fn whose(service: &Arc<str>, revision: &Arc<str>, replica: u64) -> impl Fn(&'static str) -> Whose + use<> {
    let (service, revision) = (service.clone(), revision.clone());
    move |stream| Whose { service: service.clone(), revision: revision.clone(), replica, stream }
}

/// This program again, whatever lies at its path by now.
pub fn this_program() -> &'static Path {
    Path::new("/proc/self/exe")
}
