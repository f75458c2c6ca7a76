//! What a synthetic server did.

/// Requests are inference requests; each is counted when it has arrived, and in one of the fields from `right` to `hung`
/// when it is decided what becomes of it. Whether the client was still there to see it is not known here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub requests: u64,
    /// Answered, and right.
    pub right: u64,
    /// Answered with the status of a fault.
    pub failed: u64,
    /// Answered with 503, as the queue was full.
    pub refused: u64,
    /// Answered with 4xx, as the request could not be read or asks for what isn't there.
    pub invalid: u64,
    pub wrong: u64,
    pub cut: u64,
    pub error_events: u64,
    pub closed: u64,
    pub hung: u64,
    /// Of those that were answered with a delay: the slow ones of two modes, and those that a stall held up.
    pub slow: u64,
    pub stalled: u64,
    /// Of all answers, those that named this revision.
    pub stable: u64,
    pub canary: u64,
    /// Tokens of all completions, as far as they were to be sent.
    pub tokens: u64,
    /// Requests for metadata and health.
    pub others: u64,
    pub connections: u64,
}
