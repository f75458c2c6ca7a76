//! Two servers in turn, and two results side by side.

use super::table::{Page, Table};
use crate::compare::{Comparison, PAIRS_RULE, Single};
use crate::report::number;
use crate::result::{Ab, Ratio, Side};

pub fn ab(page: &mut Page, ab: &Ab) {
    let seconds = ab.a.first().map_or(0.0, |run| run.seconds);
    let (rounds, load) = (ab.a.len(), ab.a.first().map_or("", |run| run.load.what.as_str()));
    page.sentence("", &format!("{load}; {rounds} rounds of {} s on each, in turn", number::number(seconds)));
    if let Some(ended) = &ab.ended {
        page.sentence("!! ", ended);
    }
    for (side, missed) in [("A", &ab.missed_a), ("B", &ab.missed_b)] {
        for missed in missed {
            page.sentence("", &format!("{side} missed the objective: {missed}"));
        }
    }
    page.blank();
    ratios(page, &ab.ratios);
    page.sentence("  ", PAIRS_RULE);
}

pub fn comparison(comparison: &Comparison) -> String {
    let mut page = Page::default();
    page.sentence("A ", &comparison.a);
    page.sentence("B ", &comparison.b);
    page.blank();
    for warning in comparison.lost.iter().chain(&comparison.warnings) {
        page.sentence("!! ", warning);
    }
    page.blank();
    if !comparison.ratios.is_empty() {
        ratios(&mut page, &comparison.ratios);
        page.sentence("  ", comparison.rule);
        page.blank();
    }
    if !comparison.single.is_empty() {
        singles(&mut page, &comparison.single);
        page.sentence("  ", "Each has these only once: how much of a difference is chance, they can't tell.");
    }
    page.into_string()
}

fn ratios(page: &mut Page, ratios: &[Ratio]) {
    let mut table = Table::new(["", "A", "B", "B / A", "least .. greatest", ""]).with_remarks();
    for ratio in ratios {
        let verdict = match ratio.better {
            Some(Side::A) => "A is better",
            Some(Side::B) => "B is better",
            None => "can't be told apart",
        };
        table.row([
            name(&ratio.figure, &ratio.unit),
            number::number(ratio.a),
            number::number(ratio.b),
            format!("×{}", number::number(ratio.ratio)),
            format!("{} .. {}", number::number(ratio.least), number::number(ratio.greatest)),
            verdict.to_owned(),
        ]);
    }
    page.table(&table);
}

fn singles(page: &mut Page, singles: &[Single]) {
    let mut table = Table::new(["of the whole", "A", "B", "B / A"]);
    for single in singles {
        let ratio = format!("×{}", number::number(single.ratio));
        table.row([name(&single.figure, &single.unit), number::number(single.a), number::number(single.b), ratio]);
    }
    page.table(&table);
}

fn name(figure: &str, unit: &str) -> String {
    if unit.is_empty() { figure.to_owned() } else { format!("{figure}, {unit}") }
}
