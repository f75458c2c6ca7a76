//! Tables for a terminal: plain text, at most 100 characters wide.
//!
//! What matters most comes first: the verdict, the load tester's limits, rates and latencies fit the first 24 lines.
//! Texts from servers are shown without their control characters, which could otherwise move the cursor or worse.

mod page;

use self::page::Page;
pub use self::page::plain;
use super::number;
use super::tables::{self, ratios, tester};
use super::verdict::{self, Kind, Notice};
use crate::compare::{Comparison, PAIRS_RULE};
use crate::result::{Ab, Findings, Report, Run};

pub fn report(report: &Report) -> String {
    let mut page = Page::default();
    headline(&mut page, report);
    for one in verdict::notices(report) {
        notice(&mut page, &one);
    }
    page.blank();
    match &report.findings {
        Findings::Run { run } => {
            rates(&mut page, run, report.slo.as_deref());
            tables::run::all(run).iter().for_each(|table| page.table(table));
            load_tester(&mut page, run);
        }
        Findings::Sweep { sweep } => {
            page.table(&tables::sweep::points(sweep, &verdict::words(report.slo.as_deref())));
        }
        Findings::Ab { ab } => {
            page.table(&ratios::ratios("medians over rounds", &ab.ratios));
            page.sentence("  ", PAIRS_RULE);
        }
    }
    for aside in verdict::asides(report) {
        page.sentence("  ", &aside);
    }
    page.into_string()
}

pub fn comparison(comparison: &Comparison) -> String {
    let mut page = Page::default();
    page.sentence("A ", &comparison.a);
    page.sentence("B ", &comparison.b);
    page.blank();
    let apart = comparison.incomparable.iter().map(|what| format!("not comparable: {what}"));
    for warning in apart.chain(comparison.lost.iter().chain(&comparison.warnings).cloned()) {
        page.sentence("!! ", &warning);
    }
    page.blank();
    if !comparison.ratios.is_empty() {
        page.table(&ratios::ratios("", &comparison.ratios));
        page.sentence("  ", &comparison.rule);
        page.blank();
    }
    if !comparison.single.is_empty() {
        page.table(&ratios::singles(&comparison.single));
        page.sentence("  ", "Each has these only once: how much of a difference is chance, they can't tell.");
    }
    page.into_string()
}

fn headline(page: &mut Page, report: &Report) {
    let workload = &report.workload;
    let model = workload.model.as_ref().map_or_else(String::new, |model| format!(", model {model}"));
    match &report.target_b {
        Some(b) => {
            page.sentence("", &format!("load test of two servers{model}"));
            page.sentence("  ", &format!("A {}", report.target));
            page.sentence("  ", &format!("B {b}"));
        }
        None => page.sentence("", &format!("load test of {}{model}", report.target)),
    }
    let streamed = if workload.streams { ", streamed" } else { "" };
    let size = number::bytes(workload.mean_bytes);
    let distinct = number::distinct(workload.distinct_requests);
    page.sentence(
        "  ",
        &format!("{}{streamed}: {} ({distinct} distinct, {size} each)", workload.protocol, workload.what),
    );
    match &report.findings {
        Findings::Run { run } => page.sentence("  ", &how(run)),
        Findings::Ab { ab } => page.sentence("  ", &in_turn(ab)),
        Findings::Sweep { .. } => {}
    }
    page.blank();
}

/// How the load was made and for how long, in a line.
fn how(run: &Run) -> String {
    let (seconds, warmup) = (number::number(run.seconds), number::number(run.warmup.seconds));
    let warm = match run.warmup.steady {
        _ if run.warmup.seconds == 0.0 => "without a warm-up".to_owned(),
        Some(true) => format!("after a warm-up of {warmup} s until it was steady"),
        Some(false) => format!("after a warm-up of {warmup} s and it did NOT become steady"),
        None => format!("after a warm-up of {warmup} s as asked for"),
    };
    format!("{}; measured {seconds} s {warm}", run.load.what)
}

fn in_turn(ab: &Ab) -> String {
    let seconds = ab.a.first().map_or(0.0, |run| run.seconds);
    let (rounds, load) = (number::plural(ab.a.len(), "round"), ab.a.first().map_or("", |run| run.load.what.as_str()));
    format!("{load}; {rounds} of {} s on each, in turn", number::number(seconds))
}

/// A warning is loud on every line, as no figure below means what it seems to.
fn notice(page: &mut Page, Notice { kind, sentence, reasons }: &Notice) {
    if *kind == Kind::Warned {
        page.sentence("!! ", &sentence.to_uppercase());
        reasons.iter().for_each(|reason| page.sentence("!! ", reason));
        page.blank();
        return;
    }
    page.sentence("", &format!("{} {sentence}", kind.sign()));
    reasons.iter().for_each(|reason| page.sentence("    ", reason));
}

fn rates(page: &mut Page, run: &Run, slo: Option<&str>) {
    let due = if run.load.open { "due" } else { "sent" };
    let mut rates = format!("{}/s {due}, {}/s answered right", number::number(run.due_rate), number::number(run.rate));
    if let Some(goodput) = verdict::goodput(run, slo) {
        rates += &format!(", {}/s of them in time (goodput)", number::number(goodput));
    }
    let outcomes = &run.outcomes;
    let failed = number::share(outcomes.failed() as f64 / outcomes.total().max(1) as f64);
    page.sentence("", &format!("{rates}; {failed} not answered right"));
    page.blank();
}

