//! Two results of different times.

use super::figures::{FIGURES, NOT_RIGHT};
use super::windows::{self, by_window};
use super::{Comparison, Single, better};
use crate::Result;
use crate::result::{Ab, Findings, Ratio, Report, Run, Sweep};
use crate::search::rounded;

const SWEEP_RULE: &str = "The highest rate that meets the objective lies between the best rate that was shown to and the \
    lowest that was shown not to; the spread is between the ends of these.";

const RATIOS_RULE: &str = "Here A and B are two A/B runs, and each figure is how much B differed from A in one of them. The \
    spread goes from the least ratio of the second over the greatest of the first to the other way round; one counts as \
    better if that leaves out 1 and both have at least 3 rounds.";

/// Compares two results of the same kind.
///
/// # Errors
/// If one is a run and the other a sweep, say: they have no figures in common.
pub fn files(a: &Report, b: &Report) -> Result<Comparison> {
    let (incomparable, warnings) = (incomparable(a, b), warnings(a, b));
    let mut comparison = Comparison { a: what(a), b: what(b), incomparable, warnings, ..Comparison::default() };
    match (&a.findings, &b.findings) {
        (Findings::Run { run: a }, Findings::Run { run: b }) => {
            comparison.ratios = by_window(a, b);
            comparison.single = once(a, b);
            comparison.lost = windows::lost(a, b);
            comparison.rule = windows::rule(a, b);
        }
        (Findings::Sweep { sweep: a }, Findings::Sweep { sweep: b }) => {
            (comparison.ratios, comparison.single) = sweeps(a, b);
            if let (Some(best), None) = (a.best_rate, b.best_rate) {
                comparison.lost = vec![format!("B met the objective at no rate, and A up to {}/s", rounded(best))];
            }
            comparison.rule = SWEEP_RULE.to_owned();
        }
        (Findings::Ab { ab: a }, Findings::Ab { ab: b }) => {
            comparison.ratios = of_ratios(a, b);
            comparison.lost = lost_ratios(a, b);
            comparison.rule = RATIOS_RULE.to_owned();
        }
        (a, b) => {
            let (a, b) = (kind(a), kind(b));
            return Err(crate::error(format!("{a} can't be compared with {b}: give two results of the same kind")));
        }
    }
    Ok(comparison)
}

fn kind(findings: &Findings) -> &'static str {
    match findings {
        Findings::Run { .. } => "a run",
        Findings::Sweep { .. } => "a sweep",
        Findings::Ab { .. } => "an A/B run",
    }
}

fn what(report: &Report) -> String {
    let model = report.workload.model.as_deref().map_or_else(String::new, |model| format!(", {model}"));
    format!("{}{model}, {}", report.target, report.started)
}

/// That they differ in something, if they do.
fn difference(what: &str, a: &str, b: &str) -> Option<String> {
    (a != b).then(|| format!("{what} differs: {a} against {b}"))
}

/// In what the load differs.
fn incomparable(a: &Report, b: &Report) -> Vec<String> {
    let mut apart = Vec::new();
    let mut differ = |what: &str, a: String, b: String| apart.extend(difference(what, &a, &b));
    differ("the protocol", a.workload.protocol.to_string(), b.workload.protocol.to_string());
    differ("what is asked", a.workload.what.clone(), b.workload.what.clone());
    let streamed = |report: &Report| if report.workload.streams { "streamed" } else { "whole" }.to_owned();
    differ("the way of answering", streamed(a), streamed(b));
    match (&a.findings, &b.findings) {
        (Findings::Run { run: a }, Findings::Run { run: b }) => {
            differ("the load", a.load.what.clone(), b.load.what.clone());
        }
        (Findings::Ab { ab: a }, Findings::Ab { ab: b }) => {
            if let (Some(a), Some(b)) = (a.a.first(), b.a.first()) {
                differ("the load", a.load.what.clone(), b.load.what.clone());
            }
        }
        // The objective decides which rates a sweep finds.
        (Findings::Sweep { .. }, Findings::Sweep { .. }) => differ("the objective", objective(a), objective(b)),
        _ => {}
    }
    apart
}

fn objective(report: &Report) -> String {
    report.slo.clone().unwrap_or_else(|| "none".to_owned())
}

