//! `spec.canary[]`: what it may say, what its predictors are in full, and how many replicas each gets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Map, Value};

use crate::annotations::{ISOLATION, UPSTREAM, is_of_a_revision};
use crate::inference_service::{CanarySpec, InferenceServiceSpec, PredictorSpec};
use crate::problem::{Report, quoted};
use crate::revision;
use crate::values::check_percent;

/// The rules of KServe's `canary`, except those that tie it to one deployment mode.
pub(crate) fn check(spec: &InferenceServiceSpec, report: &mut Report) {
    let InferenceServiceSpec { predictor: stable, canary: canaries, .. } = spec;
    if canaries.is_empty() {
        return;
    }
    if stable.component.canary_traffic_percent.is_some() {
        let message = "is not allowed with spec.canary: remove one of them";
        report.error("spec.predictor.canaryTrafficPercent", message);
    }
    let mut names: HashMap<&str, String> = HashMap::new();
    names.extend(stable.name.as_deref().map(|name| (name, "spec.predictor".to_owned())));
    for (index, canary) in canaries.iter().enumerate() {
        let at = format!("spec.canary[{index}]");
        check_percent(&format!("{at}.trafficPercent"), Some(canary.traffic_percent), report);
        let path = format!("{at}.predictor.name");
        match canary.predictor.name.as_deref() {
            None | Some("") => report.error(&path, "is missing: write a name that tells it from the others"),
            Some(name) => {
                if let Some(other) = names.insert(name, format!("{at}.predictor")) {
                    report.error(&path, format!("is {}, as that of {other}: give each its own", quoted(name)));
                }
            }
        }
        let most = stable.component.min_replicas.unwrap_or(1);
        if let Some(min) = canary.predictor.component.min_replicas.filter(|min| *min > most) {
            let message = format!("is {min}: allowed is at most that of spec.predictor, which is {most}");
            report.error(&format!("{at}.predictor.minReplicas"), message);
        }
    }
    let sum: i64 = canaries.iter().map(|canary| canary.traffic_percent.clamp(0, 100)).sum();
    if sum > 100 {
        report.error("spec.canary", format!("takes {sum} % of the calls: allowed are 100, lower some trafficPercent"));
    }
}

/// Equal revisions run once, so a canary that equals another predictor would get no calls of its own.
pub(crate) fn check_revisions(service: &str, stable: &PredictorSpec, canaries: &[PredictorSpec], report: &mut Report) {
    let mut known = HashMap::from([(revision::name(service, stable), "spec.predictor".to_owned())]);
    for (index, canary) in canaries.iter().enumerate() {
        let at = format!("spec.canary[{index}].predictor");
        match known.entry(revision::name(service, canary)) {
            Entry::Occupied(other) => {
                let message = format!("is the same revision as {}: change what it serves, or remove it", other.get());
                report.error(&at, message);
            }
            Entry::Vacant(entry) => drop(entry.insert(at)),
        }
    }
}

/// The predictors in full, with the replicas they get: that of `spec.predictor`, and those of its canaries.
pub(crate) fn predictors(spec: &InferenceServiceSpec) -> (PredictorSpec, Vec<PredictorSpec>) {
    let mut stable = spec.predictor.clone();
    stable.component.canary_traffic_percent = None;
    if spec.canary.is_empty() {
        return (stable, Vec::new());
    }
    let wanted = stable.component.min_replicas.unwrap_or(1);
    let mut left = wanted;
    let canaries = spec.canary.iter().map(|canary| {
        let mut predictor = effective(&stable, canary);
        let replicas = canary.predictor.component.min_replicas.unwrap_or_else(|| share(wanted, canary.traffic_percent));
        predictor.component.min_replicas = Some(replicas.max(1));
        left = left.saturating_sub(replicas.max(1));
        predictor
    });
    let canaries = canaries.collect();
    stable.component.min_replicas = Some(left.max(1));
    (stable, canaries)
}

/// A share of the replicas, rounded up. Both are within what a manifest may say.
fn share(replicas: i64, percent: i64) -> i64 {
    let hundredths = replicas.saturating_mul(percent);
    hundredths / 100 + i64::from(hundredths % 100 > 0)
}

/// The canary's predictor laid over that of the service: whatever is not zero replaces. One that says itself who answers has
/// nothing of that from the service.
pub(crate) fn effective(stable: &PredictorSpec, canary: &CanarySpec) -> PredictorSpec {
    let mut stable = stable.clone();
    let (model, containers, upstream) = implementations(&canary.predictor);
    if model || containers || upstream {
        stable.model = stable.model.take_if(|_| model);
        stable.pod.retain(|name, _| name != "containers" || containers);
        stable.component.annotations.retain(|name, _| match name.as_str() {
            ISOLATION => model,
            name => upstream || !is_of_a_revision(name),
        });
    }
    let as_fields = |predictor: &PredictorSpec| match serde_json::to_value(predictor) {
        Ok(Value::Object(fields)) => fields,
        _ => unreachable!("a predictor is a mapping with text for keys"),
    };
    let mut merged = as_fields(&stable);
    lay_over(&mut merged, as_fields(&canary.predictor));
    serde_json::from_value(Value::Object(merged)).expect("both were predictors, field by field")
}

/// Whether a predictor names a model, containers, and upstreams.
fn implementations(predictor: &PredictorSpec) -> (bool, bool, bool) {
    let containers = predictor.pod.get("containers").is_some_and(|list| !is_zero(list));
    let upstream = predictor.component.annotations.get(UPSTREAM).is_some_and(|urls| !urls.is_empty());
    (predictor.model.is_some(), containers, upstream)
}

/// The canary with all written down that its revision has from `spec.predictor`.
pub(crate) fn in_full(stable: &PredictorSpec, canary: &CanarySpec) -> CanarySpec {
    let predictor = effective(stable, canary).under(&canary.predictor.component);
    CanarySpec { predictor, ..*canary }
}

fn lay_over(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match (target.get_mut(&name), value) {
            (Some(Value::Object(target)), Value::Object(patch)) => lay_over(target, patch),
            (_, value) if is_zero(&value) => {}
            (_, value) => drop(target.insert(name, value)),
        }
    }
}

/// What Go takes for "not set".
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_rounded_up() {
        for (replicas, percent, expected) in [(4, 25, 1), (4, 26, 2), (4, 0, 0), (1, 1, 1), (10, 100, 10), (0, 50, 0)] {
            assert_eq!(share(replicas, percent), expected, "{percent} % of {replicas}");
        }
    }
}
