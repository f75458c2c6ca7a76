//! What the threads of a run share: when it begins, what of it is measured, and when it ends.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::{Stop, Until};
use crate::measure::Grid;

/// An instant in nanoseconds since the start that never comes.
const NEVER: u64 = u64::MAX;
/// The longest that anything is planned ahead: ten years, so that sums of times don't overflow.
const FAR: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How late after the end of the load a request that was due at its very end may be sent.
const SLACK: Duration = Duration::from_millis(10);
/// How far ahead the end of the warm-up is set, for all threads to know of it when it comes.
const NOTICE: Duration = Duration::from_millis(50);

/// What makes requests due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Times. The load ends with them.
    Arrivals,
    /// Times, and answers that another turn follows: who waits for a number of arrivals waits for what follows, too.
    Conversations,
    /// Answers.
    Callers,
}

#[derive(Debug)]
pub(super) struct Schedule {
    start: Instant,
    until: Until,
    stop: Stop,
    source: Source,
    /// Requests that are due from here on are measured, in nanoseconds since the start. It gets earlier once, and does not
    /// lie in the past when it does: so no request changes sides.
    measured_from: AtomicU64,
    /// Arrivals are due before here, in nanoseconds since the start, as far as that is known.
    arrivals_end: AtomicU64,
    /// The number of the next request of a closed loop.
    next: AtomicU64,
    /// Requests that a closed loop may still send in measured time. An open one counts its arrivals.
    left: AtomicU64,
    stopped_at: AtomicU64,
    abandoned: AtomicBool,
}

impl Schedule {
    /// `measured_from` is the latest that the warm-up may end.
    pub fn new(start: Instant, measured_from: Duration, until: Until, source: Source, stop: Stop) -> Schedule {
        let left = match until {
            Until::Requests(count) if source == Source::Callers => count,
            Until::Requests(_) | Until::After(_) | Until::End => NEVER,
        };
        Schedule {
            start,
            until,
            stop,
            source,
            measured_from: AtomicU64::new(nanos(measured_from)),
            arrivals_end: AtomicU64::new(NEVER),
            next: AtomicU64::new(0),
            left: AtomicU64::new(left),
            stopped_at: AtomicU64::new(NEVER),
            abandoned: AtomicBool::new(false),
        }
    }

    pub fn start(&self) -> Instant {
        self.start
    }

    /// Since the start.
    pub fn measured_from(&self) -> Duration {
        Duration::from_nanos(self.measured_from.load(Ordering::Relaxed))
    }

    /// Ends the warm-up with a window that ends soon. `now` is asked for the time since the start: once it is set, the end
    /// must still be to come, or it is set anew.
    pub fn measure_soon(&self, grid: &Grid, mut now: impl FnMut() -> Duration) {
        let latest = self.measured_from();
        loop {
            let from = grid.next_start(now() + NOTICE).min(latest);
            self.measured_from.store(nanos(from), Ordering::Relaxed);
            if from == latest || now() < from {
                return;
            }
        }
    }

    /// Arrivals end here, since the start. It changes nothing where more follows from answers.
    pub fn arrivals_end(&self, end: Duration) {
        if self.source == Source::Arrivals {
            self.arrivals_end.fetch_min(nanos(end), Ordering::Relaxed);
        }
    }

    /// The number of a closed loop's next request.
    pub fn next_number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Only to be asked of times that have come: then the answer stays.
    pub fn is_measured(&self, due: Instant) -> bool {
        due.saturating_duration_since(self.start) >= self.measured_from()
    }

    /// Nothing is due any more from here on, since the start. None where that is not known, or no time decides it.
    pub fn planned_end(&self) -> Option<Duration> {
        let by_time = match self.until {
            Until::After(measured) => nanos(self.measured_from() + measured.min(FAR)),
            Until::Requests(_) | Until::End => NEVER,
        };
        let end = by_time.min(self.arrivals_end.load(Ordering::Relaxed));
        (end != NEVER).then(|| Duration::from_nanos(end))
    }

    /// Nothing is due any more from here on, as far as a time decides that.
    pub fn end(&self) -> Instant {
        self.start + self.planned_end().unwrap_or(FAR)
    }

