//! The objective that a service is held to, as `p99<50ms,errors<0.1%`.
//!
//! Terms are separated by commas, and all must hold. A term is a figure, `<`, `<=`, `>` or `>=`, and a limit:
//!
//! | figure | of | limit |
//! |---|---|---|
//! | `p50` `p75` `p90` `p95` `p99` `p99.9` `p99.99` `mean` `max` | latency from when a request was due; also spelt `latency.p99` | a time with its unit: `us`, `ms` or `s` |
//! | the same after `ttft.`, `itl.` or `tpot.` | time to the first token, between tokens, per token | a time |
//! | `errors` | all requests that were due and got no right answer, however they failed | a percentage with its `%`, or 0 |
//! | `shed` `timeouts` `wrong` | one kind of these | the same |
//! | `rate` | right answers a second | a number |
//! | `goodput` | right answers within every limit in time | a number a second, or a percentage of those due |
//! | `tokens` | output tokens a second | a number |
//!
//! A figure that the run can't tell counts as missed: silence is no proof.
//!
//! A quantile ranks all requests that were due, and one that got no right answer counts as infinitely slow: else a server
//! that refuses half of them would have a fine p99. So with 2 % that failed, p98 is that of the slowest right answer, and
//! p99 is above any limit. Of times within an answer (`itl.`, `tpot.`) a request that failed counts as many as one that
//! did not. `mean` and `max` are of right answers.
//!
//! Goodput asks of each request what the objective asks of the highest quantile: with `p50<100ms,p99<500ms` a good answer
//! takes less than 500 ms.

mod figure;
mod judge;
mod parse;

use std::fmt;

use self::judge::Limit;
pub use self::judge::Times;
use self::parse::Term;

/// All of its terms must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    /// As it was given.
    pub text: String,
    terms: Vec<Term>,
    /// Those that limit the time of each request.
    limits: Vec<Limit>,
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
