//! What was found, for people: a table for the terminal, a page for the browser, and progress while it runs.
//!
//! ```text
//! number    numbers as people read them
//! verdict   what is told before any number
//! tables    tables, and what their cells say
//! command   the command that makes the same run again
//! text      plain text for a terminal
//! html      one self-contained page
//! progress  how far a run is
//! ```

mod command;
#[cfg(test)]
pub(crate) mod fixture;
mod html;
mod number;
pub mod progress;
mod tables;
mod text;
mod verdict;

use crate::compare::Comparison;
use crate::result::Report;

pub(crate) use self::verdict::limits;

/// The table that is printed at the end: plain text, at most 100 characters wide.
pub fn text(report: &Report) -> String {
    text::report(report)
}

/// Two results side by side, in the same form.
pub fn comparison(comparison: &Comparison) -> String {
    text::comparison(comparison)
}

/// Seconds in the digits that people read.
pub(crate) fn seconds(seconds: f64) -> String {
    number::short(seconds)
}

/// One self-contained page: it asks for nothing from outside, and works without its script.
pub fn html(report: &Report) -> String {
    html::page(report)
}
