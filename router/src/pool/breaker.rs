//! A breaker: a member that fails gets no calls for a while, then one at a time until it answers again.
//!
//! It needs two signals. Failures in a row tell of a dead member within a few calls; the rate within a window tells of one
//! that still answers now and then. Either opens it. An open breaker becomes half open by time: one call tries the member,
//! and a few answers in a row close it. Each time that it opens again soon it stays open for twice as long.
//!
//! Only calls of the present era count: the era ends when the breaker opens, with each try, and when the try has told how it
//! went. A member that hung has calls that end long after it has been found out, and each of them would open the breaker
//! anew, for twice as long, though the try is being answered.
//!
//! An overloaded member (429, 503) is alive: that opens no breaker, it counts as load and against the others. Only a
//! breaker that is half open takes it for a no.

use std::time::{Duration, Instant};

use super::Era;
use super::config::BreakerConfig;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Position {
    Closed,
    Open { until: Instant },
    HalfOpen { trying: bool, answers: u32 },
}

#[derive(Clone, Debug)]
pub(super) struct Breaker {
    position: Position,
    era: Era,
    /// Failures in a row while closed.
    failures: u32,
    /// How often it opened without a calm time between.
    trips: u32,
    /// It is calm from here on.
    calm: Instant,
}

/// Calls within the window: all, and those that failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Recent {
    pub(super) calls: u32,
    pub(super) failed: u32,
}

impl Breaker {
    pub(super) fn new(now: Instant) -> Breaker {
        Breaker { position: Position::Closed, era: Era::default(), failures: 0, trips: 0, calm: now }
    }

    pub(super) fn position(&self) -> Position {
        self.position
    }

    /// What a call belongs to that is picked now.
    pub(super) fn era(&self) -> Era {
        self.era
    }

    /// Whether it learns from how a call of that era ends.
    pub(super) fn hears(&self, era: Era) -> bool {
        self.era == era
    }

    fn next_era(&mut self) {
        self.era = Era(self.era.0.wrapping_add(1));
    }

    /// A call is about to try the half-open member.
    pub(super) fn try_one(&mut self) {
        if let Position::HalfOpen { trying, .. } = &mut self.position {
            *trying = true;
            self.next_era();
        }
    }

    /// Half open, it is the try that was answered: no other call is of its era.
    pub(super) fn answered(&mut self, config: &BreakerConfig, now: Instant) {
        self.failures = 0;
        if let Position::HalfOpen { answers, .. } = self.position {
            let answers = answers + 1;
            self.position = if answers >= config.successes {
                self.calm = now + self.open_for(config);
                Position::Closed
            } else {
                Position::HalfOpen { trying: false, answers }
            };
            self.next_era();
        }
    }

    /// `jitter` is in `0.0..1.0`.
    pub(super) fn failed(&mut self, recent: Recent, jitter: f64, config: &BreakerConfig, now: Instant) {
        match self.position {
            Position::Closed => {
                self.failures = self.failures.saturating_add(1);
                let rate = f64::from(recent.failed) / f64::from(recent.calls.max(1));
                if self.failures >= config.consecutive || recent.calls >= config.min_calls && rate >= config.rate {
                    self.open(Duration::ZERO, jitter, config, now);
                }
            }
            Position::HalfOpen { .. } => self.open(Duration::ZERO, jitter, config, now),
            Position::Open { .. } => {}
        }
    }

    pub(super) fn overloaded(&mut self, asked: Option<Duration>, jitter: f64, config: &BreakerConfig, now: Instant) {
        if let Position::HalfOpen { .. } = self.position {
            self.open(asked.unwrap_or_default().min(config.longest_open), jitter, config, now);
        }
    }

    /// A caller left: nothing is learned, and another call may try.
    pub(super) fn cancelled(&mut self) {
        if let Position::HalfOpen { trying, .. } = &mut self.position {
            *trying = false;
        }
    }

    /// Half open from the instant on that it was to be open until.
    pub(super) fn advance(&mut self, now: Instant) {
        if matches!(self.position, Position::Open { until } if until <= now) {
            self.position = Position::HalfOpen { trying: false, answers: 0 };
        }
    }

    fn open(&mut self, least: Duration, jitter: f64, config: &BreakerConfig, now: Instant) {
        self.trips =
            if self.position == Position::Closed && now > self.calm { 1 } else { self.trips.saturating_add(1) };
        self.failures = 0;
        self.next_era();
        let open = self.open_for(config).max(least);
        self.position = Position::Open { until: now + open + open.mul_f64(jitter / 4.0) };
    }

