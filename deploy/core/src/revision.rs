//! A revision's name says what it answers with: equal predictors have equal names, and run once.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::annotations::ISOLATION;
use crate::inference_service::{BatcherSpec, ComponentExtensionSpec, PredictorSpec};
use crate::problem::join;
use crate::storage;

/// Hexadecimal digits of the hash: enough for every revision that one service ever has.
const DIGITS: usize = 10;

/// `{service}-predictor-{hash}` of what the predictor answers with. Traffic, scale, timeout, logging, labels, annotations that
/// don't say who answers, and its own name are left out; spelling does not matter.
pub(crate) fn name(service: &str, predictor: &PredictorSpec) -> String {
    let mut canonical = String::new();
    write(&fields(predictor), &mut canonical);
    let hash = Sha256::digest(canonical.as_bytes());
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{service}-predictor-{}", &hash[..DIGITS])
}

/// The path of a value that makes `after`, which holds all that `before` does, another revision than that.
pub(crate) fn difference(before: &PredictorSpec, after: &PredictorSpec) -> Option<String> {
    fn find(before: &Value, after: &Value, at: &str) -> Option<String> {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => after
                .iter()
                .find_map(|(name, after)| find(before.get(name).unwrap_or(&Value::Null), after, &join(at, name))),
            (before, after) => (before != after).then(|| at.to_owned()),
        }
    }
    find(&fields(before), &fields(after), "")
}

/// What counts, each value in the one spelling that it has here.
fn fields(predictor: &PredictorSpec) -> Value {
    let mut predictor = predictor.clone().under(&ComponentExtensionSpec::default());
    predictor.name = None;
    let set = |value: Option<i64>| value.filter(|value| *value > 0);
    let component = &mut predictor.component;
    component.container_concurrency = set(component.container_concurrency);
    component.batcher = component.batcher.take().and_then(|batcher| {
        let (max_batch_size, max_latency) = (set(batcher.max_batch_size), set(batcher.max_latency));
        let batcher = BatcherSpec { max_batch_size, max_latency, timeout: None };
        (batcher != BatcherSpec::default()).then_some(batcher)
    });
    component.annotations.retain(|name, value| !is_default(name, value));
    if let Some(model) = &mut predictor.model {
        model.protocol_version.get_or_insert_default();
        if let Some(uri) = &mut model.storage_uri
            && let Ok(location) = storage::location(uri)
        {
            *uri = location.spelling();
        }
        let resources = &mut model.resources;
        for quantity in resources.limits.values_mut().chain(resources.requests.values_mut()) {
            *quantity = quantity.canonical();
        }
        model.container.retain(|_, value| !is_empty(value));
    }
    predictor.pod.retain(|_, value| !is_empty(value));
    serde_json::to_value(&predictor).expect("a predictor is a mapping with text for keys")
}

/// Whether an annotation asks for what would be without it.
fn is_default(name: &str, value: &str) -> bool {
    value.trim().is_empty() || (name == ISOLATION && value.trim() == "thread")
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        value => value.is_null(),
    }
}

/// As JSON with the keys in order and without nulls.
fn write(value: &Value, to: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            fields.sort_by_key(|(name, _)| *name);
            to.push('{');
            for (name, value) in fields {
                to.push_str(&Value::from(name.as_str()).to_string());
                to.push(':');
                write(value, to);
                to.push(',');
            }
            to.push('}');
        }
        Value::Array(list) => {
            to.push('[');
            for value in list {
                write(value, to);
                to.push(',');
            }
            to.push(']');
        }
        value => to.push_str(&value.to_string()),
    }
}
