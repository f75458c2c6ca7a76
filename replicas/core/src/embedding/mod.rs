//! The queue of an embedder: which texts of which calls make the next run.
//!
//! | module    | what it holds |
//! |-----------|---------------|
//! | `policy`  | its bounds, and how texts share a run |
//! | `call`    | a call that waits: its texts by their length, its place among the others |
//! | `queue`   | submit, plan, done, remove |
//! | `run`     | how a run grows |
//! | `refusal` | why a call is not let in |
//!
//! **Texts are batched by tokens, not by calls.** A call brings one text or thousands, of any lengths, and its answer needs all of
//! them. So a call is spread over runs, and a run has texts of many calls, near in length: those cost the least padding. The
//! batch former ([`crate::former`]) can't do that: it takes calls whole, as tensors have to be, and knows one length for each.
//! What it knows of costs is shared: a text joins where that is sooner than a run more.
//!
//! **It needs no knob.** A free engine starts at once with what waits; texts gather only while it is busy.
//!
//! **A call of thousands holds nobody up.** The call that is due leads a run with its longest text, and then goes behind those
//! that wait by then, as if it had just come. So each call leads before any leads twice, and a higher class of priority is due
//! [`HEAD_START`](crate::tokens::HEAD_START) sooner, as everywhere.

mod call;
mod policy;
mod queue;
mod refusal;
mod run;
#[cfg(test)]
mod tests;

pub use self::call::{CallId, NewCall};
pub use self::policy::{EmbedPolicy, Sharing};
pub use self::queue::{EmbedCounts, EmbedQueue, Plan};
pub use self::refusal::Refusal;
pub use self::run::{Run, Text};
