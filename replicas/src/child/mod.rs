//! Replicas that are processes of their own: any command, or this program again for one service.
//!
//! ```text
//! guard    the process between us and a command, so that nothing of it outlives the gateway
//! process  a command that runs: its start, its end, its lines
//! log      its lines in our log, cut and counted
//! port     the port it listens on
//! listens  the ports that it does listen on
//! expand   $(NAME) in its arguments
//! probe    what Kubernetes would ask of it
//! replica  all of that, as a replica of a set
//! ```

mod expand;
mod guard;
mod listens;
mod log;
mod port;
mod probe;
mod process;
mod replica;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use weirgate_models::storage::Source;
use weirgate_replicas_core::BatchPolicy;

pub use guard::guard;
pub use port::Ports;
pub use probe::{Check, Probe};
pub use process::{Guard, this_program};

use crate::kind::{Kind, Start, Started};
use crate::remote::WatchConfig;
use crate::upstream::RemoteLimits;
use replica::Body;

/// What the processes of one revision are.
#[derive(Clone)]
pub struct ChildrenConfig {
    /// For logs.
    pub service: Arc<str>,
    pub revision: Arc<str>,
    pub guard: Guard,
    pub runs: Runs,
    /// How the model behind a process is asked.
    pub watch: WatchConfig,
    pub limits: RemoteLimits,
    /// From SIGTERM to SIGKILL, and for calls to finish before that.
    pub grace: Duration,
}

/// What a process runs.
#[derive(Clone)]
pub enum Runs {
    Command(Box<Command>),
    /// This program for one service.
    Ours(Ours),
}

/// A command of somebody's, which listens on a port.
#[derive(Clone, Debug)]
pub struct Command {
    /// The program and its arguments, in which `$(NAME)` is filled in.
    pub command: Vec<String>,
    /// Added to the gateway's own environment, in which `$(NAME)` is filled in too. `PORT` and `WEIRGATE_PORT` are ours.
    pub env: Vec<(String, String)>,
    pub working_dir: Option<PathBuf>,
    /// The port that the first of the processes has.
    pub port: Option<u16>,
    /// How the port is spoken to.
    pub speaks: Speaks,
    /// Ports of all processes of this gateway.
    pub ports: Arc<Ports>,
    pub startup: Option<Probe>,
    pub readiness: Option<Probe>,
    pub liveness: Option<Probe>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Speaks {
    #[default]
    Http1,
    /// h2, known beforehand.
    H2c,
    /// gRPC and nothing else.
    Grpc,
}

/// Makes an InferenceService for a model at a path.
pub type Manifest = dyn Fn(&Path) -> Result<String, String> + Send + Sync;

/// This program, serving one service at a Unix socket.
#[derive(Clone)]
pub struct Ours {
    /// The program and its arguments, in which `$(MANIFEST)` and `$(SOCKET)` are filled in with paths of files.
    pub command: Vec<String>,
    /// Brings the model here before the process is started.
    pub source: Arc<Source>,
    /// The InferenceService for a model that lies there.
    pub manifest: Arc<Manifest>,
    /// For sockets and manifests; nobody else may enter it. Its path is short: a socket's has at most 107 bytes.
    pub folder: PathBuf,
    /// Names for them: of all sets whose files lie in that folder.
    pub numbers: Arc<AtomicU64>,
}

/// Processes as replicas.
pub(crate) struct Children {
    config: Arc<ChildrenConfig>,
    /// Numbers of the servers behind them, which are new each time that one becomes ready.
    ids: Arc<AtomicU64>,
}

impl Children {
    pub fn new(config: ChildrenConfig) -> Children {
        Children { config: Arc::new(config), ids: Arc::default() }
    }
}

impl Kind for Children {
    fn start(&self, start: Start, tasks: &mut JoinSet<()>) -> Result<Arc<dyn Started>, String> {
        let (stop, stopping) = channel::channel(false);
        let body = Body { config: self.config.clone(), ids: self.ids.clone(), tell: start.tell, stopping };
        tasks.spawn(body.run());
        Ok(Arc::new(Child { stop, policy: self.config.limits.policy() }))
    }
}

struct Child {
    stop: channel::Sender<bool>,
    policy: BatchPolicy,
}

impl Started for Child {
    fn stop(&self) {
        self.stop.send_replace(true);
    }

    fn policy(&self) -> BatchPolicy {
        self.policy
    }
}
