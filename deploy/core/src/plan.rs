//! From an InferenceService to what shall run: values are checked, defaults filled in.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use weirgate_protocol::StickyKey;

use crate::annotations::Annotations;
use crate::inference_service::{
    BatcherSpec, InferenceService, Metadata, ModelFormatSpec, ModelServerSpec, PredictorSpec, ResourceSpec,
};
use crate::problem::{Problem, Report, quoted};
use crate::storage;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);
/// The largest whole number of a manifest, as in KServe.
const LARGEST: i64 = i32::MAX as i64;
const LONGEST_NAME: usize = 63;

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
    /// A file or a folder. It may not exist.
    pub location: PathBuf,
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

/// The plan of a service, unless a problem is an error. Relative paths start at `base`; `origin` is shown in messages.
pub fn plan(service: &InferenceService, origin: &str, base: &Path) -> (Option<ServicePlan>, Vec<Problem>) {
    let mut report = Report::new(origin, subject(&service.metadata));
    let plan = draw(service, base, &mut report);
    (plan, report.into_problems())
}

/// Makes a revision's plan again from its effective predictor, as [`RevisionPlan::predictor`] holds it.
pub fn revision(service_name: &str, predictor: &PredictorSpec) -> Result<RevisionPlan, Vec<Problem>> {
    let metadata = Metadata { name: service_name.to_owned(), ..Metadata::default() };
    let service = InferenceService {
        metadata,
        spec: crate::InferenceServiceSpec { predictor: predictor.clone() },
        ..InferenceService::default()
    };
    let (plan, problems) = plan(&service, "stored revision", Path::new(""));
    plan.map(|plan| plan.predictor).ok_or(problems)
}

/// How problems name a service.
pub(crate) fn subject(metadata: &Metadata) -> String {
    let name = |text: &str, valid: bool| if valid { text.to_owned() } else { quoted(text) };
    let (namespace, service) = (metadata.namespace(), metadata.name.as_str());
    let namespace = name(namespace, is_namespace(namespace));
    format!("inferenceservice {namespace}/{}", name(service, is_service_name(service)))
}

/// Judges every value before it gives up on any.
pub(crate) fn draw(service: &InferenceService, base: &Path, report: &mut Report) -> Option<ServicePlan> {
    let InferenceService { metadata, spec, .. } = service;
    let predictor = &spec.predictor;
    check_names(metadata, report);
    let annotations = Annotations::read(metadata, report);
    let replicas = replicas(predictor.min_replicas, report);
    let container_concurrency =
        whole("spec.predictor.containerConcurrency", predictor.container_concurrency.unwrap_or(0), 0, report);
    let timeout = predictor.timeout.map(|seconds| whole("spec.predictor.timeout", seconds, 1, report));
    let batcher = predictor.batcher.as_ref().map(|batcher| batcher_plan(batcher, report)).unwrap_or_default();
    let model = match &predictor.model {
        Some(model) => Some((model_plan(model, base, report), cpu_limit(&model.resources.limits, report))),
        None => {
            report.error("spec.predictor.model", "is missing: write its modelFormat and storageUri");
            None
        }
    };
    if report.has_errors() || report.has_unsupported() {
        return None;
    }
    let (model, cpu_limit) = model?;
    Some(ServicePlan {
        namespace: metadata.namespace().to_owned(),
        name: metadata.name.clone(),
        settings: Settings {
            timeout: timeout.map_or(DEFAULT_TIMEOUT, |seconds| Duration::from_secs(seconds as u64)),
            max_queued_requests: annotations.max_queued_requests,
            sticky: None,
            replacement: Replacement::StartFirst,
            stopped: false,
        },
        predictor: RevisionPlan {
            name: format!("{}-predictor", metadata.name),
            variant: None,
            replicas,
            model: model?,
            batcher,
            container_concurrency: NonZeroUsize::new(container_concurrency),
            cpu_limit,
            memory: None,
            predictor: predictor.clone(),
        },
        traffic: TrafficPlan::Percent(None),
    })
}

