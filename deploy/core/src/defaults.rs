//! What KServe fills in, and where relative paths lie.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::annotations::{PATHS, default_deployment_mode};
use crate::inference_service::{InferenceService, LoggerSpec, PredictorSpec};
use crate::problem::{Report, join};
use crate::storage;

/// Fills in defaults, so that leaving one out is the same as writing it. A canary keeps what it leaves out open, because
/// that comes from `spec.predictor`.
pub(crate) fn fill_in(service: &mut InferenceService, base: &Path, report: &mut Report) {
    let InferenceService { metadata, spec, .. } = service;
    metadata.namespace = Some(metadata.namespace().to_owned());
    default_deployment_mode(metadata);
    place_annotations(&mut metadata.annotations, "metadata.annotations", base, report);
    place(&mut spec.predictor, "spec.predictor", base, report);
    for (index, canary) in spec.canary.iter_mut().enumerate() {
        place(&mut canary.predictor, &format!("spec.canary[{index}].predictor"), base, report);
    }
    fill_in_predictor(&mut spec.predictor);
}

fn fill_in_predictor(predictor: &mut PredictorSpec) {
    let component = &mut predictor.component;
    component.min_replicas.get_or_insert(1);
    if let Some(LoggerSpec { mode, .. }) = &mut component.logger {
        mode.get_or_insert_with(|| "all".to_owned());
    }
    if let Some(model) = &mut predictor.model {
        model.protocol_version.get_or_insert_default();
    }
}

/// Makes relative paths absolute. What else may be wrong with them is judged with all other values.
fn place(predictor: &mut PredictorSpec, at: &str, base: &Path, report: &mut Report) {
    let uri = predictor.model.as_mut().and_then(|model| model.storage_uri.as_mut());
    if let Some(uri) = uri.filter(|uri| storage::is_relative(uri)) {
        make_absolute(uri, &format!("{at}.model.storageUri"), base, report);
    }
    place_annotations(&mut predictor.component.annotations, &format!("{at}.annotations"), base, report);
    let containers = predictor.pod.get_mut("containers").and_then(Value::as_array_mut);
    for (index, container) in containers.into_iter().flatten().enumerate() {
        if let Some(Value::String(folder)) = container.get_mut("workingDir")
            && !folder.is_empty()
            && !folder.starts_with('/')
        {
            make_absolute(folder, &format!("{at}.containers[{index}].workingDir"), base, report);
        }
    }
}

fn place_annotations(annotations: &mut BTreeMap<String, String>, at: &str, base: &Path, report: &mut Report) {
    for name in PATHS {
        if let Some(path) = annotations.get_mut(name).filter(|path| !path.is_empty() && !path.starts_with('/')) {
            make_absolute(path, &join(at, name), base, report);
        }
    }
}

fn make_absolute(path: &mut String, at: &str, base: &Path, report: &mut Report) {
    let absolute: PathBuf = base.join(&*path).components().collect();
    match absolute.into_os_string().into_string() {
        Ok(absolute) => *path = absolute,
        Err(_) => report.error(at, "starts in a folder whose name is not UTF-8: write an absolute path"),
    }
}
