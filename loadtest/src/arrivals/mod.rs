//! When requests are due: a pure sequence of times, from a rate that may change and gaps that may be random.
//!
//! Gaps are drawn at rate one and stretched by the rate that holds at the time, so every kind of gap goes with every
//! course of the rate. The same seed gives the same times, however many threads share them.
//!
//! ```text
//! course  how the rate goes over time
//! gaps    how arrivals are spaced at a rate
//! trace   arrivals that were recorded
//! ```

mod course;
mod gaps;
pub mod trace;

use std::sync::Arc;
use std::time::Duration;

pub use self::course::Course;
pub use self::gaps::{Cv, Gaps};
pub use self::trace::Trace;

/// All arrivals of an open loop.
#[derive(Clone, Debug)]
pub enum Arrivals {
    Drawn {
        course: Course,
        gaps: Gaps,
        seed: u64,
    },
    /// Times since the start, ascending.
    Recorded(Arc<[Duration]>),
}

impl Arrivals {
    /// Times since the start, ascending, without end unless recorded or the rate ends at zero.
    ///
    /// Arrivals that are spaced alike begin at once; random ones after their first gap.
    pub fn times(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        self.times_after(Duration::ZERO)
    }

    /// The same, but a course begins only after a time, in which its first rate holds.
    pub fn times_after(&self, hold: Duration) -> Box<dyn Iterator<Item = Duration> + Send> {
        match self {
            Arrivals::Drawn { course, gaps, seed } => {
                let course = course.clone();
                // The sum of unit gaps is exact to some 1e-9 after 1e7 of them, and rounded once to a time: no drift.
                let units = gaps.draw(*seed).scan(0.0, |sum, gap| {
                    *sum += gap;
                    Some(*sum)
                });
                Box::new(units.map_while(move |unit| course.when_after(hold, unit)))
            }
            Arrivals::Recorded(times) => {
                let times = times.clone();
                Box::new((0..times.len()).map(move |index| times[index]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn(course: Course, gaps: Gaps, seed: u64) -> Box<dyn Iterator<Item = Duration> + Send> {
        Arrivals::Drawn { course, gaps, seed }.times()
    }

    fn count(course: &Course, gaps: Gaps, from: f64, to: f64) -> usize {
        let times = drawn(course.clone(), gaps, 7).map(|time| time.as_secs_f64());
        times.skip_while(|time| *time < from).take_while(|time| *time < to).count()
    }

    fn courses() -> impl Strategy<Value = Course> {
        let rate = 1.0..5_000.0;
        let seconds = (0.05..3.0).prop_map(Duration::from_secs_f64);
        prop_oneof![
            rate.clone().prop_map(Course::Constant),
            (0.0..5_000.0, rate.clone(), seconds.clone()).prop_map(|(from, to, over)| Course::Ramp { from, to, over }),
            prop::collection::vec((rate, seconds), 1..5).prop_map(Course::Steps),
        ]
    }

    fn all_gaps() -> impl Strategy<Value = Gaps> {
        prop_oneof![Just(Gaps::Constant), Just(Gaps::Poisson), (0.2..4.0).prop_map(|cv| Gaps::gamma(cv).unwrap())]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn times_ascend_and_come_again_with_the_seed(course in courses(), gaps in all_gaps(), seed: u64) {
            let times: Vec<Duration> = drawn(course.clone(), gaps, seed).take(2_000).collect();
            prop_assert_eq!(times.len(), 2_000);
            prop_assert!(times.is_sorted());
            let again: Vec<Duration> = drawn(course.clone(), gaps, seed).take(2_000).collect();
            prop_assert_eq!(&times, &again);
            if gaps != Gaps::Constant {
                let other: Vec<Duration> = drawn(course, gaps, seed ^ 1).take(2_000).collect();
                prop_assert_ne!(&times, &other);
            }
        }

        #[test]
        fn the_mean_rate_is_the_rate_that_was_asked_for(rate in 1.0..1e5_f64, gaps in all_gaps(), seed: u64) {
            const COUNT: usize = 20_000;
            let last = drawn(Course::Constant(rate), gaps, seed).nth(COUNT - 1).map_or(0.0, |time| time.as_secs_f64());
            let mean = COUNT as f64 / last;
            // Six standard errors of the mean.
            let bound = 6.0 * gaps.cv() / (COUNT as f64).sqrt() + 1e-4;
            prop_assert!((mean / rate - 1.0).abs() < bound, "{mean} is not {rate} within {bound}");
        }

        #[test]
        fn gamma_gaps_vary_as_asked(cv in 0.3..2.0_f64, seed: u64) {
            let times: Vec<f64> =
                drawn(Course::Constant(1.0), Gaps::gamma(cv).unwrap(), seed).take(40_000).map(|time| time.as_secs_f64()).collect();
            let gaps: Vec<f64> = times.windows(2).map(|two| two[1] - two[0]).collect();
            let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
            let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
            let seen = variance.sqrt() / mean;
            prop_assert!((seen / cv - 1.0).abs() < 0.15, "{seen} is not {cv}");
        }
    }

    #[test]
    fn ten_million_arrivals_do_not_drift() {
        let last = drawn(Course::Constant(3.0), Gaps::Constant, 1).nth(10_000_000).unwrap_or_default();
        assert!((last.as_secs_f64() - 1e7 / 3.0).abs() < 1e-6, "{last:?}");
    }

    #[test]
    fn ramps_and_steps_have_their_counts() {
        let ramp = Course::Ramp { from: 100.0, to: 300.0, over: Duration::from_secs(10) };
        // 100 + 20 t, integrated.
        for (from, to, expected) in [(0.0, 5.0, 750), (5.0, 10.0, 1_250), (10.0, 12.0, 600)] {
            let seen = count(&ramp, Gaps::Constant, from, to);
            assert!(seen.abs_diff(expected) <= 1, "{from}..{to}: {seen}");
            let poisson = count(&ramp, Gaps::Poisson, from, to) as f64;
            assert!((poisson - expected as f64).abs() < 6.0 * (expected as f64).sqrt(), "{from}..{to}: {poisson}");
        }
        let steps = Course::Steps(vec![(100.0, Duration::from_secs(2)), (1_000.0, Duration::from_secs(3))]);
        for (from, to, expected) in [(0.0, 2.0, 200), (2.0, 5.0, 3_000), (5.0, 6.0, 1_000)] {
            let seen = count(&steps, Gaps::Constant, from, to);
            assert!(seen.abs_diff(expected) <= 1, "{from}..{to}: {seen}");
        }
    }

    #[test]
    fn a_course_can_be_held_at_its_first_rate() {
        let hold = Duration::from_secs(2);
        let ramp = Course::Ramp { from: 100.0, to: 300.0, over: Duration::from_secs(10) };
        let steps = Course::Steps(vec![(50.0, Duration::from_secs(2)), (1_000.0, Duration::from_secs(3))]);
        let rising = Course::Ramp { from: 0.0, to: 300.0, over: Duration::from_secs(10) };
        for (course, before) in [(ramp, 200), (steps, 100), (rising, 0), (Course::Constant(20.0), 40)] {
            let arrivals = Arrivals::Drawn { course, gaps: Gaps::Constant, seed: 1 };
            let held: Vec<Duration> = arrivals.times_after(hold).take(before + 500).collect();
            assert!(held.is_sorted() && held[..before].iter().all(|at| *at < hold), "{arrivals:?}");
            // From there on it is as it would have been.
            for (held, at) in held[before..].iter().zip(arrivals.times()) {
                assert!((*held - hold).abs_diff(at) < Duration::from_nanos(10), "{arrivals:?}: {held:?} is not {at:?}");
            }
        }
    }

    #[test]
    fn a_rate_that_ends_at_zero_ends_the_arrivals() {
        let ramp = Course::Ramp { from: 100.0, to: 0.0, over: Duration::from_secs(2) };
        let times: Vec<Duration> = drawn(ramp, Gaps::Constant, 1).collect();
        assert_eq!(times.len(), 101);
        assert!(times.last().is_some_and(|last| *last <= Duration::from_secs(2)));
    }

    #[test]
    fn recorded_times_stay_as_they_are() {
        let times: Arc<[Duration]> = [0, 5, 5, 9].map(Duration::from_secs).into();
        let seen: Vec<Duration> = Arrivals::Recorded(times.clone()).times().collect();
        assert_eq!(seen, *times);
    }
}
