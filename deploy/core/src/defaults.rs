//! What KServe fills in, and where relative paths lie.

use std::path::{Path, PathBuf};

use crate::annotations::default_deployment_mode;
use crate::inference_service::{InferenceService, LoggerSpec, PredictorSpec};
use crate::problem::Report;
use crate::storage;

/// Fills in defaults, so that leaving one out is the same as writing it. A canary keeps what it leaves out open, because
/// that comes from `spec.predictor`.
pub(crate) fn fill_in(service: &mut InferenceService, base: &Path, report: &mut Report) {
    let InferenceService { metadata, spec, .. } = service;
    metadata.namespace = Some(metadata.namespace().to_owned());
    default_deployment_mode(metadata);
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

/// Makes a relative path absolute. What else may be wrong with it is judged with all other values.
fn place(predictor: &mut PredictorSpec, at: &str, base: &Path, report: &mut Report) {
    let uri = predictor.model.as_mut().and_then(|model| model.storage_uri.as_mut());
    if let Some(uri) = uri.filter(|uri| storage::is_relative(uri)) {
        let absolute: PathBuf = base.join(&*uri).components().collect();
        match absolute.into_os_string().into_string() {
            Ok(absolute) => *uri = absolute,
            Err(_) => report.error(
                &format!("{at}.model.storageUri"),
                "starts in a folder whose name is not UTF-8: write an absolute path",
            ),
        }
    }
}
