//! Histograms with fixed buckets. A sample is added to its bucket at once: the exporter would keep each of them until it is
//! folded into buckets later, which costs several times as much.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{Counter, Gauge, HistogramFn, Key, KeyName, Metadata, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;
use parking_lot::Mutex;

use super::metrics::{BATCH_ROWS, METRICS, MetricKind, ROWS, SECONDS};
use super::text::TEXT_METRICS;

/// The process's recorder: histograms are ours, and the rest is the exporter's.
pub(super) struct Recorder {
    pub exporter: PrometheusRecorder,
    pub histograms: Arc<Histograms>,
}

/// All histograms, by their names and labels. Labels come from manifests and closed lists, as everywhere.
#[derive(Default)]
pub(super) struct Histograms(Mutex<BTreeMap<Key, Arc<Fixed>>>);

/// One histogram.
struct Fixed {
    /// The largest values of its buckets, in order.
    bounds: &'static [f64],
    /// Samples of each bucket alone, and in the last place those above all bounds.
    counts: Box<[AtomicU64]>,
    /// The bits of a float.
    sum: AtomicU64,
}

impl Fixed {
    fn new(bounds: &'static [f64]) -> Fixed {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::default()).collect();
        Fixed { bounds, counts, sum: AtomicU64::new(0f64.to_bits()) }
    }
}

impl HistogramFn for Fixed {
    fn record(&self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        if value != 0.0 {
            let add = |sum: u64| Some((f64::from_bits(sum) + value).to_bits());
            // It always finds a sum to set.
            let _ = self.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        }
    }
}

impl Histograms {
    fn of(&self, key: &Key) -> Arc<Fixed> {
        let bounds: &[f64] = if key.name() == BATCH_ROWS { &ROWS } else { &SECONDS };
        self.0.lock().entry(key.clone()).or_insert_with(|| Arc::new(Fixed::new(bounds))).clone()
    }

    /// As Prometheus text.
    pub fn render(&self) -> String {
        let all = self.0.lock().clone();
        let mut text = String::new();
        for metric in METRICS.iter().chain(TEXT_METRICS).filter(|metric| metric.kind == MetricKind::Histogram) {
            let mut of_this = all.iter().filter(|(key, _)| key.name() == metric.name).peekable();
            if of_this.peek().is_none() {
                continue;
            }
            // Writing to a string can't fail.
            let _ = writeln!(text, "# HELP {0} {1}\n# TYPE {0} {2}", metric.name, metric.help, metric.kind.label());
            for (key, histogram) in of_this {
                histogram.render(metric.name, &labels(key), &mut text);
            }
            text.push('\n');
        }
        text
    }
}

impl Fixed {
    fn render(&self, name: &str, labels: &str, text: &mut String) {
        let mut count = 0;
        let limits = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (bucket, limit) in self.counts.iter().zip(limits) {
            count += bucket.load(Ordering::Relaxed);
            let _ = writeln!(text, "{name}_bucket{{{labels},le=\"{limit}\"}} {count}");
        }
        let sum = f64::from_bits(self.sum.load(Ordering::Relaxed));
        let _ = writeln!(text, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}");
    }
}

/// A key's labels, separated by commas. Every histogram has some, and there is nothing in manifests' names to escape.
fn labels(key: &Key) -> String {
    let labels = key.labels().map(|label| format!("{}=\"{}\"", label.key(), label.value()));
    labels.collect::<Vec<_>>().join(",")
}

impl metrics::Recorder for Recorder {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.exporter.describe_counter(name, unit, text);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, text: SharedString) {
        self.exporter.describe_gauge(name, unit, text);
    }

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {
        // The list of all metrics does that.
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.exporter.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.exporter.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> metrics::Histogram {
        metrics::Histogram::from_arc(self.histograms.of(key))
    }
}

#[cfg(test)]
mod tests {
    use metrics::Label;

    use super::*;

    #[test]
    fn samples_are_counted_up_to_their_bounds() {
        let histograms = Histograms::default();
        let key = Key::from_parts(BATCH_ROWS, vec![Label::new("namespace", "a"), Label::new("service", "b")]);
        for value in [1.0, 2.0, 3.0, 300.0] {
            histograms.of(&key).record(value);
        }
        let text = histograms.render();
        for line in [
            "# TYPE weirgate_batch_rows histogram",
            "weirgate_batch_rows_bucket{namespace=\"a\",service=\"b\",le=\"1\"} 1",
            "weirgate_batch_rows_bucket{namespace=\"a\",service=\"b\",le=\"2\"} 2",
            "weirgate_batch_rows_bucket{namespace=\"a\",service=\"b\",le=\"256\"} 3",
            "weirgate_batch_rows_bucket{namespace=\"a\",service=\"b\",le=\"+Inf\"} 4",
            "weirgate_batch_rows_sum{namespace=\"a\",service=\"b\"} 306",
            "weirgate_batch_rows_count{namespace=\"a\",service=\"b\"} 4",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("_seconds"), "what has no samples and no labels is not shown");
    }
}
