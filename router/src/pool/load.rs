//! How loaded a member is: the calls it runs times how long one takes there lately.
//!
//! The latency is a *peak* EWMA. A call that took longer than expected counts in full at once, shorter ones bring it down
//! over time, and so does time alone while nothing runs there: a member that is not asked because it was slow becomes worth
//! a try again. One that still works on a long call does not look faster for it.
//!
//! Latency alone has a trap: a member that fails at once looks fast and idle, and draws all calls. So a failure counts as
//! a long latency, a *penalty*. It fades within about its own length, and each answer halves it.

use std::time::{Duration, Instant};

use super::config::BalanceConfig;

/// A penalty of length `p` has fallen to `e^-FADE`, less than 1 %, when `p` has passed.
const FADE: f64 = 5.0;

/// An idle member counts as loaded as one that is so many times faster and idle too: however noisy latencies are, a call
/// does not queue behind another while an equal member idles.
const IDLE_FIRST: f64 = 8.0;

/// How a penalty compares with the latencies of the pool at least, lest it be small beside minutes.
const PENALTY_OVER_LATENCY: f64 = 10.0;

#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Seconds, at the instant `at`; `None` before the first answer.
    latency: Option<f64>,
    at: Instant,
    /// Whether calls run there: the latency does not fade meanwhile.
    busy: bool,
    /// Seconds, at the instant `penalised_at`.
    penalty: f64,
    penalised_at: Instant,
    /// A failure was the last that is known of it.
    failing: bool,
}

impl Load {
    pub(super) fn new(now: Instant) -> Load {
        Load { latency: None, at: now, busy: false, penalty: 0.0, penalised_at: now, failing: false }
    }

    /// A call is sent there.
    pub(super) fn started(&mut self, config: &BalanceConfig, now: Instant) {
        if !self.busy {
            self.latency = self.latency.map(|latency| latency * self.kept(config, now));
            self.at = now;
            self.busy = true;
        }
    }

    /// The last of its calls has ended.
    pub(super) fn rests(&mut self, now: Instant) {
        self.busy = false;
        self.at = now;
    }

    pub(super) fn answered(&mut self, took: Duration, config: &BalanceConfig, now: Instant) {
        let took = took.as_secs_f64();
        // The longer ago the last answer, the less it says.
        let kept = self.kept(config, now);
        self.latency = Some(match self.latency {
            Some(latency) if latency > took => took + (latency - took) * kept,
            _ => took,
        });
        self.at = now;
        self.penalty = self.penalty(now) / 2.0;
        self.penalised_at = now;
        self.failing = false;
    }

    /// A call had no answer after so long, and its caller left: an answer would have taken longer. So it makes the member
    /// look slower or is ignored, never faster.
    pub(super) fn lasted(&mut self, took: Duration, usual: f64, config: &BalanceConfig, now: Instant) {
        let took = took.as_secs_f64();
        if took > self.latency(usual, config, now) {
            self.latency = Some(took);
            self.at = now;
        }
    }

    /// `asked` is what the member asked for, as by `Retry-After`; `usual` is the latency of the pool, in seconds.
    pub(super) fn failed(&mut self, asked: Option<Duration>, usual: f64, config: &BalanceConfig, now: Instant) {
        let least = config.penalty.as_secs_f64().max(PENALTY_OVER_LATENCY * usual);
        let penalty = asked.map_or(least, |asked| least.max(asked.as_secs_f64()));
        let penalty = penalty.min(config.longest_penalty.as_secs_f64());
        if penalty >= self.penalty(now) {
            self.penalty = penalty;
            self.penalised_at = now;
        }
        self.failing = true;
    }

    /// Whether a failure was the last that is known of it: idleness is no merit then.
    pub(super) fn is_failing(&self) -> bool {
        self.failing
    }

    /// Seconds. One that has not answered yet is taken for a `usual` one: it is neither shunned nor flooded.
    pub(super) fn latency(&self, usual: f64, config: &BalanceConfig, now: Instant) -> f64 {
        match self.latency {
            Some(latency) if self.busy => latency,
            Some(latency) => latency * self.kept(config, now),
            None => usual,
        }
    }

    /// Seconds.
    pub(super) fn penalty(&self, now: Instant) -> f64 {
        if self.penalty == 0.0 {
            return 0.0;
        }
        let passed = now.saturating_duration_since(self.penalised_at).as_secs_f64();
        self.penalty * (-FADE * passed / self.penalty).exp()
    }

    /// What one more call would meet there, in seconds.
    pub(super) fn with(&self, running: usize, usual: f64, config: &BalanceConfig, now: Instant) -> f64 {
        let latency = self.latency(usual, config, now).max(config.floor.as_secs_f64()) + self.penalty(now);
        if running == 0 && !self.failing { latency / IDLE_FIRST } else { latency * (running + 1) as f64 }
    }

