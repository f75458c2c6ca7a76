//! From an InferenceService to its plan. Every value is judged before any is given up on.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::annotations::{self, Annotations, UPSTREAM};
use crate::arguments::ModelArguments;
use crate::executor;
use crate::inference_service::{InferenceService, ModelFormatSpec, ModelServerSpec, PredictorSpec, Resources};
use crate::plan::{
    BatcherPlan, CanaryPlan, Executor, ModelFormat, ModelPlan, RevisionPlan, ServicePlan, Settings, TrafficPlan,
};
use crate::problem::{Report, quoted};
use crate::storage::{Misplaced, location};
use crate::upstream::Notes;
use crate::values::{check_metadata, check_name, count};
use crate::{canary, component, revision};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(300);

/// The plan of a service whose defaults are filled in; none where something of it is wrong or unsupported.
pub(crate) fn draw(service: &InferenceService, report: &mut Report) -> Option<ServicePlan> {
    let InferenceService { metadata, spec, .. } = service;
    check_metadata(metadata, report);
    let mut annotations = Annotations::read(metadata, report);
    annotations.read_predictor(&spec.predictor.component.annotations, STABLE, report);
    check_annotations(service, report);
    check_components(service, annotations.keda, report);
    canary::check(spec, report);

    let of_service = &metadata.annotations;
    let (mut stable, mut canaries) = canary::predictors(spec);
    for predictor in std::iter::once(&mut stable).chain(&mut canaries) {
        annotations::inherit(&mut predictor.component.annotations, of_service);
    }
    let predictor = draw_revision(&metadata.name, &stable, of_service, STABLE, report);
    let traffic = if canaries.is_empty() {
        let percent = spec.predictor.component.canary_traffic_percent;
        Some(TrafficPlan::Percent(percent.and_then(|percent| u8::try_from(percent).ok())))
    } else {
        let canaries = spec.canary.iter().zip(&canaries).enumerate().map(|(index, (canary, predictor))| {
            let revision = draw_canary(&metadata.name, predictor, of_service, index, report);
            Some(CanaryPlan { percent: u8::try_from(canary.traffic_percent).ok()?, revision: revision? })
        });
        // Every one is judged before the first that fails ends it.
        canaries.collect::<Vec<_>>().into_iter().collect::<Option<_>>().map(TrafficPlan::Canaries)
    };
    // A value that was refused may be what would have told a canary from the others.
    if !report.has_errors() {
        canary::check_revisions(&metadata.name, &stable, &canaries, report);
    }
    if report.has_errors() || report.has_unsupported() {
        return None;
    }
    let component = &spec.predictor.component;
    Some(ServicePlan {
        namespace: metadata.namespace().to_owned(),
        name: metadata.name.clone(),
        settings: Settings {
            timeout: seconds(component.timeout).unwrap_or(DEFAULT_TIMEOUT),
            max_queued_requests: annotations.max_queued_requests,
            sticky: annotations.sticky,
            retry: annotations.retry,
            stream_idle_timeout: annotations.stream_idle_timeout,
            replacement: component::replacement(component.deployment_strategy.as_ref()),
            stopped: annotations.stopped,
        },
        predictor: predictor?,
        traffic: traffic?,
    })
}

const STABLE: &str = "spec.predictor";

/// Warns of annotations that have no effect where they are written.
fn check_annotations(service: &InferenceService, report: &mut Report) {
    let spec = &service.spec;
    annotations::check_predictor(&spec.predictor.component.annotations, STABLE, false, report);
    for (index, canary) in spec.canary.iter().enumerate() {
        let at = format!("spec.canary[{index}].predictor");
        annotations::check_predictor(&canary.predictor.component.annotations, &at, true, report);
    }
    let predictors = std::iter::once(&spec.predictor).chain(spec.canary.iter().map(|canary| &canary.predictor));
    let mut all = std::iter::once(&service.metadata.annotations)
        .chain(predictors.map(|predictor| &predictor.component.annotations));
    let containers = spec.predictor.pod.contains_key("containers");
    if !all.any(|annotations| annotations.contains_key(UPSTREAM)) {
        let of_service = &service.metadata.annotations;
        Notes { annotations: of_service, service: of_service, at: STABLE }.refuse_without_upstream(containers, report);
    }
}