fn check_names(metadata: &Metadata, report: &mut Report) {
    let name = &metadata.name;
    if name.is_empty() {
        report.error("metadata.name", "is missing: write the name of the service");
    } else if !is_service_name(name) {
        report.error(
            "metadata.name",
            format!(
                "is {}: allowed are at most 63 of a-z, 0-9 and '-', from a letter to a letter or digit",
                quoted(name)
            ),
        );
    }
    let namespace = metadata.namespace();
    if !is_namespace(namespace) {
        report.error(
            "metadata.namespace",
            format!("is {}: allowed are at most 63 of a-z, 0-9 and '-', not '-' at either end", quoted(namespace)),
        );
    }
}

fn is_service_name(name: &str) -> bool {
    is_namespace(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

fn is_namespace(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn replicas(min_replicas: Option<i64>, report: &mut Report) -> NonZeroUsize {
    const PATH: &str = "spec.predictor.minReplicas";
    NonZeroUsize::new(whole(PATH, min_replicas.unwrap_or(1), 0, report)).unwrap_or_else(|| {
        if min_replicas == Some(0) {
            report.warn(PATH, "is 0: scale to zero is not built yet, 1 replica runs all the time");
        }
        NonZeroUsize::MIN
    })
}

fn batcher_plan(batcher: &BatcherSpec, report: &mut Report) -> BatcherPlan {
    // KServe takes zero and less for "not set".
    let mut limit = |name: &str, value: Option<i64>| {
        value.filter(|value| *value > 0).map(|value| whole(&format!("spec.predictor.batcher.{name}"), value, 1, report))
    };
    BatcherPlan {
        max_batch_size: limit("maxBatchSize", batcher.max_batch_size).and_then(NonZeroUsize::new),
        max_latency: limit("maxLatency", batcher.max_latency).map(|millis| Duration::from_millis(millis as u64)),
    }
}

fn model_plan(model: &ModelServerSpec, base: &Path, report: &mut Report) -> Option<ModelPlan> {
    let format = model_format(&model.model_format, report);
    let location = match model.storage_uri.as_deref().map(|uri| storage::location(uri, base)) {
        Some(Ok(location)) => Some(location),
        Some(Err(message)) => {
            report.error("spec.predictor.model.storageUri", message);
            None
        }
        None => {
            report.error("spec.predictor.model.storageUri", "is missing: write the path of the model");
            None
        }
    };
    Some(ModelPlan { format: format?, location: location? })
}

fn model_format(format: &ModelFormatSpec, report: &mut Report) -> Option<ModelFormat> {
    const PATH: &str = "spec.predictor.model.modelFormat.name";
    match format.name.as_str() {
        "onnx" => return Some(ModelFormat::Onnx),
        "" => report.error(PATH, "is missing: write onnx"),
        other => {
            report.error(PATH, format!("{} is not supported yet: supported is onnx", quoted(other)));
        }
    }
    None
}

fn cpu_limit(limits: &ResourceSpec, report: &mut Report) -> Option<NonZeroUsize> {
    let cpu = limits.cpu.as_ref()?;
    let limit = usize::try_from(cpu.whole()).ok().and_then(NonZeroUsize::new);
    if limit.is_none() {
        let message = format!("is {}: allowed is a quantity of CPUs above 0, such as 2 or 500m", quoted(cpu.as_str()));
        report.error("spec.predictor.model.resources.limits.cpu", message);
    }
    limit
}

/// The number, if it is within what the field allows; otherwise the problem is reported and the number is the least.
fn whole(path: &str, found: i64, least: i64, report: &mut Report) -> usize {
    if !(least..=LARGEST).contains(&found) {
        report.error(path, format!("is {found}: allowed is a whole number from {least} to {LARGEST}"));
    }
    usize::try_from(found.clamp(least, LARGEST)).unwrap_or(0)
}
