//! The metadata, asked for by key and kind.

use std::collections::HashMap;

use super::value::Value;

/// What a file says of its model. A key that is missing is no error here; one whose value is of another kind is.
#[derive(Clone, Debug, Default)]
pub struct Metadata {
    entries: HashMap<String, Value>,
}

impl Metadata {
    pub fn new(entries: HashMap<String, Value>) -> Metadata {
        Metadata { entries }
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// The keys, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub fn u64(&self, key: &str) -> Result<Option<u64>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(&Value::Unsigned(number)) => Ok(Some(number)),
            Some(&Value::Signed(number)) => match u64::try_from(number) {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(format!("{key} is {number}, and can't be negative")),
            },
            Some(other) => Err(kind(key, other, "a whole number")),
        }
    }

    /// An id of a token.
    pub fn u32(&self, key: &str) -> Result<Option<u32>, String> {
        let Some(number) = self.u64(key)? else { return Ok(None) };
        u32::try_from(number).map(Some).map_err(|_| format!("{key} is {number}, the limit is {}", u32::MAX))
    }

    /// A number that is finite.
    pub fn f64(&self, key: &str) -> Result<Option<f64>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(&Value::Float(number)) if number.is_finite() => Ok(Some(number)),
            Some(Value::Float(number)) => Err(format!("{key} is {number}, and has to be finite")),
            Some(&Value::Unsigned(number)) => Ok(Some(number as f64)),
            Some(&Value::Signed(number)) => Ok(Some(number as f64)),
            Some(other) => Err(kind(key, other, "a number")),
        }
    }

    pub fn bool(&self, key: &str) -> Result<Option<bool>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(&Value::Bool(truth)) => Ok(Some(truth)),
            Some(other) => Err(kind(key, other, "a bool")),
        }
    }

    pub fn str(&self, key: &str) -> Result<Option<&str>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(kind(key, other, "a string")),
        }
    }

    pub fn strings(&self, key: &str) -> Result<Option<&[Box<str>]>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Strings(strings)) => Ok(Some(strings)),
            Some(other) => Err(kind(key, other, "an array of strings")),
        }
    }

    pub fn integers(&self, key: &str) -> Result<Option<&[i64]>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Integers(numbers)) => Ok(Some(numbers)),
            Some(other) => Err(kind(key, other, "an array of whole numbers")),
        }
    }

    pub fn floats(&self, key: &str) -> Result<Option<&[f64]>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Floats(numbers)) => Ok(Some(numbers)),
            Some(other) => Err(kind(key, other, "an array of numbers")),
        }
    }
}

fn kind(key: &str, found: &Value, wanted: &str) -> String {
    format!("{key} is {}, and has to be {wanted}", found.kind())
}

/// What a file without the entry is told.
pub(crate) fn missing(key: &str) -> String {
    format!("{key} is missing: convert the model again, with a current converter")
}
