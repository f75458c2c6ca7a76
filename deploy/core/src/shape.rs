//! Holds a document against the table of fields: are the names known, and do the values have the right type?
//!
//! What passes is rebuilt without what was refused, so that the values that are left can be judged in the same run.

use serde_json::{Map, Value};

use crate::fields::{API_VERSION, Field, KIND, Level, ROOT, Rule};
use crate::problem::{Report, join, shown};
use crate::quantity::Quantity;
use crate::suggest::nearest;

type Fields = Map<String, Value>;

/// The fields of a whole document that can be acted on; all others are in the report.
pub(crate) fn admit_document(found: &Fields, report: &mut Report) -> Fields {
    admit_level(found, &ROOT, "", report)
}

fn admit_level(found: &Fields, level: &Level, at: &str, report: &mut Report) -> Fields {
    let mut admitted = Fields::new();
    for (name, value) in found {
        let path = join(at, name);
        match level.field(name) {
            // As in Kubernetes, null is the same as absent.
            Some(_) if value.is_null() => {}
            Some(Field { rule: Rule::InsteadOf(other), .. }) => {
                report.error(&path, format!("is not supported yet: use {}", join(at, other)));
                if !found.contains_key(*other) {
                    report.settle(&join(at, other));
                }
            }
            Some(field) => {
                if let Some(value) = admit(value, field.rule, &path, report) {
                    admitted.insert(name.clone(), value);
                    if let Some(warning) = field.idle {
                        report.warn(&path, warning);
                    }
                }
            }
            None if level.is_later(name) => {
                if !value.is_null() {
                    report.error(&path, "is not supported yet: remove it");
                }
            }
            None => report.error(&path, unknown(name, level)),
        }
    }
    admitted
}

/// The value, if its type is right.
fn admit(value: &Value, rule: Rule, path: &str, report: &mut Report) -> Option<Value> {
    let allowed = match (rule, value) {
        (Rule::ServerOwned | Rule::InsteadOf(_), _) => return None,
        (Rule::Never(why), _) => {
            report.error(path, why);
            return None;
        }
        (Rule::Object(level), Value::Object(found)) => {
            return Some(Value::Object(admit_level(found, level, path, report)));
        }
        (Rule::Texts, Value::Object(found)) => return Some(Value::Object(admit_texts(found, path, report))),
        (Rule::Text, Value::String(_)) => return Some(value.clone()),
        (Rule::OneOf(choices), Value::String(text)) if choices.contains(&text.as_str()) => return Some(value.clone()),
        (Rule::Whole, Value::Number(number)) if number.as_i64().is_some() => return Some(value.clone()),
        (Rule::Quantity, _) if Quantity::try_from(value.clone()).is_ok() => return Some(value.clone()),

        (Rule::Object(_) | Rule::Texts, _) => "a mapping".to_owned(),
        (Rule::Text, Value::Bool(_) | Value::Number(_)) => "text: put it in quotes".to_owned(),
        (Rule::Text, _) => "text".to_owned(),
        (Rule::OneOf(choices), _) => choices.join(", "),
        (Rule::Whole, Value::String(text)) if text.parse::<i64>().is_ok() => {
            "a whole number: take it out of its quotes".to_owned()
        }
        (Rule::Whole, _) => "a whole number".to_owned(),
        (Rule::Quantity, _) => Quantity::ALLOWED.to_owned(),
    };
    report.error(path, format!("is {}: allowed is {allowed}", shown(value)));
    None
}

fn admit_texts(found: &Fields, at: &str, report: &mut Report) -> Fields {
    let mut admitted = Fields::new();
    for (name, value) in found.iter().filter(|(_, value)| !value.is_null()) {
        if let Some(text) = admit(value, Rule::Text, &join(at, name), report) {
            admitted.insert(name.clone(), text);
        }
    }
    admitted
}

/// What to say of a name that is in no table: it stands in the wrong place, or it is mistyped.
fn unknown(name: &str, level: &Level) -> String {
    let meant = ROOT.find(name, "").or_else(|| nearest(name, level.names()).map(str::to_owned));
    match meant {
        Some(meant) => format!("is not a field of InferenceService: did you mean {meant}"),
        None => "is not a field of InferenceService: remove it".to_owned(),
    }
}

/// Says that a document is something else than an InferenceService, if it is; then its fields are not worth reading.
pub(crate) fn is_foreign(found: &Fields, report: &mut Report) -> bool {
    for (name, allowed) in [("apiVersion", API_VERSION), ("kind", KIND)] {
        match found.get(name) {
            Some(Value::String(text)) if text == allowed => {}
            None | Some(Value::Null) => report.error(name, format!("is missing: write {allowed}")),
            Some(other) => report.error(name, format!("is {}: allowed is {allowed}", shown(other))),
        }
    }
    report.has_errors()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference_service::InferenceService;

    /// Every field that the table takes, with a value that its rule allows.
    fn everything(level: &Level) -> Value {
        let sample = |rule| match rule {
            Rule::Text => Some(Value::from("text")),
            Rule::OneOf(choices) => Some(Value::from(choices[0])),
            Rule::Whole => Some(Value::from(7)),
            Rule::Quantity => Some(Value::from("500m")),
            Rule::Texts => Some(serde_json::json!({ "name": "text" })),
            Rule::Object(level) => Some(everything(level)),
            Rule::ServerOwned | Rule::InsteadOf(_) | Rule::Never(_) => None,
        };
        level.fields.iter().filter_map(|field| Some((field.name.to_owned(), sample(field.rule)?))).collect()
    }

    #[test]
    fn every_row_of_the_table_has_its_field_in_the_types() {
        let document = everything(&ROOT);
        let service: InferenceService = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(serde_json::to_value(service).unwrap(), document);
    }

    #[test]
    fn what_the_table_takes_passes_unchanged() {
        let document = everything(&ROOT);
        let mut report = Report::new("service.yaml", "");
        assert_eq!(Value::Object(admit_document(document.as_object().unwrap(), &mut report)), document);
        assert!(!report.has_errors(), "{report:?}");
    }
}
