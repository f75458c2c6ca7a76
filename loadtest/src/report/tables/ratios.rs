//! Two servers, or two results, side by side.

use super::{Kind, Table};
use crate::compare::Single;
use crate::report::number;
use crate::result::{Ratio, Side};

/// Figures with their spread, and which side is better by each.
pub fn ratios(caption: &str, ratios: &[Ratio]) -> Table {
    let head = ["", "A", "B", "B / A", "least .. greatest", "verdict"];
    let mut table = Table { remarks: true, ..Table::new(caption, head) };
    for ratio in ratios {
        let spread = match ratio.is_share() {
            true => String::new(),
            false => format!("{} .. {}", number::number(ratio.least), number::number(ratio.greatest)),
        };
        table.row(
            Kind::Plain,
            [
                name(&ratio.figure, &ratio.unit),
                number::number(ratio.a),
                number::number(ratio.b),
                apart(ratio),
                spread,
                verdict(ratio.better).to_owned(),
            ],
        );
    }
    table
}

/// Figures without a spread.
pub fn singles(singles: &[Single]) -> Table {
    let mut table = Table::new("of the whole", ["", "A", "B", "B / A"]);
    for single in singles {
        let [a, b] = [single.a, single.b].map(number::number);
        table.row(Kind::Plain, [name(&single.figure, &single.unit), a, b, times(single.ratio)]);
    }
    table
}

/// Which of them is better, in words.
pub fn verdict(better: Option<Side>) -> &'static str {
    match better {
        Some(Side::A) => "A is better",
        Some(Side::B) => "B is better",
        None => "can't be told apart",
    }
}

/// How far B is from A: how many times as much, or of shares the percentage points between them, as `+1.50 points`. A
/// share may be nothing, and of that there are no multiples.
pub fn apart(ratio: &Ratio) -> String {
    if !ratio.is_share() {
        return times(ratio.ratio);
    }
    let points = ratio.b - ratio.a;
    format!("{}{} points", if points < 0.0 { "−" } else { "+" }, number::number(points.abs()))
}

/// A ratio, as `×1.25`.
pub fn times(ratio: f64) -> String {
    format!("×{}", number::number(ratio))
}

fn name(figure: &str, unit: &str) -> String {
    if unit.is_empty() { figure.to_owned() } else { format!("{figure}, {unit}") }
}
