//! The tables of a report, with what their cells say. The terminal and the page each draw them in their own way.
//!
//! ```text
//! run     one load on one server
//! sweep   the rates that were tried
//! ratios  two servers, or two results, side by side
//! tester  the load tester itself
//! ```

pub mod ratios;
pub mod run;
pub mod sweep;
pub mod tester;

use super::number;
use crate::result::Distribution;

/// A table whose first column names its rows.
#[derive(Clone, Debug, Default)]
pub struct Table {
    pub caption: String,
    /// The names of the columns. Where the first has none, the caption can stand there.
    pub head: Vec<String>,
    pub rows: Vec<Row>,
    /// Whether the last column is text; all others but the first are numbers.
    pub remarks: bool,
    /// Sentences to stand below it.
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub kind: Kind,
    pub cells: Vec<String>,
}

/// What a row is among the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Plain,
    /// A part of the plain row above it.
    Detail,
    /// The one that was looked for.
    Best,
    /// One that did not do.
    Missed,
}

impl Table {
    fn new<const N: usize>(caption: impl Into<String>, head: [&str; N]) -> Table {
        Table { caption: caption.into(), head: head.map(str::to_owned).to_vec(), ..Table::default() }
    }

    fn row(&mut self, kind: Kind, cells: impl IntoIterator<Item = String>) {
        self.rows.push(Row { kind, cells: cells.into_iter().collect() });
    }

    /// Says what a percentile that is left out means, where one is.
    fn explain_none(&mut self) {
        if self.rows.iter().any(|row| row.cells.iter().any(|cell| cell == number::NONE)) {
            self.notes.push(format!("{} stands where fewer than ten values lie beyond a percentile.", number::NONE));
        }
    }
}

/// A quantile, unless too few values lie beyond it for it to mean anything.
pub fn at(distribution: &Distribution, q: f64, show: impl Fn(f64) -> String) -> String {
    distribution.supported(q).map_or_else(|| number::NONE.to_owned(), show)
}

/// What every value counts for, as the greatest or the mean: nothing where there is none.
fn of_all(distribution: &Distribution, value: f64, show: impl Fn(f64) -> String) -> String {
    if distribution.count > 0 { show(value) } else { number::NONE.to_owned() }
}
