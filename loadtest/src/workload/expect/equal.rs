//! When two JSON values are the same to a load test.

use serde_json::Value;

/// By how much numbers may differ: by this share of the wanted one, and by this much near zero. They are the limits of
/// numpy's `allclose`. Answers of one model differ by less, with the batch that a request came into.
const RELATIVE: f64 = 1e-5;
const ABSOLUTE: f64 = 1e-8;

/// The first place where two values differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A JSON pointer.
    pub place: String,
    pub wanted: String,
    pub got: String,
}

/// Whether two values are the same, numbers nearly so.
pub fn equal(wanted: &Value, got: &Value) -> bool {
    first_difference(wanted, got).is_none()
}

pub fn first_difference(wanted: &Value, got: &Value) -> Option<Place> {
    let mut path = Vec::new();
    let (wanted, got) = difference(wanted, got, &mut path)?;
    let escaped = path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1")));
    Some(Place { place: escaped.collect(), wanted, got })
}

/// What is wanted and what is there instead, at the place that `path` then leads to.
fn difference(wanted: &Value, got: &Value, path: &mut Vec<String>) -> Option<(String, String)> {
    match (wanted, got) {
        (Value::Array(wanted), Value::Array(got)) if wanted.len() == got.len() => {
            wanted.iter().zip(got).enumerate().find_map(|(index, (wanted, got))| {
                if same_leaf(wanted, got) {
                    return None;
                }
                step(index.to_string(), wanted, got, path)
            })
        }
        (Value::Array(wanted), Value::Array(got)) => {
            Some((format!("{} elements", wanted.len()), format!("{} elements", got.len())))
        }
        (Value::Object(wanted), Value::Object(got)) => {
            let missing = wanted.iter().find_map(|(key, wanted)| match got.get(key) {
                Some(got) => step(key.clone(), wanted, got, path),
                None => Some((format!("'{key}'"), "nothing".to_owned())),
            });
            missing.or_else(|| {
                let other = got.keys().find(|key| !wanted.contains_key(*key))?;
                Some(("nothing".to_owned(), format!("'{other}'")))
            })
        }
        _ => (!same_leaf(wanted, got)).then(|| (wanted.to_string(), got.to_string())),
    }
}

fn step(name: String, wanted: &Value, got: &Value, path: &mut Vec<String>) -> Option<(String, String)> {
    path.push(name);
    let found = difference(wanted, got, path);
    if found.is_none() {
        path.pop();
    }
    found
}

fn same_leaf(wanted: &Value, got: &Value) -> bool {
    match (wanted, got) {
        (Value::Number(wanted), Value::Number(got)) if wanted == got => true,
        // Two integers are the same or not: an index that is off by one is another index.
        (Value::Number(wanted), Value::Number(got)) if !wanted.is_f64() && !got.is_f64() => false,
        (Value::Number(wanted), Value::Number(got)) => match (wanted.as_f64(), got.as_f64()) {
            (Some(wanted), Some(got)) => (wanted - got).abs() <= ABSOLUTE + RELATIVE * wanted.abs(),
            _ => false,
        },
        (Value::Array(_) | Value::Object(_), _) => false,
        _ => wanted == got,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_the_same_when_near_and_integers_when_equal() {
        for (wanted, got, same) in [
            (json!(1.0), json!(1.000_009), true),
            (json!(1.0), json!(1.000_02), false),
            (json!(7), json!(7.0), true),
            (json!(1_000_000), json!(1_000_001), false),
            (json!(0.0), json!(1e-9), true),
            (json!(0.0), json!(1e-6), false),
            (json!(-3.5), json!(3.5), false),
            (json!("7"), json!(7), false),
            (json!(null), json!(null), true),
        ] {
            assert_eq!(equal(&wanted, &got), same, "{wanted} and {got}");
        }
    }

    #[test]
    fn the_first_difference_is_told_by_its_pointer() {
        let at = |wanted: Value, got: Value| {
            first_difference(&wanted, &got).map(|Place { place, wanted, got }| (place, wanted, got))
        };
        let told = |place: &str, wanted: &str, got: &str| Some((place.to_owned(), wanted.to_owned(), got.to_owned()));
        let wanted = json!({ "a": [1, { "b/c": "x" }] });
        assert_eq!(at(wanted.clone(), wanted.clone()), None);
        assert_eq!(at(wanted.clone(), json!({ "a": [1, { "b/c": "y" }] })), told("/a/1/b~1c", "\"x\"", "\"y\""));
        assert_eq!(at(wanted.clone(), json!({ "a": [1] })), told("/a", "2 elements", "1 elements"));
        assert_eq!(at(wanted.clone(), json!({})), told("", "'a'", "nothing"));
        assert_eq!(at(json!({}), json!({ "z": 1 })), told("", "nothing", "'z'"));
        assert_eq!(at(json!([1]), json!({ "a": 1 })), told("", "[1]", "{\"a\":1}"));
    }
}
