//! Two runs of different times: what a run knows of its own chance is how its windows differ, and how many it counted.

use super::better;
use super::figures::NOT_RIGHT;
use crate::result::{Ratio, Run, Window, supports};

/// With fewer windows quartiles say little, and nothing is called better.
const LEAST_WINDOWS: usize = 8;
/// Standard deviations from a share to the ends of its interval: 95 % of all chances lie within.
const WITHIN: f64 = 1.96;

const RULE: &str = "the spread goes from the quartile of B's windows over the opposite one of A's to the other way round, and \
    one side counts as better if it leaves out 1 and both have at least 8 windows. Of requests not answered right the spread \
    is that of the counts, by chance. It knows only what changes within a run: what changes from run to run, --ab tells.";

/// Where the spread comes from, with how long the windows were.
pub(super) fn rule(a: &Run, b: &Run) -> String {
    let [a, b] = [a, b].map(|run| crate::report::seconds(longest(run)));
    let length = if a == b { format!("{a} s") } else { format!("{a} s and {b} s") };
    format!("A and B are medians over windows of {length}; {RULE}")
}

/// Seconds of a whole window.
fn longest(run: &Run) -> f64 {
    run.measured_windows().map(|window| window.seconds).fold(0.0, f64::max)
}

type OfWindow = fn(&Window) -> Option<f64>;

/// Figures that both have, with their spread.
pub(super) fn by_window(a: &Run, b: &Run) -> Vec<Ratio> {
    let rate: OfWindow = |window| (window.seconds > 0.0).then(|| window.ok as f64 / window.seconds);
    let tokens: OfWindow = |window| (window.seconds > 0.0).then(|| window.output_tokens as f64 / window.seconds);
    let figures: [(&str, &str, bool, OfWindow); 5] = [
        ("right answers", "/s", true, rate),
        ("latency p50", "ms", false, |window| window.p50),
        ("latency p90", "ms", false, |window| window.p90.filter(|_| supports(window.ok, 0.9))),
        ("latency p99", "ms", false, |window| window.p99.filter(|_| supports(window.ok, 0.99))),
        ("output tokens", "/s", true, tokens),
    ];
    let ratio = |(figure, unit, higher_is_better, value): (&str, &str, bool, OfWindow)| {
        let (a, b) = (Quartiles::of(a, value)?, Quartiles::of(b, value)?);
        // Nothing is a multiple of nothing. B's may be zero: that is a server that answers no more.
        if a.lower <= 0.0 {
            return None;
        }
        let (least, greatest) = (b.lower / a.upper, b.upper / a.lower);
        let enough = a.count.min(b.count) >= LEAST_WINDOWS;
        let better = better(least, greatest, higher_is_better).filter(|_| enough);
        let (figure, unit) = (figure.to_owned(), unit.to_owned());
        let (a, b) = (a.median, b.median);
        Some(Ratio { figure, unit, a, b, ratio: b / a, least, greatest, higher_is_better, better })
    };
    figures.into_iter().filter_map(ratio).chain(not_right(a, b)).collect()
}

/// The share that got no right answer, with the interval that chance leaves it in. None where nobody failed.
fn not_right(a: &Run, b: &Run) -> Option<Ratio> {
    if a.outcomes.failed() + b.outcomes.failed() == 0 {
        return None;
    }
    let (first, second) = (Share::failed(a)?, Share::failed(b)?);
    let (least, greatest) = (second.least / first.greatest, second.greatest / first.least);
    Some(Ratio {
        figure: NOT_RIGHT.to_owned(),
        unit: "%".to_owned(),
        a: first.share * 100.0,
        b: second.share * 100.0,
        ratio: second.middle / first.middle,
        least,
        greatest,
        higher_is_better: false,
        better: better(least, greatest, false),
    })
}

/// A share that was counted, and between what the true one lies: Wilson's interval.
struct Share {
    share: f64,
    least: f64,
    /// What ratios are taken of: half a failure is added, so that a run without one can be compared with a run with one.
    middle: f64,
    greatest: f64,
}

impl Share {
    fn failed(run: &Run) -> Option<Share> {
        let (failed, total) = (run.outcomes.failed() as f64, run.outcomes.total() as f64);
        if total <= 0.0 {
            return None;
        }
        let (count, z) = (total + 1.0, WITHIN * WITHIN);
        let middle = (failed + 0.5) / count;
        let half = WITHIN * (middle * (1.0 - middle) / count + z / (4.0 * count * count)).sqrt();
        let end = |to: f64| (middle + z / (2.0 * count) + to) / (1.0 + z / count);
        Some(Share { share: failed / total, least: end(-half), middle, greatest: end(half) })
    }
}

