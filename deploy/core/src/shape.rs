//! Holds a document against the table of fields: are the names known, have the values the right type, and what becomes
//! of them?
//!
//! What passes is rebuilt without what was refused, so that the values that are left can be judged in the same run.

use serde_json::{Map, Value};

use crate::fields::{Fate, Field, Level, Rule};
use crate::inference_service::IntOrPercent;
use crate::problem::{Report, join, shown};
use crate::quantity::Quantity;
use crate::suggest::nearest;

pub(crate) type Fields = Map<String, Value>;

/// The fields of a mapping that are known and have the right type; all others are in the report.
pub(crate) fn admit(found: &Fields, level: &Level, root: &Level, at: &str, report: &mut Report) -> Fields {
    Shape { root, report }.level(found, level, at)
}

struct Shape<'a> {
    /// Where misplaced names are looked for.
    root: &'a Level,
    report: &'a mut Report,
}

impl Shape<'_> {
    fn level(&mut self, found: &Fields, level: &Level, at: &str) -> Fields {
        let mut admitted = Fields::new();
        for (name, value) in found {
            let path = join(at, name);
            match level.field(name) {
                // As in Kubernetes, null is the same as absent.
                Some(_) if value.is_null() => {}
                Some(Field { fate: Fate::ServerOwned, .. }) => {}
                Some(field) => {
                    self.meet(&field, value, &path);
                    match self.value(value, field.rule, &path) {
                        Some(value) => drop(admitted.insert(name.clone(), value)),
                        // A framework that can't be read is not also a missing model.
                        None if matches!(field.rule, Rule::Framework(_)) => self.report.settle(&join(at, "model")),
                        None => {}
                    }
                }
                None => self.report.warn(&path, self.unknown(name, level)),
            }
        }
        admitted
    }

    /// Says what becomes of a field, before anything lesser is said of what it holds.
    fn meet(&mut self, field: &Field, value: &Value, path: &str) {
        let empty = match value {
            Value::Array(list) => list.is_empty(),
            Value::Object(fields) => fields.is_empty() && !matches!(field.rule, Rule::Object(_)),
            _ => false,
        };
        match field.fate {
            Fate::Warned(instead) if !empty => self.report.warn(path, instead),
            Fate::Unsupported(advice) if !empty => self.report.unsupported(path, advice),
            _ => {}
        }
    }

    /// The value, if its type is right.
    fn value(&mut self, value: &Value, rule: Rule, path: &str) -> Option<Value> {
        let allowed = match (rule, value) {
            (Rule::Never(why), _) => {
                self.report.error(path, why);
                return None;
            }
            (Rule::Object(level) | Rule::Framework(level), Value::Object(found)) => {
                return Some(Value::Object(self.level(found, level, path)));
            }
            (Rule::Objects(level), Value::Array(found)) => {
                return Some(
                    self.each(found, path, |shape, value, path| shape.value(value, Rule::Object(level), path)),
                );
            }
            (Rule::TextList, Value::Array(found)) => {
                return Some(self.each(found, path, |shape, value, path| shape.value(value, Rule::Text, path)));
            }
            (Rule::Texts, Value::Object(found)) => return Some(Value::Object(self.texts(found, path))),
            (Rule::List, Value::Array(_)) | (Rule::Mapping, Value::Object(_)) => return Some(value.clone()),
            (Rule::Text, Value::String(_)) | (Rule::Bool, Value::Bool(_)) => return Some(value.clone()),
            (Rule::OneOf(choices), Value::String(text)) if choices.contains(&text.as_str()) => {
                return Some(value.clone());
            }
            (Rule::Whole, Value::Number(number)) if number.as_i64().is_some() => return Some(value.clone()),
            (Rule::Quantity, _) if Quantity::try_from(value.clone()).is_ok() => return Some(value.clone()),
            (Rule::IntOrPercent, _) if is_int_or_percent(value) => return Some(value.clone()),
            (Rule::Port, Value::Number(number)) if number.as_i64().is_some() => return Some(value.clone()),
            (Rule::Port, Value::String(_)) => return Some(value.clone()),

            (Rule::Object(_) | Rule::Framework(_) | Rule::Mapping | Rule::Texts, _) => "a mapping".to_owned(),
            (Rule::Objects(_) | Rule::List | Rule::TextList, _) => "a list".to_owned(),
            (Rule::Text, Value::Bool(_) | Value::Number(_)) => "text: put it in quotes".to_owned(),
            (Rule::Text, _) => "text".to_owned(),
            (Rule::OneOf(choices), _) => choices.join(", "),
            (Rule::Whole, Value::String(text)) if text.parse::<i64>().is_ok() => {
                "a whole number: take it out of its quotes".to_owned()
            }
            (Rule::Whole, _) => "a whole number".to_owned(),
            (Rule::Bool, Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
                "true or false: take it out of its quotes".to_owned()
            }
            (Rule::Bool, _) => "true or false".to_owned(),
            (Rule::Quantity, _) => Quantity::ALLOWED.to_owned(),
            (Rule::IntOrPercent, _) => IntOrPercent::ALLOWED.to_owned(),
            (Rule::Port, _) => "the number or the name of a port".to_owned(),
        };
        self.report.error(path, format!("is {}: allowed is {allowed}", shown(value)));
        None
    }

    fn each(
        &mut self,
        found: &[Value],
        at: &str,
        mut admit: impl FnMut(&mut Self, &Value, &str) -> Option<Value>,
    ) -> Value {
        let values = found.iter().enumerate();
        values.filter_map(|(index, value)| admit(self, value, &format!("{at}[{index}]"))).collect()
    }

    fn texts(&mut self, found: &Fields, at: &str) -> Fields {
        let mut admitted = Fields::new();
        for (name, value) in found.iter().filter(|(_, value)| !value.is_null()) {
            if let Some(text) = self.value(value, Rule::Text, &join(at, name)) {
                admitted.insert(name.clone(), text);
            }
        }
        admitted
    }

    /// What to say of a name that is in no table: it stands in the wrong place, or it is mistyped.
    fn unknown(&self, name: &str, level: &Level) -> String {
        let meant = self.root.find(name, "").or_else(|| nearest(name, level.names()).map(str::to_owned));
        match meant {
            Some(meant) => format!("is not a field of InferenceService and is ignored: did you mean {meant}"),
            None => "is not a field of InferenceService and is ignored: remove it".to_owned(),
        }
    }
}

