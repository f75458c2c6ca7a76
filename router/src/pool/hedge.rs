//! Hedging: a call that takes longer than nearly all do is asked of a second member too, and the first answer counts.
//!
//! When that is, is learned: a quantile of the latencies, from counts that double in width and are halved now and then, so
//! that the old fades. How often that may be is bounded by a budget: where all calls become slow, hedges would only add to
//! what makes them slow.

use std::time::{Duration, Instant};

use super::budget::{Budget, BudgetConfig};

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HedgeConfig {
    /// A call that has no answer when this part of the calls would have one is hedged, `0.0..1.0`.
    pub quantile: f64,
    /// Never sooner than this.
    pub least: Duration,
    /// Answers before the first hedge.
    pub min_calls: u32,
    pub budget: BudgetConfig,
}

impl Default for HedgeConfig {
    fn default() -> Self {
        HedgeConfig { quantile: 0.95, least: Duration::from_millis(1), min_calls: 50, budget: BudgetConfig::HEDGES }
    }
}

/// When the calls of one service are hedged.
#[derive(Clone, Debug)]
pub struct Hedge {
    config: HedgeConfig,
    latencies: Latencies,
    budget: Budget,
}

impl Hedge {
    pub fn new(config: HedgeConfig, now: Instant) -> Hedge {
        Hedge { config, latencies: Latencies::default(), budget: Budget::new(config.budget, now) }
    }

    /// A call is sent to its first member. It is to be hedged after this time if it has no answer by then, and if
    /// [`Hedge::fire`] agrees. `None` while too little is known, or where the budget is spent.
    pub fn delay(&mut self, now: Instant) -> Option<Duration> {
        self.budget.deposit(now);
        let known = self.latencies.total >= self.config.min_calls;
        (known && self.budget.left(now) > 0)
            .then(|| self.latencies.quantile(self.config.quantile).max(self.config.least))
    }

    /// The delay has passed without an answer: whether a second member is to be asked.
    pub fn fire(&mut self, now: Instant) -> bool {
        self.budget.withdraw(now)
    }

    /// The first member took so long, from when it was asked. Where the second was faster, say how long the first had run:
    /// without those the slow calls would go uncounted, and the quantile sink.
    pub fn answered(&mut self, took: Duration) {
        self.latencies.add(took);
    }
}

/// Counts by latency, each bucket an eighth of a doubling wide, from 64 µs to 20 minutes.
#[derive(Clone, Debug)]
struct Latencies {
    counts: [u32; BUCKETS],
    total: u32,
}

const SHIFT: u32 = 6;
const STEPS: usize = 8;
const BUCKETS: usize = 25 * STEPS;
/// At this total all counts are halved.
const FULL: u32 = 2048;

impl Default for Latencies {
    fn default() -> Self {
        Latencies { counts: [0; BUCKETS], total: 0 }
    }
}

impl Latencies {
    fn add(&mut self, took: Duration) {
        self.counts[bucket(took)] += 1;
        self.total += 1;
        if self.total >= FULL {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
    }

    /// The upper end of the bucket that the quantile is in.
    fn quantile(&self, quantile: f64) -> Duration {
        let wanted = (f64::from(self.total) * quantile).ceil() as u32;
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        upper_end(found.unwrap_or(BUCKETS - 1))
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX) >> SHIFT;
    let Some(doubling) = micros.checked_ilog2() else { return 0 };
    let within = (u128::from(micros - (1 << doubling)) * STEPS as u128) >> doubling;
    (doubling as usize * STEPS + within as usize).min(BUCKETS - 1)
}

fn upper_end(bucket: usize) -> Duration {
    let doubling = 1u64 << (bucket / STEPS);
    let micros = doubling as f64 * (1.0 + (bucket % STEPS + 1) as f64 / STEPS as f64);
    Duration::from_secs_f64(micros * f64::from(1u32 << SHIFT) / 1e6)
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    proptest! {
        #[test]
        fn the_quantile_is_within_an_eighth(mut all in prop::collection::vec(1_000u64..10_000_000, 1..1_000), part in 0.01f64..0.99) {
            let mut latencies = Latencies::default();
            all.iter().for_each(|&micros| latencies.add(Duration::from_micros(micros)));
            all.sort_unstable();
            let exact = all[((all.len() as f64 * part).ceil() as usize).max(1) - 1] as f64;
            let told = latencies.quantile(part).as_micros() as f64;
            prop_assert!(told >= exact * 0.99 && told <= exact * 1.2, "{told} for {exact}");
        }

        #[test]
        fn any_latency_has_a_bucket(nanos in any::<u64>()) {
            let took = Duration::from_nanos(nanos);
            let bucket = bucket(took);
            prop_assert!(bucket == BUCKETS - 1 || upper_end(bucket) >= took);
            prop_assert!(bucket == 0 || upper_end(bucket - 1) <= took);
        }
    }

    #[test]
    fn nothing_is_hedged_before_enough_is_known() {
        let now = Instant::now();
        let mut hedge = Hedge::new(HedgeConfig::default(), now);
        (0..49).for_each(|_| hedge.answered(ms(10)));
        assert_eq!(hedge.delay(now), None);
        hedge.answered(ms(10));
        assert!(hedge.delay(now).is_some_and(|delay| delay >= ms(10) && delay < ms(12)));
    }

    #[test]
    fn hedges_stay_within_their_budget_where_all_becomes_slow() {
        let start = Instant::now();
        let mut hedge = Hedge::new(HedgeConfig::default(), start);
        (0..1_000).for_each(|_| hedge.answered(ms(10)));
        let mut fired = 0;
        for call in 0..10_000u32 {
            let now = start + ms(1) * call;
            fired += u32::from(hedge.delay(now).is_some() && hedge.fire(now));
        }
        assert!((450..=550).contains(&fired), "{fired} of 10,000");
    }

    #[test]
    fn what_calls_took_long_ago_fades() {
        let mut latencies = Latencies::default();
        (0..10_000).for_each(|_| latencies.add(ms(1_000)));
        (0..20_000).for_each(|_| latencies.add(ms(10)));
        assert!(latencies.quantile(0.95) < ms(12));
    }
}