fn load_tester(page: &mut Page, run: &Run) {
    let pairs = tester::pairs(&run.limits).into_iter().map(|(name, value)| format!("{name} {value}"));
    page.sentence("", &format!("load tester: {}", pairs.collect::<Vec<_>>().join("; ")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;
    use crate::result::Run;

    fn all() -> Vec<String> {
        [fixture::streamed(), fixture::sweep(), fixture::ab(), fixture::hostile()].iter().map(report).collect()
    }

    #[test]
    fn every_line_fits_a_terminal_of_a_hundred_columns() {
        let compared = crate::compare::files(&fixture::streamed(), &fixture::hostile()).unwrap();
        for text in all().into_iter().chain([comparison(&compared)]) {
            for line in text.lines() {
                assert!(line.chars().count() <= 100 && line.trim_end() == line, "'{line}'");
            }
        }
    }

    #[test]
    fn no_text_of_a_server_reaches_the_terminal_as_a_command() {
        assert!(all().iter().all(|text| !text.chars().any(|char| char.is_control() && char != '\n')));
    }

    #[test]
    fn both_latencies_stand_side_by_side_and_unsupported_ones_are_left_out() {
        let text = report(&fixture::streamed());
        let p99 = text.lines().find(|line| line.trim_start().starts_with("p99  ")).unwrap();
        assert_eq!(p99.split_whitespace().count(), 3, "{text}");
        let p9999 = text.lines().find(|line| line.trim_start().starts_with("p99.99 ")).unwrap();
        assert_eq!(p9999.split_whitespace().collect::<Vec<_>>(), ["p99.99", "–", "–"]);
        assert!(text.contains("– stands where fewer than ten values lie beyond"), "{text}");
    }

    #[test]
    fn the_load_testers_own_limit_comes_before_any_figure() {
        let text = report(&fixture::hostile());
        let warned = text.find("!! THE LOAD TESTER WAS AT ITS OWN LIMIT").unwrap();
        assert!(warned < text.find("latency").unwrap(), "{text}");
        assert!(!report(&fixture::streamed()).contains("!!"));
    }

    #[test]
    fn a_verdict_is_seen_without_colours() {
        let text = report(&fixture::streamed());
        assert!(text.contains("\n✗ objective missed: p99<300ms,errors<0.1%\n    "), "{text}");
        let text = report(&fixture::sweep());
        assert!(text.contains("\n✓ up to 760 requests/s meet p99<50ms,errors<5%\n"), "{text}");
    }

    #[test]
    fn the_first_screen_has_what_matters() {
        let text = report(&fixture::streamed());
        let first: Vec<&str> = text.lines().take(24).collect();
        for part in ["objective missed", "/s answered right", "p99.99 ", "max "] {
            assert!(first.iter().any(|line| line.contains(part)), "{part} is below the first screen: {text}");
        }
    }

    #[test]
    fn goodput_is_not_told_without_a_limit_in_time() {
        assert!(report(&fixture::streamed()).contains("(goodput)"));
        let shares = Report { slo: Some("errors<1%".to_owned()), ..fixture::streamed() };
        assert!(!report(&shares).contains("goodput"));
    }

    #[test]
    fn ratios_come_with_their_spread_and_verdict() {
        let text = report(&fixture::ab());
        let p50 = text.lines().find(|line| line.contains("latency p50")).unwrap();
        assert!(p50.contains(" .. ") && p50.ends_with("B is better"), "{text}");
        assert!(text.contains("can't be told apart"), "{text}");
    }

    #[test]
    fn a_run_without_a_warm_up_says_so() {
        let with = |seconds, steady| {
            let warmup = crate::result::Warmup { seconds, steady };
            let findings = Findings::Run { run: Box::new(Run { warmup, ..fixture::run(200.0, 3, 10.0, 2.0, 1) }) };
            report(&Report { findings, ..fixture::streamed() })
        };
        assert!(with(0.0, None).contains("measured 3.00 s without a warm-up\n"), "{}", with(0.0, None));
        assert!(with(2.0, None).contains("after a warm-up of 2.00 s as asked for"));
    }

    #[test]
    fn reasons_that_are_cut_in_a_table_are_whole_below_it() {
        let mut long = fixture::sweep();
        let reason = "p99 112.3 ms is not below 20 ms; p50 50.1 ms is not below 5 ms; errors 3 % is not below 1 %";
        if let Findings::Sweep { sweep } = &mut long.findings {
            sweep.points.last_mut().unwrap().missed = vec![reason.to_owned()];
        }
        let text = report(&long);
        let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains('…') && one_line.contains(&format!("1,200 offered/s: {reason}")), "{text}");
    }

    #[test]
    fn a_share_has_no_ratio() {
        let failing = |errors| {
            let mut run = fixture::run(200.0, 30, 10.0, 5.0, 1);
            run.outcomes = crate::result::Outcomes { ok: 1000 - errors, errors, ..Default::default() };
            Report { findings: Findings::Run { run: Box::new(run) }, ..fixture::streamed() }
        };
        let text = comparison(&crate::compare::files(&failing(0), &failing(500)).unwrap());
        let row = text.lines().find(|line| line.contains("not answered right, %")).unwrap();
        assert!(row.contains("+50.0 points") && !row.contains('×'), "{text}");
    }

    #[test]
    fn a_run_without_answers_has_a_table() {
        let report = Report { findings: Findings::Run { run: Box::new(Run::default()) }, ..fixture::streamed() };
        let text = super::report(&report);
        assert!(text.contains("answered right") && !text.contains("NaN"), "{text}");
    }
}
