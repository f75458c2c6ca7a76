//! What shall run: an InferenceService with nothing left to decide by default.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

pub use weirgate_protocol::Retry;
use weirgate_protocol::{RemoteUrl, StickyKey, UpstreamUrl};

use crate::arguments::ModelArguments;
use crate::inference_service::PredictorSpec;

/// What one manifest asks for, with nothing left to decide by default.
#[derive(Clone, Debug, PartialEq)]
pub struct ServicePlan {
    pub namespace: String,
    pub name: String,
    pub settings: Settings,
    /// `spec.predictor`.
    pub predictor: RevisionPlan,
    pub traffic: TrafficPlan,
}

impl ServicePlan {
    /// Every revision that it asks for.
    pub fn revisions(&self) -> impl Iterator<Item = &RevisionPlan> {
        let canaries = match &self.traffic {
            TrafficPlan::Canaries(canaries) => canaries.as_slice(),
            TrafficPlan::Percent(_) => &[],
        };
        std::iter::once(&self.predictor).chain(canaries.iter().map(|canary| &canary.revision))
    }
}

/// What holds for the service whatever revision answers; a change of it touches no replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From the arrival of a call to its answer.
    pub timeout: Duration,
    /// Calls that may wait for a replica; none: the gateway's own limit.
    pub max_queued_requests: Option<NonZeroUsize>,
    /// What keeps calls together while traffic is split.
    pub sticky: Option<StickyKey>,
    /// Whether a call that may have been executed may be executed again.
    pub retry: Retry,
    /// How long a stream may pause once its first byte has come; none: as long as the timeout.
    pub stream_idle_timeout: Option<Duration>,
    pub replacement: Replacement,
    /// Nothing shall run: `serving.kserve.io/stop: "true"`.
    pub stopped: bool,
}

/// The order in which a revision takes another's place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replacement {
    /// The old one goes when the new one has taken over.
    #[default]
    StartFirst,
    /// The old one goes first and calls are held meanwhile: `deploymentStrategy.type: Recreate`, or a `maxSurge` of 0.
    StopFirst,
}

/// How calls are split.
#[derive(Clone, Debug, PartialEq)]
pub enum TrafficPlan {
    /// `canaryTrafficPercent`: this share goes to `spec.predictor`, the rest to what was rolled out before it. None: all
    /// of it goes to `spec.predictor`.
    Percent(Option<u8>),
    /// `spec.canary[]`: the rest goes to `spec.predictor`.
    Canaries(Vec<CanaryPlan>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct CanaryPlan {
    pub percent: u8,
    pub revision: RevisionPlan,
}

/// One version of a predictor that can run.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionPlan {
    /// `{service}-predictor-{hash}`: equal for predictors that give equal answers by equal means.
    pub name: String,
    /// `predictor.name`, by which people know it.
    pub variant: Option<String>,
    /// Replicas that shall run when it takes its traffic.
    pub replicas: NonZeroUsize,
    pub executor: Executor,
    pub batcher: BatcherPlan,
    /// Calls that one replica may hold unfinished; none: no limit.
    pub container_concurrency: Option<NonZeroUsize>,
    /// Whole CPUs that one replica may use; none: no limit.
    pub cpu_limit: Option<NonZeroUsize>,
    /// Bytes of memory that one replica needs, where the manifest says so.
    pub memory: Option<u64>,
    /// The predictor this was made from, defaults filled in and paths made absolute: enough to make it again.
    pub predictor: PredictorSpec,
}

/// Who executes a revision's calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Executor {
    /// Engines of ours.
    Model { model: ModelPlan, isolation: Isolation },
    /// A command of the user's, once per replica: `predictor.containers[]`.
    Command(Box<CommandPlan>),
    /// Servers that somebody else runs: `weirgate.dev/upstream`.
    Upstream(Box<UpstreamPlan>),
}

impl Executor {
    /// The name by which calls know the model, where that is not the service's.
    pub fn model_name(&self) -> Option<&str> {
        match self {
            Executor::Command(command) => command.model_name.as_deref(),
            Executor::Model { model, .. } => model.arguments.model_name.as_deref(),
            Executor::Upstream(_) => None,
        }
    }

