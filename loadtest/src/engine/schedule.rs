//! What the threads of a run share: when it begins, what of it is measured, and when it ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Stop, Until};

/// An instant in nanoseconds since the start that never comes.
const NEVER: u64 = u64::MAX;
/// The longest that anything is planned ahead: ten years, so that sums of times don't overflow.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How late after the end of the load a request that was due at its very end may be sent.
const SLACK: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub(super) struct Schedule {
    start: Instant,
    until: Until,
    stop: Stop,
    /// Requests that are due from here on are measured, in nanoseconds since the start. It only ever gets earlier, and
    /// never lies in the past when it does: so no request changes sides.
    measured_from: AtomicU64,
    /// Requests that a closed loop may still send in measured time. An open one counts its arrivals.
    left: AtomicU64,
    stopped_at: AtomicU64,
}

impl Schedule {
    /// `measured_from` is the latest that the warm-up may end.
    pub fn new(start: Instant, measured_from: Duration, until: Until, is_open: bool, stop: Stop) -> Schedule {
        let left = match until {
            Until::Requests(count) if !is_open => count,
            Until::Requests(_) | Until::After(_) | Until::End => NEVER,
        };
        Schedule {
            start,
            until,
            stop,
            measured_from: AtomicU64::new(nanos(measured_from)),
            left: AtomicU64::new(left),
            stopped_at: AtomicU64::new(NEVER),
        }
    }

    pub fn start(&self) -> Instant {
        self.start
    }

    /// Since the start.
    pub fn measured_from(&self) -> Duration {
        Duration::from_nanos(self.measured_from.load(Ordering::Relaxed))
    }

    /// Ends the warm-up earlier, at a time that is still to come.
    pub fn measure_from(&self, from: Duration) {
        self.measured_from.fetch_min(nanos(from), Ordering::Relaxed);
    }

    /// Only to be asked of times that have come: then the answer stays.
    pub fn is_measured(&self, due: Instant) -> bool {
        due.saturating_duration_since(self.start) >= self.measured_from()
    }

    /// Nothing is due any more from here on, as far as a time decides that.
    pub fn end(&self) -> Instant {
        let measured = match self.until {
            Until::After(measured) => measured.min(FAR),
            Until::Requests(_) | Until::End => FAR,
        };
        self.start + (self.measured_from() + measured).min(FAR)
    }

    /// Whether the load was over before something was sent.
    pub fn is_behind(&self, sent: Instant) -> bool {
        sent > self.end() + SLACK
    }

    /// How many arrivals are to be measured, where that is given.
    pub fn requests(&self) -> Option<u64> {
        match self.until {
            Until::Requests(count) => Some(count),
            Until::After(_) | Until::End => None,
        }
    }

    /// Whether one more may be sent, besides arrivals.
    pub fn take(&self, measured: bool) -> bool {
        if !measured || self.left.load(Ordering::Relaxed) == NEVER {
            return true;
        }
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Looks whether the run is to be stopped, and if so remembers since when.
    pub fn look_for_stop(&self, now: Instant) -> bool {
        if self.stop.is_stopped() {
            self.stopped_at.fetch_min(nanos(now.saturating_duration_since(self.start)), Ordering::Relaxed);
        }
        self.stopped_at().is_some()
    }

    /// Stops a run whose result nobody will have.
    pub fn abandon(&self) {
        self.stopped_at.store(0, Ordering::Relaxed);
    }

    /// When the run was stopped, since the start.
    pub fn stopped_at(&self) -> Option<Duration> {
        let at = self.stopped_at.load(Ordering::Relaxed);
        (at != NEVER).then(|| Duration::from_nanos(at))
    }
}

/// So much later, but not so late that there is no such instant.
pub(super) fn later(at: Instant, by: Duration) -> Instant {
    at + by.min(FAR)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.min(FAR).as_nanos()).unwrap_or(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_warm_up_only_gets_shorter() {
        let start = Instant::now();
        let schedule = Schedule::new(start, 30 * SECOND, Until::After(10 * SECOND), true, Stop::default());
        assert_eq!(schedule.end(), start + 40 * SECOND);
        schedule.measure_from(5 * SECOND);
        schedule.measure_from(20 * SECOND);
        assert_eq!((schedule.measured_from(), schedule.end()), (5 * SECOND, start + 15 * SECOND));
        assert!(schedule.is_measured(start + 5 * SECOND) && !schedule.is_measured(start + 4 * SECOND));
        assert!(schedule.is_behind(start + 16 * SECOND) && !schedule.is_behind(start + 15 * SECOND));
    }

    #[test]
    fn a_closed_loop_takes_as_many_as_were_asked_for() {
        let schedule = Schedule::new(Instant::now(), SECOND, Until::Requests(2), false, Stop::default());
        let taken = [false, true, false, true, true, false].map(|measured| schedule.take(measured));
        assert_eq!(taken, [true, true, true, true, false, true]);
        let open = Schedule::new(Instant::now(), SECOND, Until::Requests(0), true, Stop::default());
        assert!(open.take(true), "arrivals are counted, what follows from them is not");
    }

    #[test]
    fn the_first_look_after_a_stop_says_when_it_was() {
        let (start, stop) = (Instant::now(), Stop::default());
        let schedule = Schedule::new(start, Duration::MAX, Until::After(Duration::MAX), true, stop.clone());
        assert!(!schedule.look_for_stop(start + SECOND));
        stop.stop();
        assert!(schedule.look_for_stop(start + 2 * SECOND) && schedule.look_for_stop(start + 3 * SECOND));
        assert_eq!(schedule.stopped_at(), Some(2 * SECOND));
    }
}