fn check_components(service: &InferenceService, keda: bool, report: &mut Report) {
    let spec = &service.spec;
    component::check(&spec.predictor.component, STABLE, keda, report);
    for (name, other) in [("spec.transformer", &spec.transformer), ("spec.explainer", &spec.explainer)] {
        if let Some(other) = other {
            component::check(&other.component, name, keda, report);
        }
    }
    for (index, canary) in spec.canary.iter().enumerate() {
        component::check(&canary.predictor.component, &format!("spec.canary[{index}].predictor"), keda, report);
    }
}

/// What is wrong with `spec.predictor` is not said again of each canary that has it from there.
fn draw_canary(
    service: &str,
    predictor: &PredictorSpec,
    of_service: &BTreeMap<String, String>,
    index: usize,
    report: &mut Report,
) -> Option<RevisionPlan> {
    let at = format!("spec.canary[{index}].predictor");
    let mut own = Report::new("", "");
    let plan = draw_revision(service, predictor, of_service, &at, &mut own);
    for problem in own.problems() {
        let inherited = report.problems().iter().any(|known| {
            known.message == problem.message && known.path.strip_prefix(STABLE) == problem.path.strip_prefix(&at)
        });
        if !inherited {
            report.adopt(problem);
        }
    }
    plan
}

/// The plan of one version, from its predictor in full. `of_service`: the annotations of its service.
pub(crate) fn draw_revision(
    service: &str,
    predictor: &PredictorSpec,
    of_service: &BTreeMap<String, String>,
    at: &str,
    report: &mut Report,
) -> Option<RevisionPlan> {
    if let Some(name) = &predictor.name {
        check_name(&format!("{at}.name"), name, report);
    }
    let component = &predictor.component;
    let batcher = component.batcher.as_ref();
    let notes = Notes { annotations: &component.annotations, service: of_service, at };
    let drawn = executor::draw(predictor, notes, report)?;
    let mut replicas = count(component.min_replicas).unwrap_or(NonZeroUsize::MIN);
    if let Executor::Upstream(upstream) = &drawn.executor {
        let each = NonZeroUsize::new(upstream.urls.len())?;
        if replicas > NonZeroUsize::MIN && replicas != each {
            let message = format!("is {replicas}, and has no effect: each URL of {UPSTREAM} is one replica");
            report.warn(&format!("{at}.minReplicas"), message);
        }
        replicas = each;
    }
    Some(RevisionPlan {
        name: revision::name(service, predictor),
        variant: predictor.name.clone(),
        replicas,
        executor: drawn.executor,
        batcher: BatcherPlan {
            max_batch_size: batcher.and_then(|batcher| count(batcher.max_batch_size)),
            max_latency: batcher.and_then(|batcher| count(batcher.max_latency)).map(millis),
        },
        container_concurrency: count(component.container_concurrency),
        cpu_limit: drawn.cpu_limit,
        memory: drawn.memory,
        predictor: predictor.clone(),
    })
}

fn seconds(found: Option<i64>) -> Option<Duration> {
    found.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs)
}

fn millis(count: NonZeroUsize) -> Duration {
    Duration::from_millis(count.get() as u64)
}

