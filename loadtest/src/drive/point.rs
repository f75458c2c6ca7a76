//! What a run says to the search.

use crate::result::{Run, Window};
use crate::search::Point;

/// What was due in the measured time, and what ended in as long a stretch of time.
///
/// The stretch is the one in which most ended, of those that begin with the measured time or later. A server that takes
/// two seconds for each answer ends as many as are due, two seconds later; one whose queue grows ends as many as it can,
/// whenever one looks. The run's own outcomes can't tell them apart, as they hold what ended after the load did.
pub(super) fn point(rate: f64, run: &Run) -> Point {
    let p50 = run.latency.at(0.5);
    let (due, ended, answered) = (run.due as f64, run.outcomes.total() as f64, run.outcomes.ok as f64);
    let count = run.measured_windows().count();
    let Some(first) = run.measured_windows().next().map(|window| window.start) else {
        // Shorter than a window: the run's own counts are all there is.
        return Point { rate, due, ended, answered, seconds: run.seconds, p50 };
    };
    let from_there: Vec<&Window> = run.windows.iter().filter(|window| window.start >= first).collect();
    let seconds: f64 = run.measured_windows().map(|window| window.seconds).sum();
    // A load tester that falls behind counts requests as due when it gets to them. The run knows when they were.
    let due = (run.measured_windows().map(|window| window.due).sum::<u64>() as f64).max(run.due_rate * seconds);
    let most = |of: fn(&Window) -> u64| {
        let rate = |stretch: &[&Window]| {
            let time: f64 = stretch.iter().map(|window| window.seconds).sum();
            stretch.iter().map(|window| of(window)).sum::<u64>() as f64 / time
        };
        (from_there.windows(count).map(rate).fold(0.0, f64::max) * seconds).min(due)
    };
    let (ended, answered) = (most(|window| window.ok + window.shed + window.failed), most(|window| window.ok));
    Point { rate, due, ended, answered, seconds, p50 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Warmup;

    /// Half-second windows with what was due and what was answered; the first `warmup` of them are not measured.
    fn run(warmup: usize, due: &[u64], ok: &[u64]) -> Run {
        let windows: Vec<Window> = (0..due.len().max(ok.len()))
            .map(|index| Window {
                start: index as f64 / 2.0,
                seconds: 0.5,
                warmup: index < warmup,
                due: due.get(index).copied().unwrap_or_default(),
                ok: ok.get(index).copied().unwrap_or_default(),
                ..Window::default()
            })
            .collect();
        let seconds = (due.len() - warmup) as f64 / 2.0;
        let due: u64 = due[warmup..].iter().sum();
        Run {
            warmup: Warmup { seconds: warmup as f64 / 2.0, steady: None },
            seconds,
            due,
            due_rate: due as f64 / seconds,
            windows,
            ..Run::default()
        }
    }

    #[test]
    fn answers_that_take_long_are_none_that_are_missing() {
        // Each takes a second and a half, and the warm-up half of one.
        let late = point(20.0, &run(1, &[10; 5], &[0, 0, 0, 10, 10, 10, 10, 10]));
        assert_eq!((late.due, late.ended, late.answered, late.seconds), (40.0, 40.0, 40.0, 2.0));
    }

    #[test]
    fn answers_of_a_queue_that_grows_are_missing_whenever_one_looks() {
        // It answers 6 in each half second, until the last.
        let full = point(20.0, &run(1, &[10; 5], &[6, 6, 6, 6, 6, 6, 6, 6, 2]));
        assert_eq!((full.due, full.answered), (40.0, 24.0));
    }

    #[test]
    fn what_the_load_tester_was_late_to_count_was_due() {
        let mut late = run(1, &[10; 5], &[10; 5]);
        late.due_rate = 40.0;
        assert_eq!((point(40.0, &late).due, point(40.0, &late).ended), (80.0, 40.0));
    }
}
