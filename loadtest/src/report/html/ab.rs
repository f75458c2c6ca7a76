//! Two servers in turn.

use super::chart::Caption;
use super::chart::axis::Axis;
use super::chart::plane::{Plane, Series, Shape};
use super::chart::rows::{Row, Rows};
use super::markup::Markup;
use super::parts;
use crate::report::number;
use crate::report::tables::ratios as table;
use crate::result::{Ab, Ratio, Run, Side};

pub fn write(markup: &mut Markup, ab: &Ab) {
    parts::charts(markup, |markup| {
        // Shares have no place on an axis of ratios.
        let drawn: Vec<&Ratio> = ab.ratios.iter().filter(|ratio| !ratio.is_share()).collect();
        if !drawn.is_empty() {
            ratios(&drawn).draw(markup);
        }
        if !ab.a.is_empty() {
            rounds(ab).draw(markup);
        }
    });
    parts::section(markup, "Figures", |markup| {
        parts::table(markup, &table::ratios("medians over rounds", &ab.ratios));
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

fn ratios(ratios: &[&Ratio]) -> Rows {
    let rows = ratios.iter().map(|ratio| Row {
        name: ratio.figure.clone(),
        note: format!(
            "{} [{} .. {}]",
            table::times(ratio.ratio),
            number::number(ratio.least),
            number::number(ratio.greatest)
        ),
        class: class(ratio),
        at: ratio.ratio,
        spread: Some((ratio.least, ratio.greatest)),
    });
    let axis = Axis::ratios("B / A", ratios.iter().flat_map(|ratio| [ratio.ratio, ratio.least, ratio.greatest]));
    let about = "B against A: the median over rounds, from the least to the greatest.".to_owned();
    let legend = [("c1", Some(Side::B)), ("c2", Some(Side::A)), ("calm", None)];
    let legend = legend.map(|(class, better)| (class, table::verdict(better))).to_vec();
    let caption = Caption { id: "ratios", title: "B against A", about };
    Rows { caption, axis, rows: rows.collect(), against: Some(1.0), legend }
}

/// The median and p99 of each round; where some have too few values for a p99, their greatest.
fn rounds(ab: &Ab) -> Plane {
    let of = |name: &str, class, shape, runs: &[Run], value: fn(&Run) -> Option<f64>| {
        let points = runs.iter().enumerate().map(|(index, run)| ((index + 1) as f64, value(run)));
        Series::new(name, class, shape, points)
    };
    let p99 = |run: &Run| run.latency.supported(0.99);
    let (high, value): (_, fn(&Run) -> Option<f64>) = match ab.a.iter().chain(&ab.b).all(|run| p99(run).is_some()) {
        true => ("p99", p99),
        false => ("max", |run| (run.latency.count > 0).then_some(run.latency.max)),
    };
    let p50 = |run: &Run| run.latency.at(0.5);
    let series = vec![
        of(&format!("A {high}"), "c2", Shape::Line, &ab.a, value),
        of("A p50", "c2", Shape::Dashed, &ab.a, p50),
        of(&format!("B {high}"), "c1", Shape::Line, &ab.b, value),
        of("B p50", "c1", Shape::Dashed, &ab.b, p50),
    ];
    let x = Axis::counts("round", ab.a.len(), |round| format!("round {round:.0}"));
    let y = Axis::log_times("latency", series.iter().flat_map(Series::values));
    let about = "What differs from round to round, differs for both: only what stays between them counts.".to_owned();
    let caption = Caption { id: "rounds", title: "Round by round", about };
    Plane { caption, x, y, series, bands: Vec::new(), marks: Vec::new() }
}
