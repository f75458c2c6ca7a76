//! What the script shows beside the pointer: for places along a chart, the values there, in words already.

use serde::Serialize;

use crate::report::html::markup::Markup;

/// Everything that can be pointed at.
#[derive(Debug, Default, Serialize)]
pub struct Hover {
    /// The line through the place that is pointed at, from top to bottom; none for rows.
    line: Option<(f64, f64)>,
    columns: Vec<Column>,
}

#[derive(Debug, Serialize)]
struct Column {
    x: f64,
    y: f64,
    title: String,
    values: Vec<Value>,
}

#[derive(Debug, Serialize)]
struct Value {
    class: &'static str,
    name: String,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<f64>,
}

impl Hover {
    /// Of a chart whose places lie beside each other, between two heights.
    pub fn across(line: (f64, f64)) -> Hover {
        Hover { line: Some(line), columns: Vec::new() }
    }

    /// Adds a value at a place. Of values of one name that lie nearer than a pointer can tell, the first is kept: a long run
    /// has more of them than a page should hold.
    pub fn add(&mut self, x: f64, title: String, class: &'static str, name: &str, y: f64, text: String) {
        let (x, y) = ((x * 2.0).round() / 2.0, tenths(y));
        let value = Value { class, name: name.to_owned(), text, y: Some(y) };
        match self.columns.binary_search_by(|column| column.x.total_cmp(&x)) {
            Ok(index) => {
                let values = &mut self.columns[index].values;
                if values.iter().all(|value| value.name != name) {
                    values.push(value);
                }
            }
            Err(index) => self.columns.insert(index, Column { x, y: 0.0, title, values: vec![value] }),
        }
    }

    /// Adds a row at a height.
    pub fn add_row(&mut self, (x, y): (f64, f64), title: String, class: &'static str, values: Vec<(String, String)>) {
        let values = values.into_iter().map(|(name, text)| Value { class, name, text, y: None }).collect();
        self.columns.push(Column { x: tenths(x), y: tenths(y), title, values });
    }

    pub fn write(&self, markup: &mut Markup) {
        // Made of strings and finite numbers, it always becomes JSON.
        markup.json(&[("class", &"hover")], &serde_json::to_string(self).unwrap_or_default());
    }
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_no_more_places_than_a_pointer_can_tell() {
        let mut hover = Hover::across((0.0, 100.0));
        for index in 0..100_000 {
            for name in ["p50", "p99"] {
                hover.add(f64::from(index) / 1000.0, index.to_string(), "c1", name, 1.0, index.to_string());
            }
        }
        assert_eq!(hover.columns.len(), 201);
        assert!(hover.columns.iter().all(|column| column.values.len() == 2));
        assert!(hover.columns.windows(2).all(|pair| pair[0].x < pair[1].x));
    }
}
