//! What a document is: an InferenceService, a list of such, or somebody else's business.

use serde_json::Value;

use crate::fields::{API_VERSION, KIND, LIST_KIND};
use crate::problem::{Report, quoted, shown};
use crate::shape::Fields;

pub(crate) enum Document<'a> {
    InferenceService(&'a Fields),
    /// The report says what about it.
    Other,
}

/// The items of a list of objects, as `kubectl get -o yaml` prints it.
pub(crate) fn list_items(document: &Value) -> Option<&[Value]> {
    if !is_list(document) {
        return None;
    }
    match document.get("items") {
        Some(Value::Array(items)) => Some(items),
        None | Some(Value::Null) => Some(&[]),
        Some(_) => None,
    }
}

fn is_list(document: &Value) -> bool {
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    matches!((text("apiVersion"), text("kind")), (Some("v1"), Some("List")) | (Some(API_VERSION), Some(LIST_KIND)))
}

/// Objects of other kinds are fine in a manifest, and are ignored. What looks like a mistake is an error.
pub(crate) fn kind<'a>(document: &'a Value, report: &mut Report) -> Document<'a> {
    let Value::Object(found) = document else {
        report.error("", format!("is {}: write an InferenceService", shown(document)));
        return Document::Other;
    };
    let text = |name: &str| found.get(name).and_then(Value::as_str);
    match (text("apiVersion"), text("kind")) {
        (Some(API_VERSION), Some(KIND)) => return Document::InferenceService(found),
        _ if is_list(document) => match list_items(document) {
            Some(_) => report.warn("", "is ignored: it is a list within a list, write its items beside the others"),
            None => report.error("items", format!("is {}: allowed is a list", shown(&found["items"]))),
        },
        (Some(version), Some(kind)) if version != API_VERSION && kind != KIND => {
            report.warn("", format!("is ignored: a {} of {} is no InferenceService", quoted(kind), quoted(version)));
        }
        _ => {
            for (name, allowed) in [("apiVersion", API_VERSION), ("kind", KIND)] {
                match found.get(name) {
                    Some(Value::String(text)) if text == allowed => {}
                    None | Some(Value::Null) => report.error(name, format!("is missing: write {allowed}")),
                    Some(other) => report.error(name, format!("is {}: allowed is {allowed}", shown(other))),
                }
            }
        }
    }
    Document::Other
}
