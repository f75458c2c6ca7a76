//! Two runs side by side, figure by figure, with their spread. Pure.
//!
//! ```text
//! figures  what is compared, and which way is better
//! pairs    rounds of an A/B run
//! files    two results of different times
//! windows  two runs of different times, by their windows
//! ```

mod figures;
mod files;
mod pairs;
mod windows;

use serde::Serialize;

pub use self::files::files;
pub use self::pairs::{PAIRS_RULE, pairs};
use crate::result::{Ratio, Side};

/// Two results, the first of them the baseline.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Comparison {
    /// What was compared, in words.
    pub a: String,
    pub b: String,
    /// In what they differ that is no matter of the server: what was asked, or how. Then no figure means that one of them
    /// is better.
    pub incomparable: Vec<String>,
    /// What must be kept in mind.
    pub warnings: Vec<String>,
    /// Figures whose spread is known.
    pub ratios: Vec<Ratio>,
    /// Where that spread comes from, and when one of them counts as better.
    pub rule: String,
    /// What A could do and B could not at all, a sentence each: there is no ratio of it.
    pub lost: Vec<String>,
    /// Figures that both have only once, so that nobody knows how much of the difference is chance.
    pub single: Vec<Single>,
}

/// A figure without a spread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Single {
    pub figure: String,
    pub unit: String,
    pub a: f64,
    pub b: f64,
    /// b / a.
    pub ratio: f64,
}

impl Comparison {
    /// Figures by which B is surely worse than `factor` times A: even the end of the spread that is kindest to B is
    /// beyond it. Times and failures are worse when greater, rates when less than A's by the factor. What B could not do at
    /// all is in `lost`, and worse by any factor.
    pub fn surely_worse(&self, factor: f64) -> Vec<&Ratio> {
        let is_beyond = |ratio: &&Ratio| match ratio.higher_is_better {
            true => ratio.greatest < 1.0 / factor,
            false => ratio.least > factor,
        };
        self.ratios.iter().filter(|ratio| ratio.better == Some(Side::A)).filter(is_beyond).collect()
    }
}

/// Which side a spread of ratios leaves better: none while it holds 1.
fn better(least: f64, greatest: f64, higher_is_better: bool) -> Option<Side> {
    match (least > 1.0, greatest < 1.0) {
        (true, _) => Some(if higher_is_better { Side::B } else { Side::A }),
        (_, true) => Some(if higher_is_better { Side::A } else { Side::B }),
        _ => None,
    }
}