/// What A could do and B could not at all.
pub(super) fn lost(a: &Run, b: &Run) -> Vec<String> {
    let mut lost = Vec::new();
    match (a.outcomes.ok > 0, b.outcomes.ok > 0) {
        (true, false) => lost.push("B answered nothing right, and A did".to_owned()),
        (true, true) if a.streams.is_some() && b.streams.is_none() => {
            lost.push("B streamed no answer, and A did".to_owned());
        }
        _ => {}
    }
    lost
}

struct Quartiles {
    count: usize,
    lower: f64,
    median: f64,
    upper: f64,
}

impl Quartiles {
    /// Of the measured windows that have a value.
    fn of(run: &Run, value: OfWindow) -> Option<Quartiles> {
        let longest = longest(run);
        // The last window may be a stump, which says little.
        let whole = run.measured_windows().filter(|window| window.seconds >= 0.5 * longest);
        let mut values: Vec<f64> = whole.filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        let at = |q: f64| values.get(((values.len() as f64 * q).ceil() as usize).saturating_sub(1)).copied();
        let (lower, median, upper) = (at(0.25)?, at(0.5)?, at(0.75)?);
        Some(Quartiles { count: values.len(), lower, median, upper })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Comparison, files};
    use super::*;
    use crate::report::fixture;
    use crate::result::{Findings, Outcomes, Report, Side};

    fn with(run: Run) -> Report {
        Report { findings: Findings::Run { run: Box::new(run) }, ..fixture::streamed() }
    }

