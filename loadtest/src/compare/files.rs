//! Two results of different times.

use super::figures::FIGURES;
use super::{Comparison, PAIRS_RULE, Single, better};
use crate::Result;
use crate::result::{Ab, Findings, Ratio, Report, Run, Sweep, Window};

/// With fewer windows quartiles say little, and nothing is called better.
const LEAST_WINDOWS: usize = 8;

const WINDOWS_RULE: &str = "A and B are medians over windows of about a second; the spread goes from the quartile of B's \
    windows over the opposite one of A's to the other way round, and one side counts as better if it leaves out 1 and both have at least 8 windows. It knows \
    only what changes within a run: what changes from run to run, --ab tells.";

const SWEEP_RULE: &str = "The highest rate that meets the objective lies between the best rate that was shown to and the \
    lowest that was shown not to; the spread is between the ends of these.";

/// Compares two results of the same kind.
///
/// # Errors
/// If one is a run and the other a sweep, say: they have no figures in common.
pub fn files(a: &Report, b: &Report) -> Result<Comparison> {
    let mut comparison = Comparison { a: what(a), b: what(b), warnings: warnings(a, b), ..Comparison::default() };
    match (&a.findings, &b.findings) {
        (Findings::Run { run: a }, Findings::Run { run: b }) => {
            comparison.ratios = by_window(a, b);
            comparison.single = once(a, b);
            comparison.rule = WINDOWS_RULE;
        }
        (Findings::Sweep { sweep: a }, Findings::Sweep { sweep: b }) => {
            (comparison.ratios, comparison.single) = sweeps(a, b);
            comparison.rule = SWEEP_RULE;
        }
        (Findings::Ab { ab: a }, Findings::Ab { ab: b }) => {
            comparison.ratios = of_ratios(a, b);
            comparison.rule = PAIRS_RULE;
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

/// What the two differ in besides the server.
fn warnings(a: &Report, b: &Report) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut differ = |what: &str, a: String, b: String| {
        if a != b {
            warnings.push(format!("{what} differs: {a} against {b}"));
        }
    };
    differ("the protocol", a.workload.protocol.to_string(), b.workload.protocol.to_string());
    differ("what is asked", a.workload.what.clone(), b.workload.what.clone());
    let streamed = |report: &Report| if report.workload.streams { "streamed" } else { "whole" }.to_owned();
    differ("the way of answering", streamed(a), streamed(b));
    let slo = |report: &Report| report.slo.clone().unwrap_or_else(|| "none".to_owned());
    differ("the objective", slo(a), slo(b));
    for field in ["cpu", "cores"] {
        let value =
            |report: &Report| report.machine.get(field).map_or_else(|| "unknown".to_owned(), ToString::to_string);
        differ(&format!("the load tester's machine ({field})"), value(a), value(b));
    }
    differ("the version", a.version.clone(), b.version.clone());
    if let (Findings::Run { run: a }, Findings::Run { run: b }) = (&a.findings, &b.findings) {
        differ("the load", a.load.what.clone(), b.load.what.clone());
    }
    for (name, report) in [("A", a), ("B", b)] {
        if !crate::report::limits(report).is_empty() {
            warnings.push(format!("the load tester was at its own limit in {name}"));
        }
    }
    warnings
}

type OfWindow = fn(&Window) -> Option<f64>;

fn by_window(a: &Run, b: &Run) -> Vec<Ratio> {
    let rate: OfWindow = |window| (window.seconds > 0.0).then(|| window.ok as f64 / window.seconds);
    let tokens: OfWindow = |window| (window.seconds > 0.0).then(|| window.output_tokens as f64 / window.seconds);
    let figures: [(&str, &str, bool, OfWindow); 5] = [
        ("right answers", "/s", true, rate),
        ("latency p50", "ms", false, |window| window.p50),
        ("latency p90", "ms", false, |window| window.p90),
        ("latency p99", "ms", false, |window| window.p99),
        ("output tokens", "/s", true, tokens),
    ];
    let ratio = |(figure, unit, higher_is_better, value): (&str, &str, bool, OfWindow)| {
        let (a, b) = (Quartiles::of(a, value)?, Quartiles::of(b, value)?);
        let (least, greatest) = (b.lower / a.upper, b.upper / a.lower);
        let enough = a.count.min(b.count) >= LEAST_WINDOWS;
        let better = better(least, greatest, higher_is_better).filter(|_| enough);
        let (figure, unit) = (figure.to_owned(), unit.to_owned());
        let (a, b) = (a.median, b.median);
        Some(Ratio { figure, unit, a, b, ratio: b / a, least, greatest, higher_is_better, better })
    };
    figures.into_iter().filter_map(ratio).collect()
}

struct Quartiles {
    count: usize,
    lower: f64,
    median: f64,
    upper: f64,
}

impl Quartiles {
    /// Of the measured windows that have a value. None if a quartile is zero, of which there are no ratios.
    fn of(run: &Run, value: OfWindow) -> Option<Quartiles> {
        let longest = run.windows.iter().map(|window| window.seconds).fold(0.0, f64::max);
        // The last window may be a stump, which says little.
        let whole = run.windows.iter().filter(|window| !window.warmup && window.seconds >= 0.5 * longest);
        let mut values: Vec<f64> = whole.filter_map(value).collect();
        values.sort_by(f64::total_cmp);
        let at = |q: f64| values.get(((values.len() as f64 * q).ceil() as usize).saturating_sub(1)).copied();
        let (lower, median, upper) = (at(0.25)?, at(0.5)?, at(0.75)?);
        (lower > 0.0).then_some(Quartiles { count: values.len(), lower, median, upper })
    }
}

/// Figures of the whole runs.
fn once(a: &Run, b: &Run) -> Vec<Single> {
    let single = |figure: &super::figures::Figure| {
        let (value, compared) = (figure.value, figure.compared);
        let (first, second) = (value(a)?, value(b)?);
        (first > 0.0 || second > 0.0).then_some(())?;
        let (figure, unit) = (figure.name.to_owned(), figure.unit.to_owned());
        Some(Single { figure, unit, a: first, b: second, ratio: compared(b)? / compared(a)? })
    };
    FIGURES.iter().filter_map(single).collect()
}

fn sweeps(a: &Sweep, b: &Sweep) -> (Vec<Ratio>, Vec<Single>) {
    let mut ratios = Vec::new();
    let mut singles = Vec::new();
    let mut single = |figure: &str, a: Option<f64>, b: Option<f64>| {
        if let (Some(a), Some(b)) = (a, b) {
            singles.push(Single { figure: figure.to_owned(), unit: "/s".to_owned(), a, b, ratio: b / a });
        }
    };
    match (a.best_rate.zip(a.failed_rate), b.best_rate.zip(b.failed_rate)) {
        (Some((a, a_failed)), Some((b, b_failed))) => {
            let (least, greatest) = (b / a_failed, b_failed / a);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::result::Side;

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
        assert!(comparison.warnings.iter().any(|warning| warning.starts_with("the load differs")));
    }

    #[test]
    fn a_few_windows_prove_nothing() {
        let (a, b) = (with(fixture::run(200.0, 5, 10.0, 5.0, 1)), with(fixture::run(200.0, 5, 40.0, 5.0, 2)));
        assert_eq!(of(&files(&a, &b).unwrap(), "latency p50").better, None);
    }

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
    }

    #[test]
    fn what_differs_besides_the_server_is_told() {
        let (a, mut b) = (fixture::streamed(), fixture::streamed());
        b.workload.protocol = crate::request::Protocol::V2;
        b.machine["cores"] = 64.into();
        let told = files(&a, &b).unwrap().warnings.join("; ");
        assert!(
            told.contains("the protocol differs: chat against v2") && told.contains("(cores) differs: 8 against 64"),
            "{told}"
        );
    }

    #[test]
    fn kinds_that_share_nothing_are_refused() {
        let error = files(&fixture::streamed(), &fixture::sweep()).unwrap_err().to_string();
        assert_eq!(error, "a run can't be compared with a sweep: give two results of the same kind");
        assert!(!files(&fixture::ab(), &fixture::ab()).unwrap().ratios.is_empty());
    }
}
