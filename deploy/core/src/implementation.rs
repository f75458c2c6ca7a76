//! What runs in a component: exactly one of several fields says it, and older ones say it in other words.

use serde_json::{Value, json};

use crate::container::SERVING_CONTAINER;
use crate::problem::{Report, join};
use crate::shape::Fields;

/// KServe's older way: the framework is the field's name.
const FRAMEWORKS: [&str; 10] =
    ["sklearn", "xgboost", "tensorflow", "pytorch", "triton", "onnx", "huggingface", "pmml", "lightgbm", "paddle"];

/// Checks the implementation of every component, and leaves `model` as the only name for a model.
pub(crate) fn settle(spec: &mut Fields, report: &mut Report) {
    if let Some(Value::Object(predictor)) = spec.get_mut("predictor") {
        settle_predictor(predictor, "spec.predictor", report);
    }
    if let Some(Value::Array(canaries)) = spec.get_mut("canary") {
        for (index, canary) in canaries.iter_mut().enumerate() {
            if let Some(Value::Object(predictor)) = canary.get_mut("predictor") {
                settle_predictor(predictor, &format!("spec.canary[{index}].predictor"), report);
            }
        }
    }
    for (name, own) in [("transformer", None), ("explainer", Some("art"))] {
        let Some(Value::Object(component)) = spec.get(name) else { continue };
        let own = own.filter(|own| component.contains_key(*own));
        let found: Vec<_> = own.into_iter().chain(containers(component, own.is_some())).collect();
        let path = join("spec", name);
        match found.as_slice() {
            [] => report.error(&join(&path, "containers"), "is missing: write one container, or remove the component"),
            [_] => {}
            several => report.error(&path, more_than_one(several)),
        }
    }
}

/// A predictor without any implementation is judged later: a canary takes it from `spec.predictor`.
pub(crate) fn settle_predictor(predictor: &mut Fields, at: &str, report: &mut Report) {
    let models = ["model"].into_iter().chain(FRAMEWORKS).filter(|name| predictor.contains_key(*name));
    let models: Vec<_> = models.collect();
    let found: Vec<_> = models.iter().copied().chain(containers(predictor, !models.is_empty())).collect();
    if found.len() > 1 {
        report.error(at, more_than_one(&found));
    }
    for framework in FRAMEWORKS {
        if let Some(Value::Object(mut model)) = predictor.remove(framework) {
            if matches!(framework, "triton" | "onnx" | "huggingface") {
                model.entry("protocolVersion").or_insert_with(|| Value::from("v2"));
            }
            model.insert("modelFormat".to_owned(), json!({ "name": framework }));
            predictor.entry("model").or_insert(Value::Object(model));
        }
    }
}

/// Containers are an implementation if one of them serves. Beside another implementation it has to say so by its name.
fn containers(component: &Fields, beside: bool) -> Option<&'static str> {
    let list = component.get("containers").and_then(Value::as_array).filter(|list| !list.is_empty())?;
    let serves = |container: &Value| container.get("name").and_then(Value::as_str) == Some(SERVING_CONTAINER);
    (!beside || list.iter().any(serves)).then_some("containers")
}

fn more_than_one(found: &[&str]) -> String {
    format!("holds {}: exactly one of these is allowed, remove the others", found.join(", "))
}