    /// Whether something that is over was over in measured time.
    pub fn is_in_time(&self, done: Instant) -> bool {
        let done = nanos(done.saturating_duration_since(self.start));
        let end = self.planned_end().map_or(NEVER, nanos).min(self.stopped_at.load(Ordering::Relaxed));
        done >= self.measured_from.load(Ordering::Relaxed) && done < end
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
        self.abandoned.store(true, Ordering::Relaxed);
        self.stopped_at.fetch_min(0, Ordering::Relaxed);
    }

    pub fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed)
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

    fn arrivals(start: Instant, measured_from: Duration, until: Until) -> Schedule {
        Schedule::new(start, measured_from, until, Source::Arrivals, Stop::default())
    }

    #[test]
    fn the_warm_up_only_gets_shorter() {
        let start = Instant::now();
        let schedule = arrivals(start, 30 * SECOND, Until::After(10 * SECOND));
        let grid = Grid::new(SECOND, 30 * SECOND);
        assert_eq!(schedule.end(), start + 40 * SECOND);
        schedule.measure_soon(&grid, || SECOND * 9 / 2);
        assert_eq!((schedule.measured_from(), schedule.end()), (5 * SECOND, start + 15 * SECOND));
        schedule.measure_soon(&grid, || 20 * SECOND);
        assert_eq!(schedule.measured_from(), 5 * SECOND);
        assert!(schedule.is_measured(start + 5 * SECOND) && !schedule.is_measured(start + 4 * SECOND));
        assert!(schedule.is_behind(start + 16 * SECOND) && !schedule.is_behind(start + 15 * SECOND));
    }

    #[test]
    fn the_warm_up_does_not_end_in_the_past() {
        let schedule = arrivals(Instant::now(), 30 * SECOND, Until::End);
        // The first time it is set, the thread does not run for so long that the end has passed when it runs again.
        let mut times = [SECOND * 9 / 2, SECOND * 11 / 2, SECOND * 11 / 2, SECOND * 11 / 2].into_iter();
        schedule.measure_soon(&Grid::new(SECOND, 30 * SECOND), || times.next().unwrap());
        assert_eq!((schedule.measured_from(), times.len()), (6 * SECOND, 0));
    }

    #[test]
    fn answers_are_in_time_before_the_end_that_is_planned_or_comes_early() {
        let (start, stop) = (Instant::now(), Stop::default());
        let of = |until, source| Schedule::new(start, SECOND, until, source, stop.clone());
        let in_time = |schedule: &Schedule| [0, 1, 2, 3, 4].map(|second| schedule.is_in_time(start + second * SECOND));
        let timed = of(Until::After(2 * SECOND), Source::Arrivals);
        assert_eq!(in_time(&timed), [false, true, true, false, false]);
        let counted = of(Until::Requests(9), Source::Arrivals);
        assert_eq!(in_time(&counted), [false, true, true, true, true]);
        counted.arrivals_end(4 * SECOND);
        assert_eq!(in_time(&counted), [false, true, true, true, false]);
        assert!(counted.is_behind(start + 5 * SECOND));
        let talks = of(Until::Requests(9), Source::Conversations);
        talks.arrivals_end(2 * SECOND);
        assert_eq!(in_time(&talks), [false, true, true, true, true]);
        stop.stop();
        assert!(talks.look_for_stop(start + 2 * SECOND));
        assert_eq!(in_time(&talks), [false, true, false, false, false]);
    }

    #[test]
    fn a_closed_loop_takes_as_many_as_were_asked_for() {
        let schedule = Schedule::new(Instant::now(), SECOND, Until::Requests(2), Source::Callers, Stop::default());
        let taken = [false, true, false, true, true, false].map(|measured| schedule.take(measured));
        assert_eq!(taken, [true, true, true, true, false, true]);
        let open = arrivals(Instant::now(), SECOND, Until::Requests(0));
        assert!(open.take(true), "arrivals are counted, what follows from them is not");
    }

    #[test]
    fn the_first_look_after_a_stop_says_when_it_was() {
        let (start, stop) = (Instant::now(), Stop::default());
        let until = Until::After(Duration::MAX);
        let schedule = Schedule::new(start, Duration::MAX, until, Source::Arrivals, stop.clone());
        assert!(!schedule.look_for_stop(start + SECOND));
        stop.stop();
        assert!(schedule.look_for_stop(start + 2 * SECOND) && schedule.look_for_stop(start + 3 * SECOND));
        assert_eq!(schedule.stopped_at(), Some(2 * SECOND));
    }
}
