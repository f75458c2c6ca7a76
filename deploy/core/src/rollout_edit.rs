//! What `rollout` changes in an InferenceService.

use crate::annotations::OF_A_REVISION;
use crate::canary::{effective, in_full};
use crate::inference_service::{CanarySpec, InferenceService, PredictorSpec};
use crate::revision;

/// Sends this share of the calls to the newest revision, or to a canary of `spec.canary`.
pub fn set(service: &mut InferenceService, percent: u8, canary: Option<&str>) -> Result<(), String> {
    if percent > 100 {
        return Err(format!("{percent} % can't be set: allowed are 0 to 100"));
    }
    let spec = &mut service.spec;
    if spec.canary.is_empty() {
        refuse_name(canary)?;
        spec.predictor.component.canary_traffic_percent = Some(percent.into());
        return Ok(());
    }
    let index = find(&spec.canary, canary)?;
    let others = spec.canary.iter().enumerate().filter(|(other, _)| *other != index);
    let others: i64 = others.map(|(_, canary)| canary.traffic_percent).sum();
    if i64::from(percent) + others > 100 {
        return Err(format!("{percent} % can't be set: other canaries take {others} %, together 100 are allowed"));
    }
    spec.canary[index].traffic_percent = percent.into();
    Ok(())
}

/// Makes a canary what `spec.predictor` is. It takes over the scale of that, because it takes its calls; other canaries
/// stay the revisions that they are.
pub fn promote(service: &mut InferenceService, canary: Option<&str>) -> Result<(), String> {
    let spec = &mut service.spec;
    if spec.canary.is_empty() {
        refuse_name(canary)?;
        let set = spec.predictor.component.canary_traffic_percent.take();
        return set
            .map(|_| ())
            .ok_or_else(|| "there is no canary to promote: canaryTrafficPercent is not set".to_owned());
    }
    let index = find(&spec.canary, canary)?;
    let promoted = effective(&spec.predictor, &spec.canary[index]).under(&spec.predictor.component);
    // What they leave open they would have from the promoted one, and be other revisions.
    let mut staying: Vec<_> = spec.canary.iter().map(|canary| in_full(&spec.predictor, canary)).collect();
    let gone = staying.remove(index);
    for canary in &staying {
        if let Some(path) = revision::difference(&canary.predictor, &effective(&promoted, canary)) {
            let (gone, canary) = (name(&gone), name(canary));
            return Err(format!(
                "canary {gone} can't be promoted: canary {canary} would take over its {path}, give {canary} one of its \
                 own or remove it"
            ));
        }
    }
    spec.predictor = promoted;
    spec.canary = staying;
    Ok(())
}

/// Takes all calls from canaries; where none runs, goes back to `previous`, the predictor that was rolled out before.
pub fn rollback(
    service: &mut InferenceService,
    previous: Option<&PredictorSpec>,
    canary_runs: bool,
) -> Result<(), String> {
    let spec = &mut service.spec;
    if !spec.canary.is_empty() {
        spec.canary.clear();
        return Ok(());
    }
    if canary_runs {
        spec.predictor.component.canary_traffic_percent = Some(0);
        return Ok(());
    }
    let previous = previous.ok_or("there is nothing to roll back to: only one revision has been rolled out so far")?;
    spec.predictor = previous.clone().under(&spec.predictor.component);
    // What the service's annotations say of who answers must not come back by them.
    for name in OF_A_REVISION.into_iter().filter(|name| service.metadata.annotations.contains_key(*name)) {
        spec.predictor.component.annotations.entry(name.to_owned()).or_default();
    }
    // Else the share that is left in there would make a canary of it.
    spec.predictor.component.canary_traffic_percent = None;
    Ok(())
}

/// The canary of this name, or the only one.
fn find(canaries: &[CanarySpec], wanted: Option<&str>) -> Result<usize, String> {
    let names = || {
        let names = canaries.iter().map(name);
        names.collect::<Vec<_>>().join(", ")
    };
    match wanted {
        Some(wanted) => canaries
            .iter()
            .position(|canary| name(canary) == wanted)
            .ok_or_else(|| format!("there is no canary {wanted}: there are {}", names())),
        None if canaries.len() == 1 => Ok(0),
        None => Err(format!("there are several canaries: say which of {}", names())),
    }
}

/// Every canary has one, or it is refused.
fn name(canary: &CanarySpec) -> &str {
    canary.predictor.name.as_deref().unwrap_or_default()
}

fn refuse_name(canary: Option<&str>) -> Result<(), String> {
    match canary {
        Some(name) => Err(format!("there is no canary {name}: the service has no spec.canary")),
        None => Ok(()),
    }
}
