//! Two servers in turn.

use super::chart::Caption;
use super::chart::axis::Axis;
use super::chart::plane::{Plane, Series, Shape};
use super::chart::rows::{Row, Rows};
use super::markup::Markup;
use super::parts::{self, Table, table};
use crate::report::number;
use crate::result::{Ab, Ratio, Report, Run, Side};

pub fn write(markup: &mut Markup, ab: &Ab, report: &Report) {
    let better = |side| ab.ratios.iter().filter(|ratio| ratio.better == Some(side)).count();
    let sentence = match (better(Side::A), better(Side::B)) {
        (0, 0) => "A and B can't be told apart by any figure.".to_owned(),
        (0, b) => format!("B is better by {b} of {} figures; by no figure is A.", ab.ratios.len()),
        (a, 0) => format!("A is better by {a} of {} figures; by no figure is B.", ab.ratios.len()),
        (a, b) => format!("A is better by {a} of {} figures, B by {b}.", ab.ratios.len()),
    };
    let mut told =
        vec![format!("A: {}", report.target), format!("B: {}", report.target_b.as_deref().unwrap_or(&report.target))];
    for (side, missed) in [("A", &ab.missed_a), ("B", &ab.missed_b)] {
        told.extend(missed.iter().map(|missed| format!("{side} missed the objective: {missed}")));
    }
    told.extend(ab.ended.clone());
    parts::banner(markup, "told", "⇄", &sentence, &told);
    parts::charts(markup, |markup| {
        if !ab.ratios.is_empty() {
            ratios(&ab.ratios).draw(markup);
        }
        if !ab.a.is_empty() {
            rounds(ab).draw(markup);
        }
    });
    parts::section(markup, "Figures", |markup| {
        figures(markup, &ab.ratios);
        parts::note(markup, crate::compare::PAIRS_RULE);
    });
}

fn class(ratio: &Ratio) -> &'static str {
    match ratio.better {
        Some(Side::A) => "c2",
        Some(Side::B) => "c1",
        None => "calm",
    }
}

fn ratios(ratios: &[Ratio]) -> Rows {
    let rows = ratios.iter().map(|ratio| Row {
        name: ratio.figure.clone(),
        note: format!(
            "×{} [{} .. {}]",
            number::number(ratio.ratio),
            number::number(ratio.least),
            number::number(ratio.greatest)
        ),
        class: class(ratio),
        at: ratio.ratio,
        spread: Some((ratio.least, ratio.greatest)),
    });
    let axis = Axis::ratios("B / A", ratios.iter().flat_map(|ratio| [ratio.ratio, ratio.least, ratio.greatest]));
    let about = "B against A: the median over rounds, from the least to the greatest.".to_owned();
    let legend = vec![("c1", "B is better"), ("c2", "A is better"), ("calm", "can't be told apart")];
    let caption = Caption { id: "ratios", title: "B against A", about };
    Rows { caption, axis, rows: rows.collect(), against: Some(1.0), legend }
}

fn rounds(ab: &Ab) -> Plane {
    let of = |name, class, shape, runs: &[Run], q: f64| {
        let points = runs.iter().enumerate().map(|(index, run)| ((index + 1) as f64, run.latency.at(q)));
        Series::new(name, class, shape, points)
    };
    let series = vec![
        of("A p99", "c2", Shape::Line, &ab.a, 0.99),
        of("A p50", "c2", Shape::Dashed, &ab.a, 0.5),
        of("B p99", "c1", Shape::Line, &ab.b, 0.99),
        of("B p50", "c1", Shape::Dashed, &ab.b, 0.5),
    ];
    let x = Axis::counts("round", ab.a.len(), |round| format!("round {round:.0}"));
    let y = Axis::log_times("latency", series.iter().flat_map(Series::values));
    let about = "What differs from round to round, differs for both: only what stays between them counts.".to_owned();
    let caption = Caption { id: "rounds", title: "Round by round", about };
    Plane { caption, x, y, series, bands: Vec::new(), marks: Vec::new() }
}

fn figures(markup: &mut Markup, ratios: &[Ratio]) {
    let rows = ratios
        .iter()
        .map(|ratio| {
            let name =
                if ratio.unit.is_empty() { ratio.figure.clone() } else { format!("{}, {}", ratio.figure, ratio.unit) };
            let verdict = match ratio.better {
                Some(Side::A) => "A is better",
                Some(Side::B) => "B is better",
                None => "can't be told apart",
            };
            let numbers = [ratio.a, ratio.b, ratio.ratio, ratio.least, ratio.greatest].map(number::number);
            ("", [name].into_iter().chain(numbers).chain([verdict.to_owned()]).collect())
        })
        .collect();
    let head = &["", "A", "B", "B / A", "least", "greatest", "verdict"];
    table(markup, &Table { caption: "Medians over rounds", head, rows, remarks: true });
}
