//! A budget for what is sent more often than it was asked for: retries and hedges.
//!
//! A fixed number of retries per call multiplies the load just when a server can take it least. A budget is a part of the
//! calls of the last seconds instead, so retries add at most that part; a small floor lets a quiet service retry too.

use std::time::{Duration, Instant};

use super::window::Window;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetConfig {
    /// Retries may be this part of the calls.
    pub ratio: f64,
    /// This many a second are free.
    pub min_per_second: f64,
    /// The time that is looked at.
    pub window: Duration,
}

impl BudgetConfig {
    /// For retries: a fifth of the calls.
    pub const RETRIES: BudgetConfig = BudgetConfig { ratio: 0.2, min_per_second: 1.0, window: Duration::from_secs(10) };
    /// For hedges: a twentieth of the calls.
    pub const HEDGES: BudgetConfig = BudgetConfig { ratio: 0.05, min_per_second: 0.2, window: Duration::from_secs(10) };
}

const CALLS: usize = 0;
const SPENT: usize = 1;

#[derive(Clone, Debug)]
pub struct Budget {
    config: BudgetConfig,
    counts: Window<2>,
}

impl Budget {
    pub fn new(config: BudgetConfig, now: Instant) -> Budget {
        Budget { config, counts: Window::new(config.window, now) }
    }

    /// A call came, for the first time.
    pub fn deposit(&mut self, now: Instant) {
        self.counts.add(CALLS, now);
    }

    /// Spends one retry, or says that there is none left.
    pub fn withdraw(&mut self, now: Instant) -> bool {
        let left = self.left(now) >= 1;
        if left {
            self.counts.add(SPENT, now);
        }
        left
    }

    /// Retries that could be spent now.
    pub fn left(&mut self, now: Instant) -> u32 {
        let counts = self.counts.counts(now);
        let free = self.config.min_per_second * self.config.window.as_secs_f64();
        let earned = free + self.config.ratio * f64::from(counts[CALLS]);
        (earned as u32).saturating_sub(counts[SPENT])
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// In any window's time the retries are at most the free ones and the ratio of the calls of that time and the
        /// time before it, which they may have been earned in.
        #[test]
        fn retries_are_a_part_of_the_calls(steps in prop::collection::vec((0u64..500, any::<bool>()), 1..500)) {
            let config = BudgetConfig::RETRIES;
            let start = Instant::now();
            let (mut budget, mut now) = (Budget::new(config, start), start);
            let (mut calls, mut spent) = (Vec::new(), Vec::new());
            for (pause, retry) in steps {
                now += Duration::from_millis(pause);
                if !retry {
                    budget.deposit(now);
                    calls.push(now);
                } else if budget.withdraw(now) {
                    spent.push(now);
                }
                let within = |times: &[Instant], span: Duration| times.iter().filter(|&&at| now - at < span).count() as f64;
                // The window moves in tenths.
                let retries = within(&spent, config.window * 9 / 10);
                let earned = 10.0 + 0.2 * within(&calls, config.window * 2);
                prop_assert!(retries <= earned, "{retries} of {earned}");
            }
        }
    }

    #[test]
    fn a_storm_of_failures_gets_a_fifth_more() {
        let start = Instant::now();
        let mut budget = Budget::new(BudgetConfig::RETRIES, start);
        let mut retries = 0;
        for call in 0..10_000u32 {
            let now = start + Duration::from_millis(1) * call;
            budget.deposit(now);
            retries += u32::from(budget.withdraw(now));
        }
        assert!((1_900..2_100).contains(&retries), "{retries}");
    }

    #[test]
    fn a_quiet_service_may_retry_a_little() {
        let now = Instant::now();
        let mut budget = Budget::new(BudgetConfig::RETRIES, now);
        assert_eq!((0..100).filter(|_| budget.withdraw(now)).count(), 10);
        assert!(budget.withdraw(now + Duration::from_secs(11)));
    }
}