fn is_int_or_percent(value: &Value) -> bool {
    serde_json::from_value::<IntOrPercent>(value.clone()).is_ok_and(|value| value.is_allowed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::ROOT;
    use crate::inference_service::InferenceService;

    /// Every field that the table takes, with a value that its rule allows.
    fn everything(level: &Level) -> Value {
        fn sample(rule: Rule) -> Option<Value> {
            Some(match rule {
                Rule::Text => Value::from("text"),
                Rule::OneOf(choices) => Value::from(choices[0]),
                Rule::Whole => Value::from(7),
                Rule::Bool => Value::from(true),
                Rule::Quantity => Value::from("500m"),
                Rule::IntOrPercent => Value::from("25%"),
                Rule::Port => Value::from("http"),
                Rule::Texts | Rule::Mapping => serde_json::json!({ "name": "text" }),
                Rule::TextList | Rule::List => serde_json::json!(["text"]),
                Rule::Object(level) | Rule::Framework(level) => everything(level),
                Rule::Objects(level) => serde_json::json!([everything(level)]),
                Rule::Never(_) => return None,
            })
        }
        let mut fields = Fields::new();
        for field in level.fields().filter(|field| !matches!(field.fate, Fate::ServerOwned)) {
            // The first row of a name counts.
            let value = level.field(field.name).and_then(|field| sample(field.rule));
            fields.extend(value.map(|value| (field.name.to_owned(), value)));
        }
        Value::Object(fields)
    }

    #[test]
    fn the_types_keep_every_field_of_the_table() {
        let document = everything(&ROOT);
        let service: InferenceService = serde_json::from_value(document.clone()).unwrap();
        let kept = serde_json::to_value(service).unwrap();
        assert_eq!(kept, document);
    }

    #[test]
    fn what_the_table_takes_passes_unchanged() {
        let document = everything(&ROOT);
        let mut report = Report::new("service.yaml", "");
        assert_eq!(Value::Object(admit(document.as_object().unwrap(), &ROOT, &ROOT, "", &mut report)), document);
        assert!(!report.has_errors(), "{report:?}");
    }
}
