//! What one caller may use: calls a second, tokens a second, calls at a time.
//!
//! A [`Bucket`] fills at a rate and is taken from. What a call will cost is often only estimated when it comes: it is taken
//! as estimated and settled with the real number later, by which the bucket may come to owe. Whoever owes waits.

use std::time::{Duration, Instant};

/// A token bucket. It holds at most `burst` and gains `rate` a second; it is full in the beginning.
#[derive(Clone, Debug)]
pub struct Bucket {
    rate: f64,
    burst: f64,
    /// Negative where more was used than taken.
    level: f64,
    /// The instant that `level` is of.
    at: Instant,
}

/// The longest wait that is told: that of a bucket which does not fill.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

impl Bucket {
    /// `rate` in units a second, `burst` in units. A burst below one unit is one: nothing could ever be taken otherwise.
    pub fn new(rate: f64, burst: f64, now: Instant) -> Bucket {
        let (rate, burst) = Self::sane(rate, burst);
        Bucket { rate, burst, level: burst, at: now }
    }

    /// Fills at another rate from now on. What was used stays used.
    pub fn set(&mut self, rate: f64, burst: f64, now: Instant) {
        self.refill(now);
        let (rate, burst) = Self::sane(rate, burst);
        let used = self.burst - self.level;
        (self.rate, self.burst, self.level) = (rate, burst, burst - used);
    }

    /// Takes `n` units, or says how long to wait until they are there.
    ///
    /// More than the burst is taken from a full bucket, which then owes the rest: a call that is larger than the burst
    /// would never come through otherwise, and on average the rate holds all the same.
    pub fn try_take(&mut self, n: f64, now: Instant) -> Result<(), Duration> {
        match self.wait(n, now) {
            Duration::ZERO => {
                self.level -= n;
                Ok(())
            }
            wait => Err(wait),
        }
    }

    /// How long until `n` units are there; zero if they are.
    pub fn wait(&mut self, n: f64, now: Instant) -> Duration {
        self.refill(now);
        let missing = n.min(self.burst) - self.level;
        if missing <= 0.0 {
            return Duration::ZERO;
        }
        // Rounded up, lest whoever waited so long finds a hair too little.
        let seconds = missing / self.rate + 1e-6;
        Duration::try_from_secs_f64(seconds).map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT))
    }

    /// Gives back what was taken and not used.
    pub fn give_back(&mut self, n: f64, now: Instant) {
        self.refill(now);
        self.level = (self.level + n.max(0.0)).min(self.burst);
    }

    /// Replaces the `taken` units by what was `used` in the end. The bucket may owe afterwards.
    pub fn settle(&mut self, taken: f64, used: f64, now: Instant) {
        self.refill(now);
        self.level = (self.level + taken - used).min(self.burst);
    }

    /// What can be taken now; negative: owed.
    pub fn level(&mut self, now: Instant) -> f64 {
        self.refill(now);
        self.level
    }

    fn refill(&mut self, now: Instant) {
        let gained = self.rate * now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + gained).min(self.burst);
        self.at = self.at.max(now);
    }

    fn sane(rate: f64, burst: f64) -> (f64, f64) {
        (if rate.is_finite() { rate.max(0.0) } else { 0.0 }, if burst.is_finite() { burst.max(1.0) } else { 1.0 })
    }
}

/// Calls at a time.
#[derive(Clone, Debug)]
pub struct Concurrency {
    limit: usize,
    running: usize,
}

impl Concurrency {
    pub fn new(limit: usize) -> Concurrency {
        Concurrency { limit, running: 0 }
    }

    /// Those that run may stay.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Counts one call in, if there is room. Whoever got in calls [`Concurrency::leave`] once.
    pub fn try_enter(&mut self) -> bool {
        let room = self.running < self.limit;
        self.running += usize::from(room);
        room
    }

    pub fn leave(&mut self) {
        debug_assert!(self.running > 0, "one leaves who did not enter");
        self.running = self.running.saturating_sub(1);
    }

    pub fn running(&self) -> usize {
        self.running
    }

