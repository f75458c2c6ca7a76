//! The token scheduler: which tokens of which sequences a network computes in each step, and where their keys and values
//! are kept.
//!
//! ```text
//! scheduler  what an executor calls: submit, leave, plan, done; who waits and who runs
//! policy     all bounds, in one configuration; refusal: why a sequence is not let in
//! sequence   a prompt and its answer, its rank and its place; sequences: all of them by name; end: why they end
//! queue      where sequences wait, in order of arrival with a head start for each class
//! plan       a step: rows with tokens, phase, positions and block table; progress: what became of it
//! decode     one token for each that generates, and who gives way when there is no block
//! prefill    chunks of prompts, and who is admitted
//! finish     the end of a step
//! kv         who has which block: blocks counts the users, prefix finds what is known, idle says what goes first
//! stats      numbers for metrics
//! ```
//!
//! An executor drives it like this, on one thread:
//!
//! ```text
//! loop { submit who came, leave who went;
//!        step = plan(now);  run the network on step.rows;  done(step, samples) }
//! ```
//!
//! **What a step holds.** At most `step_tokens` tokens and one row for each running sequence. Decodes come first, but leave
//! `prefill_tokens` to prompts while there are any; so neither starves the other. Where more generate than fit, they take
//! turns.
//!
//! **What is guaranteed.** Every sequence that is let in ends exactly once, with a reason. The first in rank goes on in
//! every step, or takes its turn; others may be pre-empted by it, a bounded number of times. Blocks are neither lost nor
//! given away twice, one that is used by several is never written, and everything here has a cap.
//!
//! **Equal bits.** How a token is computed depends on the token alone: those of a prompt are prefill, those of an answer are
//! decode, also when a pre-emption makes them be computed again, and blocks in the prefix cache are known by the phases of
//! their tokens too. An executor whose kernels depend on nothing but the phase, the position and the tokens before it, so
//! neither on the row's length nor on its neighbours, gives a sequence the same bits alone, in company, from the cache and
//! after a pre-emption. With `reuse_decoded` that also takes kernels that are equal for both phases.
//!
//! **What is not done.** Running sequences are not pre-empted to admit one of a higher class; that one is next when blocks
//! come free. Blocks are not moved to other memory: what is pre-empted is computed again, as far as the cache has lost it.

mod blocks;
mod decode;
mod end;
mod finish;
mod idle;
mod kv;
mod plan;
mod policy;
mod prefill;
mod prefix;
mod queue;
mod refusal;
mod scheduler;
mod sequence;
mod sequences;
mod stats;
#[cfg(test)]
mod tests;

pub use self::blocks::BlockId;
pub use self::end::{Departure, EndReason, Ended, Leave, Sample};
pub use self::kv::BlockTable;
pub use self::plan::{Phase, Produced, Progress, Row, Step};
pub use self::policy::{HEAD_START, TokenPolicy};
pub use self::prefix::CacheSalt;
pub use self::refusal::{Refusal, StepError};
pub use self::scheduler::Scheduler;
pub use self::sequence::{NewSequence, SequenceId};
pub use self::stats::{Stats, Totals};
