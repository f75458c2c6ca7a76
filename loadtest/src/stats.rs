//! Latencies of one run, and the spread of a number over rounds.

use std::time::Duration;

/// The latencies of a run, in nanoseconds and sorted: exact, at eight bytes a request.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    pub fn new(mut nanos: Vec<u64>) -> Self {
        nanos.sort_unstable();
        Latencies(nanos)
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The latency that a share `q` of all requests did not pass; zero where there were none.
    pub fn quantile(&self, q: f64) -> Duration {
        let rank = (q * self.0.len() as f64).ceil() as usize;
        let index = rank.clamp(1, self.0.len().max(1)) - 1;
        Duration::from_nanos(self.0.get(index).copied().unwrap_or_default())
    }

    pub fn p50_us(&self) -> f64 {
        self.quantile(0.5).as_secs_f64() * 1e6
    }

    pub fn p99_us(&self) -> f64 {
        self.quantile(0.99).as_secs_f64() * 1e6
    }

    pub fn max(&self) -> Duration {
        Duration::from_nanos(self.0.last().copied().unwrap_or_default())
    }
}

/// Median, least and greatest of a number that was measured in several rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    /// Of no values, all three are NaN.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Spread { median: f64::NAN, min: f64::NAN, max: f64::NAN };
        };
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Spread { median, min, max }
    }

    /// As `12.3 [11.9 .. 14.0]`.
    pub fn show(&self, decimals: usize) -> String {
        let Spread { median, min, max } = self;
        format!("{median:.decimals$} [{min:.decimals$} .. {max:.decimals$}]")
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_latencies_that_were_seen() {
        let latencies = Latencies::new((1..=100).rev().collect());
        assert_eq!(latencies.quantile(0.5), Duration::from_nanos(50));
        assert_eq!(latencies.quantile(0.99), Duration::from_nanos(99));
        assert_eq!(latencies.quantile(0.0), Duration::from_nanos(1));
        assert_eq!(latencies.max(), Duration::from_nanos(100));
        assert_eq!(Latencies::default().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn spreads() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0]).show(1), "2.5 [1.0 .. 4.0]");
        assert!(Spread::of([]).median.is_nan());
    }
}
