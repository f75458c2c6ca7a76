//! Which rate to try next, purely: the highest that meets an objective, and the knee.
//!
//! A [`Search`] doubles the rate until the objective is missed, then halves the bracket between the highest rate that met
//! it and the lowest that missed it (on a logarithmic scale) until it is narrow. The rate that won is tried a second
//! time: only one that meets the objective twice counts, as one run of luck is no proof. What [`saturated`] says stands
//! in for an objective that wasn't given. Beside one that was stands only [`falls_behind`]: a rate that the server can't
//! keep up with is never met, however good the first seconds looked. The [`knee`] is found from all points together.
//!
//! A load tester at its own limit adds to latency and sends late, so it can make a rate miss its objective, but not meet
//! it. Where it was at its limit when the rate was missed, the search says that the server may not have been the limit.

mod knee;
mod saturation;

pub use self::knee::knee;
pub use self::saturation::{Light, answers_are_missing, falls_behind, saturated};

/// The rate is multiplied by this while the objective is met.
const GROWTH: f64 = 2.0;
/// And divided by this while nothing has met it: who begins far too high wants to get down fast.
const RETREAT: f64 = 4.0;
/// Second tries at most. Each that fails lowers the rate.
const CONFIRMATIONS: usize = 3;

/// How far a search goes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// No lower rate is tried, and no higher one.
    pub floor: f64,
    pub cap: f64,
    /// Runs in all, second tries included; two at least.
    pub most_points: usize,
    /// The bracket is narrow when its ends differ by no more than this share.
    pub gap: f64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { floor: 0.01, cap: 10e6, most_points: 14, gap: 0.05 }
    }
}

/// What a sweep's point says to search and knee.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The rate aimed at.
    pub rate: f64,
    /// Requests that were due in so many seconds.
    pub due: f64,
    /// Requests that ended in as long a time, and those of them that were answered right.
    pub ended: f64,
    pub answered: f64,
    pub seconds: f64,
    /// The median latency in milliseconds; none without a right answer.
    pub p50: Option<f64>,
}

impl Point {
    /// Right answers a second.
    pub fn answered_rate(&self) -> f64 {
        self.answered / self.seconds
    }
}

/// What became of a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    pub rate: f64,
    /// Whether the objective was met.
    pub met: bool,
    /// Whether the load tester was at its own limit.
    pub tester_limited: bool,
}

/// The search for the highest rate that meets an objective. It holds no clock and starts nothing.
#[derive(Clone, Debug)]
pub struct Search {
    start: f64,
    limits: Limits,
    seen: Vec<Verdict>,
    /// Rates that met the objective and are not yet refuted, rising.
    met: Vec<f64>,
    /// The lowest that missed it.
    failed: Option<f64>,
    confirmed: Option<f64>,
    second_tries: usize,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Explore(f64),
    Confirm(f64),
    Done,
}

impl Search {
    pub fn new(start: f64, limits: Limits) -> Search {
        let Limits { floor, cap, most_points, .. } = limits;
        let limits = Limits { floor: floor.min(cap), most_points: most_points.max(2), ..limits };
        let start = start.clamp(limits.floor, limits.cap);
        Search { start, limits, seen: Vec::new(), met: Vec::new(), failed: None, confirmed: None, second_tries: 0 }
    }

    /// The rate to try; none when the search is over.
    pub fn next_rate(&self) -> Option<f64> {
        match self.step() {
            Step::Explore(rate) | Step::Confirm(rate) => Some(rate),
            Step::Done => None,
        }
    }

    /// Takes what became of the rate that [`next_rate`](Search::next_rate) said. After the end it changes nothing.
    pub fn seen(&mut self, verdict: Verdict) {
        let (rate, second_try) = match self.step() {
            Step::Explore(rate) => (rate, false),
            Step::Confirm(rate) => (rate, true),
            Step::Done => return,
        };
        self.seen.push(Verdict { rate, ..verdict });
        self.second_tries += usize::from(second_try);
        match (verdict.met, second_try) {
            (true, true) => self.confirmed = Some(rate),
            (true, false) => self.met.push(rate),
            (false, _) => {
                self.failed = Some(rate);
                // A second try that failed refutes the first, and lets those below it stand.
                self.met.retain(|met| *met < rate);
            }
        }
    }

    /// The highest rate that met the objective twice.
    pub fn best(&self) -> Option<f64> {
        self.confirmed
    }

    /// The lowest rate that missed it.
    pub fn failed(&self) -> Option<f64> {
        self.failed
    }

    fn step(&self) -> Step {
        let Limits { floor, cap, most_points, gap } = self.limits;
        if self.confirmed.is_some() || self.seen.len() >= most_points {
            return Step::Done;
        }
        // Each kind of try has its share of the points, so that exploring leaves some to confirm with.
        let confirmations = CONFIRMATIONS.min(most_points / 3).max(1);
        let may_explore = self.seen.len() - self.second_tries + confirmations < most_points;
        let explore = match (self.met.last(), self.failed) {
            (None, None) => Some(self.start),
            (None, Some(failed)) => (failed > floor).then(|| (failed / RETREAT).max(floor)),
            (Some(met), None) => (*met < cap).then(|| (met * GROWTH).min(cap)),
            (Some(met), Some(failed)) => (failed / met > 1.0 + gap).then(|| (met * failed).sqrt()),
        };
        match (explore, self.met.last()) {
            (Some(rate), _) if may_explore => Step::Explore(rate),
            (_, Some(met)) if self.second_tries < confirmations => Step::Confirm(*met),
            _ => Step::Done,
        }
    }

    fn limited_at(&self, rate: f64) -> bool {
        self.seen.iter().any(|verdict| verdict.rate == rate && verdict.tester_limited)
    }

    /// Why the search ended, in words.
    pub fn ended(&self) -> String {
        let rate = |rate: f64| format!("{}/s", rounded(rate));
        match (self.confirmed, self.failed) {
            _ if self.next_rate().is_some() => "it was stopped before it was done".to_owned(),
            (Some(best), None) if best >= self.limits.cap => format!("met at {}, the highest rate allowed", rate(best)),
            (Some(best), None) => format!("met at {}; no points were left to go higher", rate(best)),
            (Some(best), Some(failed)) => {
                format!("met at {}, twice, and missed at {}{}", rate(best), rate(failed), self.reservation(failed))
            }
            (None, Some(failed)) if self.second_tries > 0 => {
                format!("met at no rate twice; missed at {}{}", rate(failed), self.reservation(failed))
            }
            (None, Some(failed)) => format!("met at no rate, down to {}{}", rate(failed), self.reservation(failed)),
            (None, None) => "nothing was measured".to_owned(),
        }
    }

    fn reservation(&self, failed: f64) -> &'static str {
        if self.limited_at(failed) { ", where the load tester, not the server, may have been the limit" } else { "" }
    }
}

/// Three significant digits, as nobody can tell rates apart any finer.
pub(crate) fn rounded(rate: f64) -> String {
    let before = if rate < 1.0 { 1 } else { rate.log10() as usize + 1 };
    format!("{rate:.*}", 3usize.saturating_sub(before))
}

#[cfg(test)]
mod tests;