    pub fn limit(&self) -> usize {
        self.limit
    }
}

/// What one caller may use; `None` is without bound.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Allowance {
    pub requests: Option<Rate>,
    pub tokens: Option<Rate>,
    /// Calls at a time.
    pub concurrency: Option<usize>,
}

/// Units a second, and how many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    pub per_second: f64,
    pub burst: f64,
}

/// Which limit refused a call, and for how long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Exceeded {
    Requests {
        limit: Rate,
        wait: Duration,
    },
    Tokens {
        limit: Rate,
        wait: Duration,
    },
    /// It ends with the first of the running calls.
    Concurrency {
        limit: usize,
    },
}

/// The use of one caller against its [`Allowance`].
#[derive(Clone, Debug)]
pub struct Meter {
    allowance: Allowance,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    concurrency: Concurrency,
}

impl Meter {
    pub fn new(allowance: Allowance, now: Instant) -> Meter {
        let bucket = |rate: Rate| Bucket::new(rate.per_second, rate.burst, now);
        Meter {
            allowance,
            requests: allowance.requests.map(bucket),
            tokens: allowance.tokens.map(bucket),
            concurrency: Concurrency::new(allowance.concurrency.unwrap_or(usize::MAX)),
        }
    }

    pub fn allowance(&self) -> &Allowance {
        &self.allowance
    }

    /// Another allowance from now on. What was used and what runs stays counted.
    pub fn set(&mut self, allowance: Allowance, now: Instant) {
        let set = |bucket: &mut Option<Bucket>, rate: Option<Rate>| match (bucket.as_mut(), rate) {
            (Some(bucket), Some(rate)) => bucket.set(rate.per_second, rate.burst, now),
            (_, rate) => *bucket = rate.map(|rate| Bucket::new(rate.per_second, rate.burst, now)),
        };
        set(&mut self.requests, allowance.requests);
        set(&mut self.tokens, allowance.tokens);
        self.concurrency.set_limit(allowance.concurrency.unwrap_or(usize::MAX));
        self.allowance = allowance;
    }

    /// Lets one call in that is estimated to use `tokens`: all limits take it, or none does. Whoever got in calls
    /// [`Meter::leave`] once.
    pub fn enter(&mut self, tokens: f64, now: Instant) -> Result<(), Exceeded> {
        if let Some(limit) = self.allowance.concurrency
            && self.concurrency.running() >= limit
        {
            return Err(Exceeded::Concurrency { limit });
        }
        if let (Some(bucket), Some(limit)) = (&mut self.tokens, self.allowance.tokens) {
            let wait = bucket.wait(tokens, now);
            if !wait.is_zero() {
                return Err(Exceeded::Tokens { limit, wait });
            }
        }
        if let (Some(bucket), Some(limit)) = (&mut self.requests, self.allowance.requests) {
            bucket.try_take(1.0, now).map_err(|wait| Exceeded::Requests { limit, wait })?;
        }
        if let Some(bucket) = &mut self.tokens {
            bucket.settle(0.0, tokens, now);
        }
        self.concurrency.try_enter();
        Ok(())
    }

    /// The call is over. Of the `estimated` tokens it `used` so many.
    pub fn leave(&mut self, estimated: f64, used: f64, now: Instant) {
        self.concurrency.leave();
        if let Some(bucket) = &mut self.tokens {
            bucket.settle(estimated, used, now);
        }
    }

