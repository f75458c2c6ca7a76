//! What `rollout` changes in an InferenceService.

use crate::canary::effective;
use crate::inference_service::{CanarySpec, InferenceService, PredictorSpec};

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

/// Makes a canary what all calls go to. It takes over the scale of `spec.predictor`, because it takes its calls.
pub fn promote(service: &mut InferenceService, canary: Option<&str>) -> Result<(), String> {
    let spec = &mut service.spec;
    if spec.canary.is_empty() {
        refuse_name(canary)?;
        let set = spec.predictor.component.canary_traffic_percent.take();
        return set
            .map(|_| ())
            .ok_or_else(|| "there is no canary to promote: canaryTrafficPercent is not set".to_owned());
    }
    let canary = spec.canary.remove(find(&spec.canary, canary)?);
    spec.predictor = effective(&spec.predictor, &canary).under(&spec.predictor.component);
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
    // Else the share that is left in there would make a canary of it.
    spec.predictor.component.canary_traffic_percent = None;
    Ok(())
}

/// The canary of this name, or the only one.
fn find(canaries: &[CanarySpec], name: Option<&str>) -> Result<usize, String> {
    let names = || {
        let names = canaries.iter().filter_map(|canary| canary.predictor.name.as_deref());
        names.collect::<Vec<_>>().join(", ")
    };
    match name {
        Some(name) => canaries
            .iter()
            .position(|canary| canary.predictor.name.as_deref() == Some(name))
            .ok_or_else(|| format!("there is no canary {name}: there are {}", names())),
        None if canaries.len() == 1 => Ok(0),
        None => Err(format!("there are several canaries: say which of {}", names())),
    }
}

fn refuse_name(canary: Option<&str>) -> Result<(), String> {
    match canary {
        Some(name) => Err(format!("there is no canary {name}: the service has no spec.canary")),
        None => Ok(()),
    }
}
