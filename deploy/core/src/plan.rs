//! What shall run: an InferenceService with nothing left to decide by default.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use weirgate_protocol::{RemoteUrl, StickyKey};

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

/// What holds for the service whatever revision answers; a change of it touches no replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// From the arrival of a call to its answer.
    pub timeout: Duration,
    /// Calls that may wait for a replica; none: the gateway's own limit.
    pub max_queued_requests: Option<NonZeroUsize>,
    /// What keeps calls together while traffic is split.
    pub sticky: Option<StickyKey>,
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
    pub model: ModelPlan,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPlan {
    pub format: ModelFormat,
    pub location: Location,
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
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatcherPlan {
    /// The most rows of one batch; none: what the engine can take.
    pub max_batch_size: Option<NonZeroUsize>,
    /// How long an idle engine waits for a batch to fill; none: it does not wait.
    pub max_latency: Option<Duration>,
}