    pub fn running(&self) -> usize {
        self.concurrency.running()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    proptest! {
        /// Whatever is asked, never more is taken in any time than the burst and what the rate brings, but for the part
        /// of one call that is larger than the burst; and whoever waits as told is let in.
        #[test]
        fn the_rate_holds_and_the_told_wait_is_enough(
            rate in 0.1f64..100.0, burst in 1.0f64..50.0,
            asks in prop::collection::vec((0.0f64..1.0, 0.1f64..80.0), 1..100),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut bucket = Bucket::new(rate, burst, now);
            let mut taken = 0.0;
            for (pause, n) in asks {
                now += seconds(pause);
                if let Err(wait) = bucket.try_take(n, now) {
                    prop_assert!(wait > Duration::ZERO);
                    let mut early = bucket.clone();
                    prop_assert!(early.try_take(n, now + wait.mul_f64(0.9)).is_err() || wait < seconds(2e-5));
                    now += wait;
                    prop_assert_eq!(bucket.try_take(n, now), Ok(()));
                }
                taken += n;
                let brought = burst + rate * (now - start).as_secs_f64();
                prop_assert!(taken <= brought + (n - burst).max(0.0) + 1e-3, "{taken} of {brought}");
            }
        }

        /// What is taken and given back leaves nothing behind, and a caller who used more than estimated waits for it.
        #[test]
        fn what_is_settled_is_what_counts(estimate in 1.0f64..100.0, used in 1.0f64..1_000.0) {
            let now = Instant::now();
            let mut bucket = Bucket::new(10.0, 100.0, now);
            bucket.try_take(estimate, now).unwrap();
            bucket.settle(estimate, used, now);
            prop_assert!((bucket.level(now) - (100.0 - used)).abs() < 1e-6);
            if used > 100.0 {
                let wait = bucket.try_take(1.0, now).unwrap_err().as_secs_f64();
                prop_assert!((wait - (used - 99.0) / 10.0).abs() < 1e-3);
            }
        }

        /// A refused call has taken nothing from any limit.
        #[test]
        fn all_limits_take_a_call_or_none_does(calls in prop::collection::vec((0.0f64..0.5, 1.0f64..40.0, any::<bool>()), 1..100)) {
            let start = Instant::now();
            let mut now = start;
            let rate = |per_second, burst| Some(Rate { per_second, burst });
            let allowance = Allowance { requests: rate(5.0, 3.0), tokens: rate(50.0, 60.0), concurrency: Some(4) };
            let mut meter = Meter::new(allowance, now);
            let mut running = Vec::new();
            for (pause, tokens, ends) in calls {
                now += seconds(pause);
                let before = (meter.clone().requests.unwrap().level(now), meter.clone().tokens.unwrap().level(now));
                let entered = meter.enter(tokens, now);
                let after = (meter.clone().requests.unwrap().level(now), meter.clone().tokens.unwrap().level(now));
                match entered {
                    Ok(()) => {
                        running.push(tokens);
                        prop_assert!((before.0 - after.0 - 1.0).abs() < 1e-6 && (before.1 - after.1 - tokens).abs() < 1e-6);
                    }
                    Err(exceeded) => {
                        prop_assert_eq!(before, after);
                        prop_assert_eq!(matches!(exceeded, Exceeded::Concurrency { limit: 4 }), running.len() == 4);
                    }
                }
                if ends && let Some(tokens) = running.pop() {
                    meter.leave(tokens, tokens / 2.0, now);
                }
                prop_assert_eq!(meter.running(), running.len());
                prop_assert!(running.len() <= 4);
            }
        }
    }

    #[test]
    fn a_bucket_that_does_not_fill_tells_the_longest_wait() {
        let now = Instant::now();
        let mut bucket = Bucket::new(0.0, 1.0, now);
        assert_eq!(bucket.try_take(1.0, now), Ok(()));
        assert_eq!(bucket.try_take(1.0, now + Duration::from_secs(3600)), Err(LONGEST_WAIT));
    }

    #[test]
    fn a_new_allowance_keeps_what_was_used() {
        let now = Instant::now();
        let requests = |burst| Some(Rate { per_second: 1.0, burst });
        let mut meter = Meter::new(Allowance { requests: requests(10.0), ..Allowance::default() }, now);
        (0..8).for_each(|_| meter.enter(0.0, now).unwrap());
        meter.set(Allowance { requests: requests(9.0), concurrency: Some(9), ..Allowance::default() }, now);
        assert_eq!(meter.enter(0.0, now), Ok(()));
        assert_eq!(meter.enter(0.0, now), Err(Exceeded::Concurrency { limit: 9 }));
        meter.leave(0.0, 0.0, now);
        assert!(matches!(meter.enter(0.0, now), Err(Exceeded::Requests { .. })));
    }
}
