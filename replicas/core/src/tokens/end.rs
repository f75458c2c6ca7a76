//! How a sequence goes on after a step, and how it ends.

use super::sequence::SequenceId;

/// What the executor made of a row's logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample {
    /// The next token of the answer.
    Next(u32),
    /// The last token of the answer: with it the sequence stops.
    Last(u32),
    /// No token: the sequence leaves. A stop token that is no part of the answer is `End(Leave::Stopped)`.
    End(Leave),
}

/// Why an executor takes a sequence out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    /// It came to a stop token or a stop string.
    Stopped,
    /// Nobody waits for it any more.
    Cancelled,
    /// The network failed on it. What the step under way computed of it is not kept.
    Failed,
}

/// Why a sequence ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The executor said so: a stop token or a stop string.
    Stopped,
    /// It has as many new tokens as were asked for.
    MaxNewTokens,
    /// It fills the model's context.
    Context,
    /// It runs alone, and all blocks there are do not hold another token. Only a sequence that asked for no number of new
    /// tokens can end so.
    Blocks,
    /// Its deadline passed.
    Deadline,
    /// Nobody waits for it any more.
    Cancelled,
    /// The network failed on it.
    Failed,
}

impl EndReason {
    pub const ALL: [EndReason; 7] = [
        EndReason::Stopped,
        EndReason::MaxNewTokens,
        EndReason::Context,
        EndReason::Blocks,
        EndReason::Deadline,
        EndReason::Cancelled,
        EndReason::Failed,
    ];

    /// Value of the `reason` label.
    pub const fn label(self) -> &'static str {
        match self {
            EndReason::Stopped => "stopped",
            EndReason::MaxNewTokens => "max_new_tokens",
            EndReason::Context => "context",
            EndReason::Blocks => "blocks",
            EndReason::Deadline => "deadline",
            EndReason::Cancelled => "cancelled",
            EndReason::Failed => "failed",
        }
    }
}

impl From<Leave> for EndReason {
    fn from(leave: Leave) -> EndReason {
        match leave {
            Leave::Stopped => EndReason::Stopped,
            Leave::Cancelled => EndReason::Cancelled,
            Leave::Failed => EndReason::Failed,
        }
    }
}

/// A sequence that ended, and what it came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    pub sequence: SequenceId,
    pub reason: EndReason,
    pub prompt_tokens: usize,
    /// How many tokens of the prompt were found in the prefix cache, and not only because it was pre-empted.
    pub cached_tokens: usize,
    pub new_tokens: usize,
    /// How often it was pre-empted.
    pub preemptions: u32,
}

/// What became of a request to take a sequence out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It has left, and its blocks with it.
    Gone(Ended),
    /// The step under way uses it. It leaves when that ends, and is told of then.
    AfterStep,
    /// There is no such sequence: it has ended before.
    Unknown,
}