    fn kept(&self, config: &BalanceConfig, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (-passed / config.decay.as_secs_f64().max(f64::MIN_POSITIVE)).exp()
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const CONFIG: BalanceConfig = BalanceConfig {
        decay: Duration::from_secs(10),
        floor: Duration::from_millis(1),
        penalty: Duration::from_secs(5),
        longest_penalty: Duration::from_secs(300),
    };

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn load(latency: f64, now: Instant) -> Load {
        let mut load = Load::new(now);
        load.answered(seconds(latency), &CONFIG, now);
        load
    }

    #[test]
    fn a_peak_counts_at_once_and_fades() {
        let start = Instant::now();
        let mut load = load(0.1, start);
        load.answered(seconds(2.0), &CONFIG, start);
        assert_eq!(load.latency(0.0, &CONFIG, start), 2.0);
        let later = start + seconds(10.0);
        assert!((load.latency(0.0, &CONFIG, later) - 2.0 / std::f64::consts::E).abs() < 1e-9);
        // Many fast answers bring it to what they take, and never below.
        let mut now = start;
        for _ in 0..1000 {
            now += seconds(0.1);
            load.answered(seconds(0.1), &CONFIG, now);
        }
        assert!((load.latency(0.0, &CONFIG, now) - 0.1).abs() < 0.01, "{}", load.latency(0.0, &CONFIG, now));
    }

    #[test]
    fn who_lets_callers_wait_until_they_leave_looks_slow() {
        let now = Instant::now();
        let mut load = load(0.1, now);
        load.lasted(seconds(0.05), 0.1, &CONFIG, now);
        assert_eq!(load.latency(0.1, &CONFIG, now), 0.1);
        load.lasted(seconds(30.0), 0.1, &CONFIG, now);
        assert_eq!(load.latency(0.1, &CONFIG, now), 30.0);
        // Also one that never answered.
        let mut hung = Load::new(now);
        hung.lasted(seconds(30.0), 0.1, &CONFIG, now);
        assert_eq!(hung.latency(0.1, &CONFIG, now), 30.0);
    }

    #[test]
    fn a_long_call_does_not_make_its_server_look_fast() {
        let start = Instant::now();
        let mut load = load(30.0, start);
        load.started(&CONFIG, start);
        let later = start + seconds(60.0);
        assert_eq!(load.latency(0.0, &CONFIG, later), 30.0);
        load.rests(later);
        assert_eq!(load.latency(0.0, &CONFIG, later), 30.0);
        assert!(load.latency(0.0, &CONFIG, later + seconds(60.0)) < 0.1);
    }

    #[test]
    fn who_has_not_answered_yet_is_taken_for_a_usual_one() {
        let now = Instant::now();
        assert_eq!(Load::new(now).latency(0.3, &CONFIG, now + seconds(60.0)), 0.3);
    }

    #[test]
    fn who_fails_fast_looks_slow_until_the_penalty_has_passed() {
        let start = Instant::now();
        let (mut failing, busy) = (load(0.01, start), load(0.01, start));
        failing.failed(None, 0.01, &CONFIG, start);
        assert!(failing.with(0, 0.0, &CONFIG, start) > busy.with(20, 0.0, &CONFIG, start));
        assert!(failing.penalty(start + seconds(5.0)) < 0.05);
        failing.failed(Some(seconds(60.0)), 0.01, &CONFIG, start);
        assert_eq!(failing.penalty(start), 60.0);
        failing.failed(Some(seconds(3600.0)), 0.01, &CONFIG, start);
        assert_eq!(failing.penalty(start), 300.0);
        // A shorter one later does not forgive it.
        failing.failed(None, 0.01, &CONFIG, start + seconds(1.0));
        assert!(failing.penalty(start + seconds(1.0)) > 290.0);
    }

    #[test]
    fn a_penalty_is_long_beside_what_calls_take() {
        let start = Instant::now();
        let mut load = load(20.0, start);
        load.failed(None, 20.0, &CONFIG, start);
        assert_eq!(load.penalty(start), 200.0);
        load.answered(seconds(20.0), &CONFIG, start);
        assert_eq!(load.penalty(start), 100.0);
    }

    #[test]
    fn an_idle_one_goes_before_a_busy_one_but_for_a_crawling_one() {
        let now = Instant::now();
        let with = |latency, running| load(latency, now).with(running, 0.0, &CONFIG, now);
        assert!(with(0.15, 0) < with(0.01, 1));
        assert!(with(0.17, 0) > with(0.01, 1));
    }
}
