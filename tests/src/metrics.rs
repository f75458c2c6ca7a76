//! Prometheus metrics, read as a scraper does.

use std::collections::BTreeMap;

/// All series of one scrape.
#[derive(Debug)]
pub struct Metrics(Vec<Series>);

#[derive(Debug)]
struct Series {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Metrics {
    pub fn parse(text: &str) -> Metrics {
        Metrics(text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(series).collect())
    }

    /// The sum of the series of this name that have these labels; 0 where there is none yet.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |series: &Series| {
            let label = |&(key, value): &(&str, &str)| series.labels.get(key).is_some_and(|found| found == value);
            series.name == name && labels.iter().all(label)
        };
        self.0.iter().filter(|series| has(series)).map(|series| series.value).sum()
    }
}

/// `name{key="value",…} number`. No label value of ours holds a quote or a comma.
fn series(line: &str) -> Series {
    let (series, value) = line.rsplit_once(' ').expect("a series has a value");
    let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
    let pairs = labels.trim_end_matches('}').split(',').filter(|pair| !pair.is_empty());
    let label = |pair: &str| {
        let (key, value) = pair.split_once('=').expect("a label has a value");
        (key.to_owned(), value.trim_matches('"').to_owned())
    };
    Series {
        name: name.to_owned(),
        labels: pairs.map(label).collect(),
        value: value.parse().expect("a value is a number"),
    }
}
