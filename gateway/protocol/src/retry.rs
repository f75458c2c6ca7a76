//! Whether calls may be executed more than once.

/// What a service allows to be done again: `weirgate.dev/retry`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// Only what surely was not executed is executed elsewhere.
    #[default]
    NotExecuted,
    /// Executing a call twice does no harm: one that was handed over and broke is repeated, within the retry budget.
    Idempotent {
        /// A second replica is asked where the first has not answered within the usual time.
        hedge: bool,
    },
}