/// What else the two differ in besides the server.
fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut differ = |what: &str, a: String, b: String| warnings.extend(difference(what, &a, &b));
    if !matches!(a.findings, Findings::Sweep { .. }) {
        differ("the objective", objective(a), objective(b));
    }
    for field in ["cpu", "cores"] {
        let value =
            |report: &Report| report.machine.get(field).map_or_else(|| "unknown".to_owned(), ToString::to_string);
        differ(&format!("the load tester's machine ({field})"), value(a), value(b));
    }
    differ("the version", a.version.clone(), b.version.clone());
    for (name, report) in [("A", a), ("B", b)] {
        if !crate::report::limits(report).is_empty() {
            warnings.push(format!("the load tester was at its own limit in {name}"));
        }
    }
    warnings
}

/// Figures of the whole runs.
fn once(a: &Run, b: &Run) -> Vec<Single> {
    let single = |figure: &super::figures::Figure| {
        let (value, compared) = (figure.value, figure.compared);
        let (first, second) = (value(a)?, value(b)?);
        (first > 0.0 || second > 0.0).then_some(())?;
        let (figure, unit) = (figure.name.to_owned(), figure.unit.to_owned());
        let ratio = compared(b)? / compared(a)?;
        ratio.is_finite().then_some(Single { figure, unit, a: first, b: second, ratio })
    };
    // Whose spread is known from its count.
    FIGURES.iter().filter(|figure| figure.name != NOT_RIGHT).filter_map(single).collect()
}

fn sweeps(a: &Sweep, b: &Sweep) -> (Vec<Ratio>, Vec<Single>) {
    let mut ratios = Vec::new();
    let mut singles = Vec::new();
    let mut single = |figure: &str, a: Option<f64>, b: Option<f64>| {
        if let (Some(a), Some(b)) = (a, b) {
            singles.push(Single { figure: figure.to_owned(), unit: "/s".to_owned(), a, b, ratio: b / a });
        }
    };
    match (a.best_rate, b.best_rate.zip(b.failed_rate)) {
        (Some(best), Some((b, b_failed))) => {
            // Where A missed at no rate, nobody knows how much more it could do: only the other end is known.
            let least = a.failed_rate.map_or(0.0, |failed| b / failed);
            let (a, greatest) = (best, b_failed / best);
            let (figure, unit) = ("highest rate that meets the objective".to_owned(), "/s".to_owned());
            let better = better(least, greatest, true);
            ratios.push(Ratio { figure, unit, a, b, ratio: b / a, least, greatest, higher_is_better: true, better });
        }
        _ => single("highest rate that meets the objective", a.best_rate, b.best_rate),
    }
    let most = |sweep: &Sweep| sweep.points.iter().map(|point| point.run.rate).reduce(f64::max);
    single("knee", a.knee_rate, b.knee_rate);
    single("most right answers", most(a), most(b));
    (ratios, singles)
}

/// How much the ratio of B to A changed from one A/B run to the other.
fn of_ratios(a: &Ab, b: &Ab) -> Vec<Ratio> {
    let pair = |first: &Ratio| {
        let second = b.ratios.iter().find(|second| second.figure == first.figure)?;
        let (least, greatest) = (second.least / first.greatest, second.greatest / first.least);
        let enough = a.a.len().min(b.a.len()) >= 3;
        // A ratio of zero is that to a server that answered nothing.
        if first.least <= 0.0 {
            return None;
        }
        Some(Ratio {
            figure: format!("B / A of {}", first.figure),
            unit: String::new(),
            a: first.ratio,
            b: second.ratio,
            ratio: second.ratio / first.ratio,
            least,
            greatest,
            higher_is_better: first.higher_is_better,
            better: better(least, greatest, first.higher_is_better).filter(|_| enough),
        })
    };
    a.ratios.iter().filter_map(pair).collect()
}