pub(crate) fn model_plan(
    model: &ModelServerSpec,
    predictor: &PredictorSpec,
    at: &str,
    report: &mut Report,
) -> Option<ModelPlan> {
    if model.confidential.as_ref().is_some_and(|confidential| confidential.enabled) {
        let message = "is true: models can't be decrypted yet, remove it and store the model in clear";
        report.unsupported(&format!("{at}.confidential.enabled"), message);
    }
    let format = model_format(&model.model_format, at, report);
    let args = model.container.get("args").filter(|args| args.as_array().is_none_or(|args| !args.is_empty()));
    let path = format!("{at}.args");
    let arguments = match format {
        Some(ModelFormat::Language) => ModelArguments::read(args, &path, report),
        Some(ModelFormat::Onnx) if args.is_some() => {
            report.unsupported(&path, "is not supported with the format onnx: remove it, nothing reads it");
            ModelArguments::default()
        }
        _ => ModelArguments::default(),
    };
    let path = format!("{at}.storageUri");
    let elsewhere = !predictor.storage_uris.is_empty() || model.storage.is_some();
    let location = match model.storage_uri.as_deref().map(location) {
        Some(Ok(location)) => Some(location),
        Some(Err(Misplaced::Wrong(message))) => {
            report.error(&path, message);
            None
        }
        Some(Err(Misplaced::Unsupported(message))) => {
            report.unsupported(&path, message);
            None
        }
        None if elsewhere => None,
        None => {
            report.error(&path, "is missing: write the path or the URL of the model");
            None
        }
    };
    if model.storage_uri.is_some() && !predictor.storage_uris.is_empty() {
        let path = at.replace(".model", ".storageUris");
        report.error(&path, "is not allowed with model.storageUri: remove one of them");
    }
    Some(ModelPlan { format: format?, location: location?, arguments })
}

fn model_format(format: &ModelFormatSpec, at: &str, report: &mut Report) -> Option<ModelFormat> {
    let path = format!("{at}.modelFormat.name");
    match format.name.as_str() {
        "onnx" => return Some(ModelFormat::Onnx),
        "gguf" | "huggingface" => return Some(ModelFormat::Language),
        "" => report.error(&path, "is missing: write onnx, gguf or huggingface"),
        other => {
            let message = format!("{} is not supported yet: supported are onnx, gguf and huggingface", quoted(other));
            report.unsupported(&path, message);
        }
    }
    None
}

/// CPUs and bytes of memory, as in [`RevisionPlan`].
pub(crate) fn model_resources(
    resources: &Resources,
    at: &str,
    report: &mut Report,
) -> (Option<NonZeroUsize>, Option<u64>) {
    check_resources(resources, at, report);
    (cpu_limit(resources, at, report), memory(resources, at, report))
}

pub(crate) fn check_resources(resources: &Resources, at: &str, report: &mut Report) {
    for (name, request) in &resources.requests {
        if let Some(limit) = resources.limits.get(name).filter(|limit| request > *limit) {
            let path = crate::problem::join(&format!("{at}.resources.requests"), name);
            let message = format!("is '{request}': allowed is at most the limit, which is '{limit}'");
            report.error(&path, message);
        }
    }
}

fn cpu_limit(resources: &Resources, at: &str, report: &mut Report) -> Option<NonZeroUsize> {
    let cpu = resources.limits.get("cpu")?;
    let limit = usize::try_from(cpu.whole()).ok().and_then(NonZeroUsize::new);
    if limit.is_none() {
        let message = format!("is {}: allowed is a quantity of CPUs above 0, such as 2 or 500m", quoted(cpu.as_str()));
        report.error(&format!("{at}.resources.limits.cpu"), message);
    }
    limit
}

/// Bytes, as the request says, or else the limit. 0 says nothing.
pub(crate) fn memory(resources: &Resources, at: &str, report: &mut Report) -> Option<u64> {
    let (name, memory) = [("requests", &resources.requests), ("limits", &resources.limits)]
        .into_iter()
        .find_map(|(name, list)| Some((name, list.get("memory").filter(|memory| !memory.is_zero())?)))?;
    let bytes = u64::try_from(memory.whole()).ok();
    if bytes.is_none() {
        let message = format!("is {}: allowed are less than 16Ei", quoted(memory.as_str()));
        report.error(&format!("{at}.resources.{name}.memory"), message);
    }
    bytes
}