    /// The model, where engines of ours run it.
    pub fn model(&self) -> Option<&ModelPlan> {
        match self {
            Executor::Model { model, .. } => Some(model),
            Executor::Command(_) | Executor::Upstream(_) => None,
        }
    }

    /// Whether calls leave this process.
    pub fn is_remote(&self) -> bool {
        !matches!(self, Executor::Model { isolation: Isolation::Thread, .. })
    }

    /// Whether calls are passed to the replicas as bytes. Engines of tensors in this process pull theirs.
    pub fn passes(&self) -> bool {
        self.is_remote() || self.model().is_some_and(|model| model.format == ModelFormat::Language)
    }
}

/// Where an engine of ours runs: `weirgate.dev/isolation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolation {
    /// On a thread of the gateway.
    #[default]
    Thread,
    /// In a child process for each replica, whose crash takes nothing else down.
    Process,
}

/// What a container would run, as a child process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandPlan {
    /// The container's name, for logs.
    pub name: String,
    /// The program and its arguments: `command` and then `args`, as written. `$(NAME)` is filled in where the process is
    /// started, because `$(PORT)` is known only there.
    pub command: Vec<String>,
    /// As written; a variable may name those before it.
    pub env: Vec<(String, String)>,
    /// The model as the server knows it: `--model_name` of its arguments. None: the service's name.
    pub model_name: Option<String>,
    pub working_dir: Option<PathBuf>,
    /// `ports[0].containerPort`; none: a free one is told by the environment variable `PORT`.
    pub port: Option<u16>,
    /// How the port is spoken to, by its name.
    pub speaks: PortProtocol,
    /// What the server speaks, where the manifest says; none: it is asked.
    pub protocols: Option<Vec<UpstreamProtocol>>,
    pub startup: Option<ProbePlan>,
    pub readiness: Option<ProbePlan>,
    pub liveness: Option<ProbePlan>,
    /// From SIGTERM to SIGKILL: `terminationGracePeriodSeconds`.
    pub grace: Duration,
}

/// How a port is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PortProtocol {
    #[default]
    Http1,
    /// Its name is `h2c`: h2, known beforehand.
    H2c,
    /// Its name begins with `grpc`: gRPC and nothing else.
    Grpc,
}

/// A probe of a container, with Kubernetes' defaults filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePlan {
    pub check: ProbeCheck,
    pub initial_delay: Duration,
    pub period: Duration,
    pub timeout: Duration,
    pub success_threshold: u32,
    pub failure_threshold: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeCheck {
    /// Anything from 200 to 399 is a success. None: the container's port.
    Http {
        path: String,
        port: Option<u16>,
        headers: Vec<(String, String)>,
    },
    Tcp {
        port: Option<u16>,
    },
    Grpc {
        port: Option<u16>,
        service: Option<String>,
    },
    Exec {
        command: Vec<String>,
    },
}

/// Servers that calls are passed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamPlan {
    /// Each is one replica.
    pub urls: Vec<UpstreamUrl>,
    /// What they speak, where the manifest says; none: they are asked.
    pub protocols: Option<Vec<UpstreamProtocol>>,
    pub tls: UpstreamTls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamProtocol {
    V1,
    V2,
    GrpcV2,
    OpenAi,
}

/// Whom to trust and what to show; all are PEM files. None: the machine's own roots, and no certificate of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    pub ca: Option<PathBuf>,
    pub client_cert: Option<PathBuf>,
    pub client_key: Option<PathBuf>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPlan {
    pub format: ModelFormat,
    pub location: Location,
    /// Of a language model.
    pub arguments: ModelArguments,
}

/// Where a model lies. It may not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// A file or a folder of this machine.
    Path(PathBuf),
    /// A file or an archive elsewhere.
    Url(RemoteUrl),
}

impl Location {
    /// The one spelling that it has here, with the secrets that a URL may hold.
    pub(crate) fn spelling(&self) -> String {
        match self {
            Location::Path(path) => path.to_string_lossy().into_owned(),
            Location::Url(url) => url.as_written().to_owned(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelFormat {
    Onnx,
    /// A language model: a GGUF file.
    Language,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatcherPlan {
    /// The most rows of one batch; none: what the engine can take.
    pub max_batch_size: Option<NonZeroUsize>,
    /// How long an idle engine waits for a batch to fill; none: it does not wait.
    pub max_latency: Option<Duration>,
}
