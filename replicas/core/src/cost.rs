//! What a batch costs: a line `a + b × bytes`, learned from the batches that ran.
//!
//! Bytes of input stand for work: they grow with rows and with the length of each row, so one line serves equal and mixed
//! shapes. Old batches fade, so the line follows a machine that becomes slower. The line is only ever used to close a
//! batch early or to refuse a call that can't be in time; a wrong guess costs latency, never an answer.

use std::time::Duration;

/// Weight that all earlier batches keep when one more is seen; about the last 50 batches count.
const KEEP: f64 = 0.98;

/// A least-squares line over faded observations.
#[derive(Clone, Debug, Default)]
pub struct CostModel {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl CostModel {
    /// Learns from a batch of `bytes` that ran for `took`.
    pub fn observe(&mut self, bytes: usize, took: Duration) {
        let (x, y) = (bytes as f64, took.as_secs_f64());
        self.weight = self.weight * KEEP + 1.0;
        self.x = self.x * KEEP + x;
        self.y = self.y * KEEP + y;
        self.xx = self.xx * KEEP + x * x;
        self.xy = self.xy * KEEP + x * y;
    }

    /// Fixed cost in seconds and seconds per byte, or `None` before the first batch. With batches of one size there is no
    /// slope to see; then `variable` says whether all of the cost is called variable, or fixed.
    fn line(&self, variable: bool) -> Option<(f64, f64)> {
        if self.weight == 0.0 {
            return None;
        }
        let (mean_x, mean_y) = (self.x / self.weight, self.y / self.weight);
        let variance = self.xx / self.weight - mean_x * mean_x;
        if variance <= 1e-6 * mean_x * mean_x {
            return Some(if variable && mean_x > 0.0 { (0.0, mean_y / mean_x) } else { (mean_y, 0.0) });
        }
        let slope = ((self.xy / self.weight - mean_x * mean_y) / variance).max(0.0);
        let fixed = mean_y - slope * mean_x;
        Some(if fixed >= 0.0 { (fixed, slope) } else { (0.0, mean_y / mean_x) })
    }

    /// How long a batch of `bytes` will run; `None` before the first batch.
    pub fn predict(&self, bytes: usize) -> Option<Duration> {
        self.drain(1, bytes)
    }

    /// How long `batches` with `bytes` in all will run, one after the other. Where in doubt, too long: the safe side for
    /// a batch that must not grow too large.
    pub fn drain(&self, batches: usize, bytes: usize) -> Option<Duration> {
        seconds(self.line(true)?, batches, bytes)
    }

    /// The same, where in doubt too short: the safe side for refusing a call.
    pub fn at_least(&self, batches: usize, bytes: usize) -> Option<Duration> {
        seconds(self.line(false)?, batches, bytes)
    }
}

fn seconds((fixed, slope): (f64, f64), batches: usize, bytes: usize) -> Option<Duration> {
    Duration::try_from_secs_f64(fixed * batches as f64 + slope * bytes as f64).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn micros(us: f64) -> Duration {
        Duration::from_secs_f64(us / 1e6)
    }

    #[test]
    fn nothing_is_predicted_before_the_first_batch() {
        assert_eq!(CostModel::default().predict(100), None);
    }

    #[test]
    fn batches_of_one_size_scale_with_bytes() {
        let mut cost = CostModel::default();
        cost.observe(100, micros(200.0));
        cost.observe(100, micros(200.0));
        assert_eq!(cost.predict(100).unwrap().as_micros(), 200);
        assert_eq!(cost.predict(200).unwrap().as_micros(), 400);
        assert_eq!(cost.at_least(1, 200).unwrap().as_micros(), 200, "refusing takes the other side");
    }

    proptest! {
        /// A noiseless line is found, whatever the sizes.
        #[test]
        fn a_line_is_found(
            fixed in 1.0f64..1_000.0,
            slope in 0.001f64..10.0,
            sizes in prop::collection::vec(1usize..10_000, 4..80),
        ) {
            prop_assume!(sizes.iter().any(|size| *size * 10 < 9 * sizes[0] || sizes[0] * 10 < 9 * *size));
            let mut cost = CostModel::default();
            for &size in &sizes {
                cost.observe(size, micros(fixed + slope * size as f64));
            }
            let predicted = cost.predict(5_000).unwrap().as_secs_f64() * 1e6;
            let true_cost = fixed + slope * 5_000.0;
            prop_assert!((predicted - true_cost).abs() < 0.02 * true_cost + 1.0, "{predicted} for {true_cost}");
        }

        /// Any observations at all give a finite prediction that does not shrink with size.
        #[test]
        fn predictions_never_shrink_with_size(
            seen in prop::collection::vec((0usize..1 << 30, 0u64..10_000_000), 1..50),
        ) {
            let mut cost = CostModel::default();
            for (bytes, us) in seen {
                cost.observe(bytes, Duration::from_micros(us));
            }
            let (small, large) = (cost.predict(1_000).unwrap(), cost.predict(1_000_000).unwrap());
            prop_assert!(small <= large);
        }
    }
}
