//! Histograms of times, and the quantiles that a result keeps of them.

use std::time::Duration;

use crate::result::{Distribution, QUANTILES};

/// The longest time that is told apart: an hour, in nanoseconds. What is longer counts as this.
const LONGEST_NS: u64 = 3_600_000_000_000;
const NS_PER_MS: f64 = 1e6;
/// Steps of a curve over which the share of slower requests falls by ten.
const STEPS: i32 = 20;
/// How often it does: down to one in 100 000.
const TENS: i32 = 5;

/// Times in nanoseconds with so many significant digits, up to an hour.
///
/// Totals keep three: they are off by at most 0.1 %. Windows keep two, as there are many of them.
#[derive(Clone, Debug)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

/// The counts of a histogram that are not zero, by their times.
#[derive(Clone, Debug)]
pub struct Packed(Box<[(u64, u64)]>);

impl Histogram {
    /// Three significant digits.
    pub fn fine() -> Histogram {
        Histogram::with(3)
    }

    /// Two significant digits.
    pub fn coarse() -> Histogram {
        Histogram::with(2)
    }

    fn with(digits: u8) -> Histogram {
        Histogram(
            hdrhistogram::Histogram::new_with_bounds(1, LONGEST_NS, digits).expect("bounds and digits are in range"),
        )
    }

    pub fn record(&mut self, time: Duration) {
        self.0.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn record_us(&mut self, micros: u64) {
        self.0.saturating_record(micros.saturating_mul(1_000));
    }

    /// Takes in what another of the same digits has.
    pub fn add(&mut self, other: &Histogram) {
        // Fails only for values beyond this one's bounds, and all have the same.
        let added = self.0.add(&other.0);
        debug_assert!(added.is_ok());
    }

    /// What is in it, in the least space.
    pub fn packed(&self) -> Packed {
        Packed(self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())).collect())
    }

    /// Takes in what was packed of another of the same digits.
    pub fn unpack(&mut self, packed: &Packed) {
        for (nanos, count) in &packed.0 {
            self.0.saturating_record_n(*nanos, *count);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Milliseconds at a quantile; None of nothing.
    pub fn at(&self, q: f64) -> Option<f64> {
        (!self.is_empty()).then(|| self.value(q))
    }

    pub fn max(&self) -> Option<f64> {
        self.at(1.0)
    }

    fn value(&self, q: f64) -> f64 {
        self.0.value_at_quantile(q).min(self.0.max()) as f64 / NS_PER_MS
    }

    /// All named quantiles, and some hundred for a curve, close where few requests are slower.
    pub fn distribution(&self) -> Distribution {
        if self.is_empty() {
            return Distribution::default();
        }
        let curve = (0..=STEPS * TENS).map(|step| 1.0 - 10_f64.powf(f64::from(-step) / f64::from(STEPS)));
        let mut quantiles: Vec<f64> = curve.chain(QUANTILES).chain([1.0]).collect();
        quantiles.sort_by(f64::total_cmp);
        quantiles.dedup_by(|next, kept| {
            let same = *next - *kept < 1e-9;
            // Of two that are the same but for rounding, the one with a name stays.
            if same && QUANTILES.contains(next) {
                *kept = *next;
            }
            same
        });
        Distribution {
            count: self.0.len(),
            mean: self.0.mean() / NS_PER_MS,
            min: self.0.min() as f64 / NS_PER_MS,
            max: self.0.max() as f64 / NS_PER_MS,
            quantiles: quantiles.into_iter().map(|q| (q, self.value(q))).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_named_ascending_and_right_to_three_digits() {
        let mut times = Histogram::fine();
        for micros in 1..=100_000 {
            times.record_us(micros);
        }
        let distribution = times.distribution();
        assert_eq!(distribution.count, 100_000);
        assert!(distribution.quantiles.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
        assert!((90..130).contains(&distribution.quantiles.len()));
        for q in QUANTILES {
            assert!(distribution.quantiles.iter().any(|(at, _)| *at == q), "{q}");
            let value = distribution.at(q).unwrap();
            assert!((value / (q * 100.0) - 1.0).abs() < 0.002, "{q}: {value}");
        }
        assert_eq!(distribution.quantiles.last().map(|(_, value)| *value), Some(distribution.max));
    }

    #[test]
    fn short_times_are_not_rounded_down() {
        let mut times = Histogram::fine();
        for _ in 0..10 {
            times.record(Duration::from_nanos(20_900));
        }
        let distribution = times.distribution();
        for value in [distribution.min, distribution.mean, distribution.max, distribution.at(0.5).unwrap()] {
            assert!((value / 0.0209 - 1.0).abs() < 0.001, "{value}");
        }
    }

    #[test]
    fn what_is_packed_comes_out_the_same() {
        let (mut times, mut again) = (Histogram::coarse(), Histogram::coarse());
        for micros in [3, 3, 90, 1_000, 77_777] {
            times.record_us(micros);
        }
        again.unpack(&times.packed());
        again.unpack(&Histogram::coarse().packed());
        assert_eq!(again.distribution(), times.distribution());
    }

    #[test]
    fn what_is_out_of_bounds_is_counted_at_the_bound() {
        let mut times = Histogram::fine();
        times.record(Duration::ZERO);
        times.record(Duration::from_secs(7_200));
        let distribution = times.distribution();
        assert_eq!(distribution.count, 2);
        assert!((distribution.max / 3_600_000.0 - 1.0).abs() < 0.001, "{}", distribution.max);
        assert_eq!(distribution.min, 0.0);
    }

    #[test]
    fn of_nothing_there_is_nothing() {
        assert_eq!(Histogram::fine().distribution(), Distribution::default());
        assert_eq!(Histogram::coarse().at(0.5), None);
    }
}
