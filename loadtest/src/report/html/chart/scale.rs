//! From values to places on a chart, and the round values that an axis names.

/// How values are spaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    Linear,
    /// Only values above zero have a place.
    Log,
}

/// A range of values on a stretch of the chart.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    spacing: Spacing,
    from: f64,
    to: f64,
    start: f64,
    end: f64,
}

impl Scale {
    /// Values `from..to` lie at `start..end`; an empty range of values is widened.
    pub fn new(spacing: Spacing, (from, to): (f64, f64), (start, end): (f64, f64)) -> Scale {
        let to = if to > from {
            to
        } else if from > 0.0 {
            from * 2.0
        } else {
            from + 1.0
        };
        Scale { spacing, from, to, start, end }
    }

    /// Where a value lies; none for what has no place, as zero on a logarithmic scale.
    pub fn at(&self, value: f64) -> Option<f64> {
        let share = match self.spacing {
            Spacing::Linear => (value - self.from) / (self.to - self.from),
            Spacing::Log => (value / self.from).ln() / (self.to / self.from).ln(),
        };
        share.is_finite().then(|| self.start + share.clamp(0.0, 1.0) * (self.end - self.start))
    }
}

/// Multiples of 1, 2 or 5 times a power of ten in `from..=to`, at most `most` of them.
pub fn linear_ticks(from: f64, to: f64, most: usize) -> Vec<f64> {
    let step = step(to - from, most);
    if !step.is_finite() || step <= 0.0 {
        return vec![from];
    }
    let first = (from / step - 1e-9).ceil() as i64;
    let last = (to / step + 1e-9).floor() as i64;
    (first..=last).map(|index| index as f64 * step).collect()
}

/// The least step of 1, 2 or 5 times a power of ten that cuts a range into fewer than `most` parts.
pub fn step(range: f64, most: usize) -> f64 {
    let rough = range / most.saturating_sub(1).max(1) as f64;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|factor| factor * power)
        .into_iter()
        .find(|step| *step >= rough * (1.0 - 1e-9))
        .unwrap_or(rough)
}

/// Powers of ten in `from..=to`, with twos and fives between where those are few, and thinned where they are many.
pub fn log_ticks(from: f64, to: f64, most: usize) -> Vec<f64> {
    let (first, last) = (from.log10().floor() as i32, to.log10().ceil() as i32);
    let inside = |tick: &f64| *tick >= from * (1.0 - 1e-9) && *tick <= to * (1.0 + 1e-9);
    let of = |factors: &'static [f64], each: usize| {
        let powers = (first..=last).filter(move |power| power.rem_euclid(each as i32) == 0);
        let ticks = powers.flat_map(move |power| factors.iter().map(move |factor| factor * 10f64.powi(power)));
        ticks.filter(inside).collect::<Vec<f64>>()
    };
    let fine: [&'static [f64]; 3] = [&[1.0, 2.0, 5.0], &[1.0, 3.0], &[1.0]];
    if let Some(ticks) = fine.into_iter().map(|factors| of(factors, 1)).find(|ticks| ticks.len() <= most) {
        return ticks;
    }
    (2..).map(|each| of(&[1.0], each)).find(|ticks| ticks.len() <= most).unwrap_or_default()
}

/// The range from the round value below the least to the one above the greatest, for a logarithmic axis.
pub fn log_range(least: f64, greatest: f64) -> (f64, f64) {
    let round = |value: f64, up: bool| {
        let power = 10f64.powf(value.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        if up {
            steps.into_iter().find(|step| *step >= value * (1.0 - 1e-9)).unwrap_or(value)
        } else {
            steps.into_iter().rev().find(|step| *step <= value * (1.0 + 1e-9)).unwrap_or(value)
        }
    };
    let (from, to) = (round(least, false), round(greatest, true));
    if to > from { (from, to) } else { (from / 2.0, to * 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    /// Ranges over twelve powers of ten.
    fn ranges() -> Vec<(f64, f64)> {
        let mut random = rand::rngs::StdRng::seed_from_u64(7);
        let mut range = || {
            let from = 10f64.powf(random.random_range(-6.0..6.0));
            (from, from * (1.0 + 10f64.powf(random.random_range(-1.0..6.0))))
        };
        (0..500).map(|_| range()).collect()
    }

    fn check(ticks: &[f64], (from, to): (f64, f64), most: usize) {
        assert!(ticks.len() <= most, "{} ticks for {from}..{to}", ticks.len());
        assert!(ticks.iter().all(|tick| *tick >= from * (1.0 - 1e-6) && *tick <= to * (1.0 + 1e-6)), "{ticks:?}");
        assert!(ticks.windows(2).all(|pair| pair[0] < pair[1]), "{ticks:?}");
    }

    #[test]
    fn ticks_rise_inside_their_range_and_are_few() {
        for range in ranges() {
            let linear = linear_ticks(range.0, range.1, 6);
            check(&linear, range, 6);
            assert!(linear.len() >= 2, "{range:?}: {linear:?}");
            check(&log_ticks(range.0, range.1, 6), range, 6);
            let round = log_range(range.0, range.1);
            assert!(round.0 <= range.0 * (1.0 + 1e-6) && round.1 >= range.1 * (1.0 - 1e-6), "{range:?} {round:?}");
            assert!(!log_ticks(round.0, round.1, 6).is_empty(), "{round:?}");
        }
    }

    #[test]
    fn ticks_that_people_would_choose() {
        assert_eq!(linear_ticks(0.0, 100.0, 6), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(linear_ticks(0.0, 7.0, 6), [0.0, 2.0, 4.0, 6.0]);
        assert_eq!(log_ticks(1.0, 10.0, 6), [1.0, 2.0, 5.0, 10.0]);
        assert_eq!(log_ticks(1.0, 1e4, 6), [1.0, 10.0, 100.0, 1e3, 1e4]);
        assert_eq!(log_ticks(1.0, 1e9, 6), [1.0, 1e2, 1e4, 1e6, 1e8]);
    }

    #[test]
    fn values_keep_their_order_and_lie_on_the_chart() {
        for spacing in [Spacing::Linear, Spacing::Log] {
            for (from, to) in ranges() {
                let scale = Scale::new(spacing, (from, to), (40.0, 500.0));
                let places: Vec<f64> =
                    (0..=10).map(|part| scale.at(from + (to - from) * f64::from(part) / 10.0).unwrap()).collect();
                assert!(places.windows(2).all(|pair| pair[0] < pair[1]), "{places:?}");
                assert!(places[0] > 39.99 && places[10] < 500.01, "{places:?}");
            }
        }
        assert_eq!(Scale::new(Spacing::Log, (1.0, 10.0), (0.0, 1.0)).at(f64::NAN), None);
        assert_eq!(Scale::new(Spacing::Linear, (3.0, 3.0), (0.0, 1.0)).at(3.0), Some(0.0));
    }
}
