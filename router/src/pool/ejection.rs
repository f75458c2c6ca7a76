//! Outliers: a member that does much worse than the others is set aside for a while, though its breaker is closed.
//!
//! The breaker knows what is bad in itself, ejection what is bad beside others: a member that fails three calls in ten
//! while the others fail none, one that refuses all as overloaded, one that takes ten times as long. Where all do equally
//! badly nobody is set aside. The others are a sample, so that judging costs the same however many there are.

use std::time::{Duration, Instant};

use super::config::EjectionConfig;

/// Others that a member is compared with, at most.
pub(super) const SAMPLE: usize = 15;

#[derive(Clone, Debug)]
pub(super) struct Ejection {
    until: Option<Instant>,
    /// How often it was set aside without a calm time between.
    times: u32,
    calm: Instant,
    /// When it may be judged again.
    next: Instant,
}

/// How a member did lately.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Record {
    /// Within the window.
    pub(super) calls: u32,
    /// The part of them that failed or met overload.
    pub(super) bad: f64,
    /// The mean latency, in seconds; `None` before the first answer.
    pub(super) latency: Option<f64>,
}

impl Ejection {
    pub(super) fn new(now: Instant) -> Ejection {
        Ejection { until: None, times: 0, calm: now, next: now }
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether it is time to judge it; if so, the next time is later.
    pub(super) fn is_due(&mut self, config: &EjectionConfig, now: Instant) -> bool {
        let due = self.until.is_none() && self.next <= now && config.max_share > 0.0;
        if due {
            self.next = now + config.interval;
        }
        due
    }

    pub(super) fn set_aside(&mut self, config: &EjectionConfig, now: Instant) {
        self.times = if now > self.calm { 1 } else { self.times.saturating_add(1) };
        let doublings = (self.times - 1).min(20);
        let aside = config.aside.saturating_mul(1 << doublings).min(config.longest);
        self.until = Some(now + aside);
        self.calm = now + aside + aside;
    }

    pub(super) fn take_back(&mut self) {
        self.until = None;
    }

    /// Back in if its time has passed.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        let over = self.until.is_some_and(|until| until <= now);
        if over {
            self.until = None;
        }
        over
    }
}

/// Whether `own` is an outlier beside the `others`.
pub(super) fn is_outlier(own: Record, others: impl Iterator<Item = Record>, config: &EjectionConfig) -> bool {
    if own.calls < config.min_calls {
        return false;
    }
    let others: Vec<Record> = others.filter(|other| other.calls >= config.min_calls).collect();
    let Some(usual) = median(others.iter().map(|other| other.bad)) else { return false };
    let slow = match (own.latency, median(others.iter().filter_map(|other| other.latency))) {
        (Some(own), Some(usual)) => own > config.latency_factor * usual.max(MEANINGFUL.as_secs_f64()),
        _ => false,
    };
    own.bad > usual + config.margin || slow
}

/// Among latencies below this one a factor says nothing.
const MEANINGFUL: Duration = Duration::from_millis(10);

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    // Of two middles the higher one: in doubt nobody is an outlier.
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn record(calls: u32, bad: f64, latency: f64) -> Record {
        Record { calls, bad, latency: Some(latency) }
    }

    fn judge(own: Record, others: &[Record]) -> bool {
        is_outlier(own, others.iter().copied(), &EjectionConfig::default())
    }

    #[test]
    fn who_fails_much_more_than_the_others_is_an_outlier() {
        let good = record(100, 0.01, 0.1);
        assert!(judge(record(100, 0.35, 0.1), &[good; 3]));
        assert!(!judge(record(100, 0.25, 0.1), &[good; 3]));
        assert!(!judge(record(19, 1.0, 0.1), &[good; 3]), "too few calls to tell");
        assert!(!judge(record(100, 1.0, 0.1), &[record(19, 0.0, 0.1); 3]), "nobody to compare with");
        assert!(!judge(record(100, 0.9, 0.1), &[record(100, 0.8, 0.1); 3]), "all are bad");
    }

    #[test]
    fn who_takes_much_longer_than_the_others_is_an_outlier() {
        assert!(judge(record(100, 0.0, 1.1), &[record(100, 0.0, 0.1); 3]));
        assert!(!judge(record(100, 0.0, 0.9), &[record(100, 0.0, 0.1); 3]));
        assert!(!judge(record(100, 0.0, 0.05), &[record(100, 0.0, 0.001); 3]), "tens of milliseconds");
    }

    #[test]
    fn the_time_aside_doubles_unless_it_was_calm() {
        let config = EjectionConfig::default();
        let mut now = Instant::now();
        let mut ejection = Ejection::new(now);
        for expected in [10, 20, 40, 80, 160, 300, 300] {
            ejection.set_aside(&config, now);
            assert_eq!(ejection.until(), Some(now + Duration::from_secs(expected)));
            now += Duration::from_secs(expected);
            assert!(ejection.advance(now) && ejection.until().is_none());
        }
        now += Duration::from_secs(301);
        ejection.set_aside(&config, now);
        assert_eq!(ejection.until(), Some(now + Duration::from_secs(10)));
    }
}