    fn open_for(&self, config: &BreakerConfig) -> Duration {
        let doublings = self.trips.saturating_sub(1).min(20);
        config.open.saturating_mul(1 << doublings).min(config.longest_open)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    fn config() -> BreakerConfig {
        BreakerConfig::default()
    }

    fn fail(breaker: &mut Breaker, times: u32, now: Instant) {
        (0..times).for_each(|_| breaker.failed(Recent { calls: 1, failed: 1 }, 0.0, &config(), now));
    }

    fn open_for(breaker: &Breaker, now: Instant) -> Option<Duration> {
        match breaker.position() {
            Position::Open { until } => Some(until - now),
            _ => None,
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        fail(&mut breaker, 4, now);
        breaker.answered(&config(), now);
        fail(&mut breaker, 4, now);
        assert_eq!(breaker.position(), Position::Closed);
        fail(&mut breaker, 1, now);
        assert_eq!(open_for(&breaker, now), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_rate_opens_it_once_there_are_enough_calls() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        breaker.failed(Recent { calls: 19, failed: 18 }, 0.0, &config(), now);
        breaker.answered(&config(), now);
        breaker.failed(Recent { calls: 20, failed: 9 }, 0.0, &config(), now);
        breaker.answered(&config(), now);
        assert_eq!(breaker.position(), Position::Closed);
        breaker.failed(Recent { calls: 20, failed: 10 }, 0.0, &config(), now);
        assert!(open_for(&breaker, now).is_some());
    }

    #[test]
    fn tries_that_fail_double_the_time_and_answers_close_it() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        fail(&mut breaker, 5, now);
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            let open = open_for(&breaker, now).unwrap();
            assert_eq!(open, Duration::from_secs(expected));
            breaker.advance(now + open - Duration::from_nanos(1));
            assert!(open_for(&breaker, now).is_some());
            now += open;
            breaker.advance(now);
            breaker.try_one();
            assert_eq!(breaker.position(), Position::HalfOpen { trying: true, answers: 0 });
            fail(&mut breaker, 1, now);
        }
        now += Duration::from_secs(60);
        breaker.advance(now);
        breaker.answered(&config(), now);
        assert_eq!(breaker.position(), Position::HalfOpen { trying: false, answers: 1 });
        breaker.answered(&config(), now);
        assert_eq!(breaker.position(), Position::Closed);
        // It fails again at once: no fresh start. After a calm time there is one.
        fail(&mut breaker, 5, now);
        assert_eq!(open_for(&breaker, now), Some(Duration::from_secs(60)));
        now += Duration::from_secs(60);
        breaker.advance(now);
        (0..2).for_each(|_| breaker.answered(&config(), now));
        now += Duration::from_secs(61);
        fail(&mut breaker, 5, now);
        assert_eq!(open_for(&breaker, now), Some(Duration::from_secs(1)));
    }

    #[test]
    fn a_try_whose_caller_left_leaves_room_for_another() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        fail(&mut breaker, 5, now);
        breaker.advance(now + Duration::from_secs(1));
        breaker.try_one();
        breaker.cancelled();
        assert_eq!(breaker.position(), Position::HalfOpen { trying: false, answers: 0 });
    }

    #[test]
    fn each_try_is_an_era_and_so_is_what_comes_before_and_after_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        let before = breaker.era();
        fail(&mut breaker, 5, now);
        assert!(!breaker.hears(before));
        breaker.advance(now + Duration::from_secs(1));
        let open = breaker.era();
        breaker.try_one();
        let first = breaker.era();
        assert!(!breaker.hears(before) && !breaker.hears(open));
        breaker.answered(&config(), now);
        breaker.try_one();
        assert!(!breaker.hears(first));
        let second = breaker.era();
        breaker.answered(&config(), now);
        assert_eq!(breaker.position(), Position::Closed);
        assert!([before, open, first, second].iter().all(|&era| !breaker.hears(era)));
        let after = breaker.era();
        fail(&mut breaker, 4, now);
        breaker.answered(&config(), now);
        assert!(breaker.hears(after), "as long as it is closed the era goes on");
    }

    #[test]
    fn overload_opens_it_only_when_it_is_half_open_and_for_as_long_as_was_asked() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        (0..100).for_each(|_| breaker.overloaded(None, 0.0, &config(), now));
        assert_eq!(breaker.position(), Position::Closed);
        fail(&mut breaker, 5, now);
        breaker.advance(now + Duration::from_secs(1));
        breaker.overloaded(Some(Duration::from_secs(30)), 0.0, &config(), now);
        assert_eq!(open_for(&breaker, now), Some(Duration::from_secs(30)));
    }
}