    fn of<'a>(comparison: &'a Comparison, figure: &str) -> &'a Ratio {
        comparison.ratios.iter().find(|ratio| ratio.figure == figure).unwrap()
    }

    #[test]
    fn a_run_like_another_is_neither_better_nor_worse() {
        let (a, b) = (with(fixture::run(200.0, 30, 10.0, 5.0, 1)), with(fixture::run(200.0, 30, 10.0, 5.0, 2)));
        let comparison = files(&a, &b).unwrap();
        assert!(comparison.ratios.len() >= 4, "{comparison:?}");
        for ratio in &comparison.ratios {
            assert_eq!(ratio.better, None, "{ratio:?}");
            assert!(ratio.least < 1.0 && ratio.greatest > 1.0, "{ratio:?}");
        }
        assert!(comparison.surely_worse(1.0).is_empty() && comparison.warnings.is_empty(), "{comparison:?}");
    }

    #[test]
    fn twice_as_slow_is_surely_worse_than_half_as_much_again_but_not_than_thrice() {
        let (a, b) = (with(fixture::run(200.0, 30, 10.0, 5.0, 1)), with(fixture::run(200.0, 30, 20.0, 10.0, 2)));
        let comparison = files(&a, &b).unwrap();
        assert_eq!(of(&comparison, "latency p50").better, Some(Side::A));
        let worse =
            |factor| comparison.surely_worse(factor).into_iter().map(|ratio| &*ratio.figure).collect::<Vec<_>>();
        assert!(worse(1.5).contains(&"latency p50") && !worse(1.5).contains(&"right answers"), "{:?}", worse(1.5));
        assert!(worse(3.0).is_empty());
        let back = files(&b, &a).unwrap();
        assert!(back.surely_worse(1.0).is_empty(), "what is better is not worse");
    }

    #[test]
    fn fewer_answers_are_surely_worse() {
        let (a, b) = (with(fixture::run(400.0, 30, 10.0, 5.0, 1)), with(fixture::run(100.0, 30, 10.0, 5.0, 1)));
        let comparison = files(&a, &b).unwrap();
        assert!(comparison.surely_worse(2.0).iter().any(|ratio| ratio.figure == "right answers"));
        assert!(comparison.incomparable.iter().any(|what| what.starts_with("the load differs")));
    }

    #[test]
    fn the_rule_says_how_long_the_windows_are() {
        let run = || fixture::run(200.0, 10, 10.0, 5.0, 1);
        let mut short = run();
        for window in &mut short.windows {
            (window.start, window.seconds) = (window.start / 4.0, 0.25);
        }
        (short.warmup.seconds, short.seconds) = (0.75, 2.5);
        assert!(rule(&run(), &run()).starts_with("A and B are medians over windows of 1 s; "));
        assert!(rule(&short, &run()).contains("windows of 0.25 s and 1 s; "), "{}", rule(&short, &run()));
    }

    #[test]
    fn a_few_windows_prove_nothing() {
        let (a, b) = (with(fixture::run(200.0, 5, 10.0, 5.0, 1)), with(fixture::run(200.0, 5, 40.0, 5.0, 2)));
        assert_eq!(of(&files(&a, &b).unwrap(), "latency p50").better, None);
    }

    /// A run whose server answers all requests with errors.
    fn dead(mut run: Run) -> Run {
        let errors = run.outcomes.total();
        run.outcomes = Outcomes { errors, ..Outcomes::default() };
        (run.rate, run.latency) = (0.0, crate::result::Distribution::default());
        for window in &mut run.windows {
            (window.failed, window.ok) = (window.ok + window.failed, 0);
            (window.p50, window.p90, window.p99, window.max) = (None, None, None, None);
        }
        run
    }

    #[test]
    fn a_server_that_answers_nothing_right_is_surely_worse() {
        let good = || fixture::run(200.0, 30, 10.0, 5.0, 1);
        let comparison = files(&with(good()), &with(dead(good()))).unwrap();
        let worse: Vec<&str> = comparison.surely_worse(2.0).iter().map(|ratio| &*ratio.figure).collect();
        assert_eq!(worse, ["right answers", "not answered right"]);
        assert_eq!(of(&comparison, "right answers").ratio, 0.0);
        assert_eq!(comparison.lost, ["B answered nothing right, and A did"]);
        // Few windows say nothing of rates, but failures are counted.
        let short = || fixture::run(200.0, 3, 10.0, 5.0, 1);
        let comparison = files(&with(short()), &with(dead(short()))).unwrap();
        assert_eq!(comparison.surely_worse(2.0).len(), 1, "{comparison:?}");
        // A dead baseline makes nothing worse.
        let comparison = files(&with(dead(good())), &with(good())).unwrap();
        assert!(comparison.surely_worse(1.0).is_empty() && comparison.lost.is_empty(), "{comparison:?}");
        assert_eq!(of(&comparison, "not answered right").better, Some(Side::B));
    }

    #[test]
    fn failures_are_told_apart_as_far_as_their_counts_do() {
        let failing = |ok, errors| {
            let mut run = fixture::run(200.0, 30, 10.0, 5.0, 1);
            run.outcomes = Outcomes { ok, errors, ..Outcomes::default() };
            with(run)
        };
        let better = |a: (u64, u64), b: (u64, u64)| {
            of(&files(&failing(a.0, a.1), &failing(b.0, b.1)).unwrap(), "not answered right").better
        };
        assert_eq!(better((1000, 0), (997, 3)), None, "three of a thousand are chance");
        assert_eq!(better((1000, 0), (900, 100)), Some(Side::A));
        assert_eq!(better((900, 100), (890, 110)), None);
        assert_eq!(better((90_000, 10_000), (89_000, 11_000)), Some(Side::A), "of many a tenth is not");
        let none = files(&failing(1000, 0), &failing(1000, 0)).unwrap();
        assert!(none.ratios.iter().all(|ratio| ratio.figure != "not answered right"));
    }

    #[test]
    fn the_wait_for_the_last_answers_is_no_part_of_the_load() {
        let run = fixture::run(200.0, 10, 10.0, 5.0, 1);
        let mut waited = run.clone();
        let start = run.warmup.seconds + run.seconds;
        // Longer than it measured, with hardly an answer.
        let late = |index| Window { start: start + f64::from(index), seconds: 1.0, ok: 1, ..Window::default() };
        waited.windows.extend((0..30).map(late));
        let comparison = files(&with(run), &with(waited)).unwrap();
        assert_eq!(of(&comparison, "right answers").ratio, 1.0);
    }

    #[test]
    fn quantiles_of_windows_that_stand_on_few_values_are_not_compared() {
        let names = |rate| {
            let run = || with(fixture::run(rate, 20, 10.0, 5.0, 1));
            files(&run(), &run()).unwrap().ratios.into_iter().map(|ratio| ratio.figure).collect::<Vec<_>>()
        };
        assert!(!names(200.0).contains(&"latency p99".to_owned()) && names(200.0).contains(&"latency p90".to_owned()));
        assert!(names(2000.0).contains(&"latency p99".to_owned()));
        assert!(!names(50.0).contains(&"latency p90".to_owned()));
    }
}
