//! Tables for a terminal: plain text, at most 100 characters wide.
//!
//! ```text
//! table       columns that line up, and sentences that fit
//! run         one load on one server
//! sweep       a search over rates
//! ratios      two servers in turn, and two results side by side
//! ```
//!
//! Texts from servers are shown without their control characters, which could otherwise move the cursor or worse.

mod ratios;
mod run;
mod sweep;
mod table;

pub use self::ratios::comparison;
use self::table::Page;
pub use self::table::plain;
use super::{number, verdict};
use crate::result::{Findings, Report};

pub fn report(report: &Report) -> String {
    let mut page = Page::default();
    headline(&mut page, report);
    limits(&mut page, report);
    match &report.findings {
        Findings::Run { run } => {
            if let Some(verdict) = verdict::of(report) {
                page.sentence("", &objective(&verdict));
                for doubt in &verdict.doubts {
                    page.sentence("  ", doubt);
                }
                page.blank();
            }
            run::write(&mut page, run);
        }
        Findings::Sweep { sweep } => sweep::write(&mut page, sweep, report.slo.as_deref()),
        Findings::Ab { ab } => ratios::ab(&mut page, ab),
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
    if let Findings::Run { run } = &report.findings {
        page.sentence("  ", &run::how(run));
    }
    page.blank();
}

/// Loud, as no figure below means what it seems to.
fn limits(page: &mut Page, report: &Report) {
    let limits = verdict::limits(report);
    if limits.is_empty() {
        return;
    }
    page.sentence("!! ", "THE LOAD TESTER WAS AT ITS OWN LIMIT: these figures say more of it than of the server");
    for limit in limits {
        page.sentence("!! ", &limit);
    }
    page.blank();
}

fn objective(verdict: &verdict::Verdict) -> String {
    match verdict.missed.is_empty() {
        true => format!("objective {}: met", verdict.slo),
        false => format!("objective {}: MISSED: {}", verdict.slo, verdict.missed.join("; ")),
    }
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
        let p99 = text.lines().find(|line| line.trim_start().starts_with("p99 ")).unwrap();
        assert_eq!(p99.split_whitespace().count(), 3, "{text}");
        let p9999 = text.lines().find(|line| line.trim_start().starts_with("p99.99 ")).unwrap();
        assert_eq!(p9999.split_whitespace().collect::<Vec<_>>(), ["p99.99", "–", "–"]);
        assert!(text.contains("– fewer than ten values lie beyond"), "{text}");
    }

    #[test]
    fn the_load_testers_own_limit_comes_before_any_figure() {
        let text = report(&fixture::hostile());
        let warned = text.find("!! THE LOAD TESTER WAS AT ITS OWN LIMIT").unwrap();
        assert!(warned < text.find("latency").unwrap(), "{text}");
        assert!(!report(&fixture::streamed()).contains("!!"));
    }

    #[test]
    fn a_verdict_names_what_was_missed() {
        let verdict = |missed: &[&str]| {
            let missed = missed.iter().map(|&term| term.to_owned()).collect();
            objective(&verdict::Verdict { slo: "p99<1ms".to_owned(), missed, doubts: Vec::new() })
        };
        assert_eq!(verdict(&[]), "objective p99<1ms: met");
        assert_eq!(verdict(&["p99 2 ms is not below 1 ms"]), "objective p99<1ms: MISSED: p99 2 ms is not below 1 ms");
    }

    #[test]
    fn a_sweep_marks_its_best_rate_and_its_knee() {
        let text = report(&fixture::sweep());
        let marked = |mark: &str| text.lines().filter(|line| line.ends_with(mark)).count();
        assert_eq!((marked("met  <- best"), marked("met  <- knee")), (1, 1), "{text}");
        assert!(text.contains("p99 ") && text.contains("is not below 50 ms"), "{text}");
    }

    #[test]
    fn ratios_come_with_their_spread_and_verdict() {
        let text = report(&fixture::ab());
        let p50 = text.lines().find(|line| line.contains("latency p50")).unwrap();
        assert!(p50.contains(" .. ") && p50.ends_with("B is better"), "{text}");
        assert!(text.contains("can't be told apart"), "{text}");
    }

    #[test]
    fn a_run_without_answers_has_a_table() {
        let report = Report { findings: Findings::Run { run: Box::new(Run::default()) }, ..fixture::streamed() };
        let text = super::report(&report);
        assert!(text.contains("answered right") && !text.contains("NaN"), "{text}");
    }
}
