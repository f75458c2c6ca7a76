//! Whether a server has warmed up: rate and median latency of its last windows agree.
//!
//! Only ever the start of a run is judged. What comes after counts, whatever it looks like.

use std::collections::VecDeque;

/// Windows that must agree.
const WINDOWS: usize = 3;
/// By how much of their mean the rates may differ.
const RATE: f64 = 0.10;
/// By how much of the least the medians may differ.
const MEDIAN: f64 = 0.20;
/// Counts as small as these differ by chance: a Poisson count's standard deviation is its root, and the range of three
/// is hardly ever above three of it.
const CHANCE: f64 = 3.0;

/// What of a window is judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Seen {
    /// Requests that were due in it. None in a closed loop, where that follows from the answers.
    pub due: Option<u64>,
    /// Requests that ended in it, however they did: a server that sheds steadily is steady.
    pub ended: u64,
    /// Median latency of right answers, in milliseconds.
    pub p50: Option<f64>,
}

/// Watches windows go by.
#[derive(Clone, Debug, Default)]
pub struct Steady {
    last: VecDeque<Seen>,
}

impl Steady {
    /// Takes the next window, and says whether it and those before it agree.
    pub fn push(&mut self, window: Seen) -> bool {
        if self.last.len() == WINDOWS {
            self.last.pop_front();
        }
        self.last.push_back(window);
        self.last.len() == WINDOWS && self.rates_agree() && self.medians_agree()
    }

    /// In an open loop what is answered must keep up with what is due; in a closed one it must not change.
    fn rates_agree(&self) -> bool {
        let ended = self.last.iter().map(|seen| seen.ended as f64);
        let mean = ended.clone().sum::<f64>() / WINDOWS as f64;
        if mean == 0.0 {
            return false;
        }
        let keeps_up = self.last.iter().all(|seen| {
            seen.due.is_none_or(|due| {
                let due = due as f64;
                (due - seen.ended as f64).abs() <= tolerance(due)
            })
        });
        // The rate that is due may change by plan, as in a ramp.
        let is_open = self.last.iter().all(|seen| seen.due.is_some());
        let range = ended.clone().fold(0.0, f64::max) - ended.fold(f64::INFINITY, f64::min);
        keeps_up && (is_open || range <= tolerance(mean))
    }

    fn medians_agree(&self) -> bool {
        let medians: Vec<f64> = self.last.iter().filter_map(|seen| seen.p50).collect();
        match medians.len() {
            // Nothing is answered right, and that steadily.
            0 => true,
            WINDOWS => {
                let least = medians.iter().copied().fold(f64::INFINITY, f64::min);
                let most = medians.iter().copied().fold(0.0, f64::max);
                most - least <= MEDIAN * least
            }
            _ => false,
        }
    }
}

fn tolerance(count: f64) -> f64 {
    (RATE * count).max(CHANCE * count.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(due: u64, ended: u64, p50: f64) -> Seen {
        Seen { due: Some(due), ended, p50: Some(p50) }
    }

    fn closed(ended: u64, p50: f64) -> Seen {
        Seen { due: None, ended, p50: Some(p50) }
    }

    /// After which window they agreed, counted from one.
    fn steady_after(windows: &[Seen]) -> Option<usize> {
        let mut steady = Steady::default();
        windows.iter().position(|window| steady.push(*window)).map(|index| index + 1)
    }

    #[test]
    fn three_windows_that_agree_are_steady() {
        assert_eq!(steady_after(&[open(10_000, 9_990, 5.0); 3]), Some(3));
        assert_eq!(steady_after(&[open(10_000, 9_990, 5.0); 2]), None);
        assert_eq!(steady_after(&[closed(10_000, 5.0), closed(10_900, 5.5), closed(10_400, 5.9)]), Some(3));
    }

    #[test]
    fn a_start_that_is_slow_is_waited_out() {
        let windows = [open(9_000, 1_000, 400.0), open(9_000, 12_000, 90.0), open(9_000, 9_100, 6.0)];
        let then = [open(9_000, 9_000, 5.1), open(9_000, 9_050, 5.0)];
        assert_eq!(steady_after(&[&windows[..], &then[..]].concat()), Some(5));
    }

    #[test]
    fn rates_and_medians_must_both_agree() {
        assert_eq!(steady_after(&[open(10_000, 8_900, 5.0); 6]), None, "answers fall behind what is due");
        assert_eq!(steady_after(&[closed(10_000, 5.0), closed(10_000, 5.0), closed(11_500, 5.0)]), None);
        assert_eq!(
            steady_after(&[open(10_000, 10_000, 5.0), open(10_000, 10_000, 6.1), open(10_000, 10_000, 5.0)]),
            None
        );
    }

    #[test]
    fn few_requests_may_differ_by_chance() {
        assert_eq!(steady_after(&[open(9, 7, 5.0), open(12, 13, 5.0), open(8, 9, 5.0)]), Some(3));
        assert_eq!(steady_after(&[closed(100, 5.0), closed(120, 5.0), closed(105, 5.0)]), Some(3));
    }

    #[test]
    fn a_ramp_is_steady_if_it_is_kept_up_with() {
        assert_eq!(steady_after(&[open(1_000, 990, 5.0), open(2_000, 1_990, 5.0), open(3_000, 2_990, 5.0)]), Some(3));
    }

    #[test]
    fn failing_is_steady_too_but_silence_is_not() {
        let shed = Seen { due: Some(100), ended: 100, p50: None };
        assert_eq!(steady_after(&[shed; 3]), Some(3));
        assert_eq!(steady_after(&[open(100, 100, 5.0), shed, open(100, 100, 5.0)]), None);
        assert_eq!(steady_after(&[Seen { due: None, ended: 0, p50: None }; 5]), None);
    }
}
