//! The objective that a service is held to, as `p99<50ms,errors<0.1%`.
//!
//! Terms are separated by commas, and all must hold. A term is a figure, `<`, `<=`, `>` or `>=`, and a limit:
//!
//! | figure | of | limit |
//! |---|---|---|
//! | `p50` `p75` `p90` `p95` `p99` `p99.9` `p99.99` `mean` `max` | latency of right answers from when they were due; also spelt `latency.p99` | a time with its unit: `us`, `ms` or `s` |
//! | the same after `ttft.`, `itl.` or `tpot.` | time to the first token, between tokens, per token | a time |
//! | `errors` | all requests that were due and got no right answer, however they failed | a percentage, or a share from 0 to 1 |
//! | `shed` `timeouts` `wrong` | one kind of these | a percentage or share |
//! | `rate` | right answers a second | a number |
//! | `goodput` | right answers within every limit in time | a number a second, or a percentage of those due |
//! | `tokens` | output tokens a second | a number |
//!
//! A figure that the run can't tell counts as missed: silence is no proof.

mod figure;
mod judge;
mod parse;

use std::fmt;

pub use self::judge::Times;
use self::parse::Term;

/// All of its terms must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// As it was given.
    pub text: String,
    terms: Vec<Term>,
}

/// The same objective in one spelling, whichever way it was given.
impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.terms.iter().enumerate() {
            write!(f, "{}{term}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}