/// Sides that answered in the first A/B run, and not in the second.
fn lost_ratios(a: &Ab, b: &Ab) -> Vec<String> {
    let answers = |runs: &[Run]| runs.iter().any(|run| run.outcomes.ok > 0);
    let sides = [("A", &a.a, &b.a), ("B", &a.b, &b.b)];
    let lost = sides.into_iter().filter(|(_, first, second)| answers(first) && !answers(second));
    lost.map(|(side, ..)| format!("{side} of the second A/B run answered nothing right, and that of the first did"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::result::Side;

    #[test]
    fn sweeps_are_compared_by_the_rates_between_which_the_answer_lies() {
        let (a, mut b) = (fixture::sweep(), fixture::sweep());
        let same = files(&a, &b).unwrap();
        let ratio = &same.ratios[0];
        assert!(ratio.better.is_none() && ratio.least < 1.0 && ratio.greatest > 1.0, "{ratio:?}");
        if let Findings::Sweep { sweep } = &mut b.findings {
            (sweep.best_rate, sweep.failed_rate) = (Some(300.0), Some(320.0));
        }
        assert_eq!(files(&a, &b).unwrap().ratios[0].better, Some(Side::A));
        assert!(!files(&a, &b).unwrap().surely_worse(2.0).is_empty());
        // A that missed at no rate can only be better still.
        let mut unbounded = a.clone();
        if let Findings::Sweep { sweep } = &mut unbounded.findings {
            sweep.failed_rate = None;
        }
        let ratio = files(&unbounded, &b).unwrap().ratios.remove(0);
        assert_eq!((ratio.least, ratio.better), (0.0, Some(Side::A)));
    }

    #[test]
    fn a_sweep_that_met_nothing_is_worse_than_one_that_did() {
        let (a, mut b) = (fixture::sweep(), fixture::sweep());
        if let Findings::Sweep { sweep } = &mut b.findings {
            sweep.best_rate = None;
        }
        let comparison = files(&a, &b).unwrap();
        assert_eq!(comparison.lost, ["B met the objective at no rate, and A up to 760/s"]);
        assert!(files(&b, &a).unwrap().lost.is_empty());
    }

    #[test]
    fn two_ab_runs_are_compared_by_a_rule_of_their_own() {
        let (a, mut b) = (fixture::ab(), fixture::ab());
        let comparison = files(&a, &b).unwrap();
        assert!(comparison.rule.contains("two A/B runs"), "{}", comparison.rule);
        assert!(comparison.lost.is_empty() && comparison.ratios.iter().all(|ratio| ratio.better.is_none()));
        if let Findings::Ab { ab } = &mut b.findings {
            ab.b.iter_mut().for_each(|run| *run = Run::default());
            ab.ratios = crate::compare::pairs(&ab.a, &ab.b);
        }
        let comparison = files(&a, &b).unwrap();
        assert_eq!(comparison.lost.len(), 1, "{comparison:?}");
        let rate = comparison.ratios.iter().find(|ratio| ratio.figure == "B / A of right answers").unwrap();
        assert_eq!((rate.b, rate.better), (0.0, Some(Side::A)));
    }

    #[test]
    fn what_differs_besides_the_server_is_told() {
        let (a, mut b) = (fixture::streamed(), fixture::streamed());
        b.workload.protocol = crate::request::Protocol::V2;
        b.machine["cores"] = 64.into();
        let comparison = files(&a, &b).unwrap();
        assert_eq!(comparison.incomparable, ["the protocol differs: chat against v2"]);
        assert_eq!(comparison.warnings, ["the load tester's machine (cores) differs: 8 against 64"]);
        let (a, mut b) = (fixture::sweep(), fixture::sweep());
        b.slo = Some("p99<1s".to_owned());
        assert_eq!(files(&a, &b).unwrap().incomparable.len(), 1, "a sweep finds what its objective asks for");
        let (a, mut b) = (fixture::ab(), fixture::ab());
        b.slo = None;
        let comparison = files(&a, &b).unwrap();
        assert_eq!((comparison.incomparable.len(), comparison.warnings.len()), (0, 1));
    }

    #[test]
    fn kinds_that_share_nothing_are_refused() {
        let error = files(&fixture::streamed(), &fixture::sweep()).unwrap_err().to_string();
        assert_eq!(error, "a run can't be compared with a sweep: give two results of the same kind");
        assert!(!files(&fixture::ab(), &fixture::ab()).unwrap().ratios.is_empty());
    }
}
