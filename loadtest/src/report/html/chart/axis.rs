//! What a direction of a chart means: its range, how values are spaced, and which of them are named.

use super::scale::{Spacing, linear_ticks, log_range, log_ticks, step};
use crate::report::number;

/// Ticks on an axis at most; on a narrow screen more would touch.
const TICKS: usize = 6;
/// The same for times, which go upwards, where there is more room.
const TIME_TICKS: usize = 8;

/// An axis with its range and ticks.
#[derive(Clone, Debug)]
pub struct Axis {
    pub title: &'static str,
    pub spacing: Spacing,
    pub range: (f64, f64),
    pub ticks: Vec<(f64, String)>,
    /// How a value is told to who points at it.
    pub show: fn(f64) -> String,
}

impl Axis {
    /// From zero to a round value above the greatest.
    pub fn from_zero(title: &'static str, values: impl IntoIterator<Item = f64>, show: fn(f64) -> String) -> Axis {
        let greatest = values.into_iter().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let greatest = if greatest > 0.0 { greatest } else { 1.0 };
        let step = step(greatest, TICKS - 1);
        let range = (0.0, (greatest / step - 1e-9).ceil() * step);
        let ticks = linear_ticks(0.0, range.1, TICKS).into_iter().map(|tick| (tick, number::short(tick))).collect();
        Axis { title, spacing: Spacing::Linear, range, ticks, show }
    }

    /// From zero to exactly `to`, as for time that has passed.
    pub fn until(title: &'static str, to: f64, show: fn(f64) -> String) -> Axis {
        let to = if to > 0.0 { to } else { 1.0 };
        let ticks = linear_ticks(0.0, to, TICKS).into_iter().map(|tick| (tick, number::short(tick))).collect();
        Axis { title, spacing: Spacing::Linear, range: (0.0, to), ticks, show }
    }

    /// From the first to the last of things that are counted, with room at both ends.
    pub fn counts(title: &'static str, last: usize, show: fn(f64) -> String) -> Axis {
        let each = last.div_ceil(TICKS).max(1);
        let ticks = (1..=last).step_by(each).map(|tick| (tick as f64, tick.to_string())).collect();
        Axis { title, spacing: Spacing::Linear, range: (0.5, last as f64 + 0.5), ticks, show }
    }

    /// Times in milliseconds over several powers of ten.
    pub fn log_times(title: &'static str, values: impl IntoIterator<Item = f64>) -> Axis {
        let values = values.into_iter().filter(|value| value.is_finite() && *value > 0.0);
        let (least, greatest) =
            values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| (least.min(value), most.max(value)));
        let range = if greatest > 0.0 { log_range(least, greatest) } else { (1.0, 10.0) };
        let ticks = log_ticks(range.0, range.1, TIME_TICKS).into_iter().map(|tick| (tick, number::tick_time(tick)));
        Axis { title, spacing: Spacing::Log, range, ticks: ticks.collect(), show: number::time }
    }

    /// How many times as much, with 1 always on it.
    pub fn ratios(title: &'static str, values: impl IntoIterator<Item = f64>) -> Axis {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite() && *value > 0.0).collect();
        // As far to both sides of 1, so that the eye compares like with like.
        let widest = values.iter().map(|value| value.ln().abs()).fold(0.05, f64::max) * 1.1;
        let range = ((-widest).exp(), widest.exp());
        // Both kinds of ticks have 1 among them.
        let ticks = match range.1 < 2.0 {
            true => linear_ticks(range.0, range.1, TICKS),
            false => log_ticks(range.0, range.1, TICKS),
        };
        let ticks = ticks.into_iter().map(|tick| (tick, format!("×{}", number::short(tick)))).collect();
        Axis { title, spacing: Spacing::Log, range, ticks, show: |ratio| format!("×{}", number::number(ratio)) }
    }

    /// Shares of all, `0..=1`.
    pub fn shares(title: &'static str) -> Axis {
        let ticks = linear_ticks(0.0, 1.0, TICKS)
            .into_iter()
            .map(|tick| (tick, format!("{} %", number::short(tick * 100.0))))
            .collect();
        Axis { title, spacing: Spacing::Linear, range: (0.0, 1.0), ticks, show: number::share }
    }

    /// Quantiles spread by nines, as `1 / (1 - q)`: from the least to the last that `count` values support.
    pub fn nines(title: &'static str, last: f64) -> Axis {
        let last = last.max(0.9);
        let named = [0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999];
        let ticks = named.into_iter().filter(|q| *q <= last + 1e-9);
        let ticks = ticks.map(|q| (nines(q), number::quantile(q))).collect();
        let show = |nines: f64| number::quantile(1.0 - 1.0 / nines);
        Axis { title, spacing: Spacing::Log, range: (1.0, nines(last)), ticks, show }
    }
}

/// Where a quantile lies on an axis of nines.
pub fn nines(q: f64) -> f64 {
    1.0 / (1.0 - q.min(0.999_999_9))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, name)| name.as_str()).collect()
    }

    #[test]
    fn axes_name_what_people_look_for() {
        assert_eq!(names(&Axis::from_zero("", [93.0], number::number)), ["0", "20", "40", "60", "80", "100"]);
        assert_eq!(
            names(&Axis::log_times("", [0.4, 230.0])),
            ["300 µs", "1 ms", "3 ms", "10 ms", "30 ms", "100 ms", "300 ms"]
        );
        assert_eq!(names(&Axis::nines("", 0.999)), ["p0", "p50", "p90", "p99", "p99.9"]);
        assert_eq!(names(&Axis::ratios("", [0.8, 1.3])), ["×0.8", "×1", "×1.2"]);
        assert_eq!(names(&Axis::counts("", 8, number::number)), ["1", "3", "5", "7"]);
        assert_eq!(names(&Axis::ratios("", [40.0])), ["×0.1", "×1", "×10"]);
    }

    #[test]
    fn axes_stand_without_values() {
        for axis in [
            Axis::from_zero("", [], number::number),
            Axis::until("", 0.0, number::number),
            Axis::log_times("", [0.0, f64::NAN]),
            Axis::ratios("", []),
        ] {
            assert!(axis.range.0 < axis.range.1 && !axis.ticks.is_empty(), "{axis:?}");
        }
    }

    #[test]
    fn one_is_the_middle_of_ratios() {
        let axis = Axis::ratios("", [0.5, 1.1]);
        assert!((axis.range.0 * axis.range.1 - 1.0).abs() < 1e-9);
    }
}
