//! What a caller gets of a generation: pieces of text, then why it ended and what it was.

use std::time::Duration;

use weirgate_protocol::Error;

/// A part of an answer. The last is always [`Part::Finished`].
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    Text(Piece),
    Finished(Finished),
}

/// Text that came since the piece before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Whole characters, none of them of a stop string.
    pub text: String,
    /// Tokens that came since the piece before. Some have no text of their own, and some wait for the rest of a character.
    pub tokens: usize,
}

/// The end of a generation.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    pub reason: FinishReason,
    pub usage: Usage,
    pub timing: GenerationTiming,
}

/// Why a generation ended.
#[derive(Clone, Debug, PartialEq)]
pub enum FinishReason {
    /// The answer is complete.
    Stop(StopCause),
    /// The answer was cut, as there is no room for more.
    Length(LengthCause),
    /// There is no more of the answer, for this reason. The code says which kind it is: the deadline passed, nobody waits for it,
    /// or reads it, it was refused, or the engine failed.
    Failed(Error),
}

/// What an answer stopped at. It is no part of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopCause {
    /// A token that ends answers, the model's or the caller's.
    Token(u32),
    /// A stop string.
    String(Box<str>),
}

/// What an answer was cut by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthCause {
    /// It has as many tokens as were asked for.
    MaxNewTokens,
    /// It fills the context.
    Context,
    /// All the room for keys and values does not hold another token.
    KeyValueBlocks,
}

/// Tokens of a generation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub prompt_tokens: usize,
    /// How many of these were not computed, as their keys and values were there.
    pub cached_tokens: usize,
    /// Tokens that were generated, with the one that ended the answer.
    pub new_tokens: usize,
}

/// Where a generation's time went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GenerationTiming {
    /// From its arrival to the first step that had it; none where it never got there.
    pub queue: Option<Duration>,
    /// From its arrival to its first token; none where there is none.
    pub first_token: Option<Duration>,
    /// From its arrival to its end.
    pub total: Duration,
    /// How often it gave its place to others, and was computed again.
    pub preemptions: u32,
}

impl FinishReason {
    /// Value of the `reason` label: `stop`, `length`, or the error's code.
    pub fn label(&self) -> &'static str {
        match self {
            FinishReason::Stop(_) => "stop",
            FinishReason::Length(_) => "length",
            FinishReason::Failed(error) => error.code().row().label,
        }
    }

    /// The error, where it is one.
    pub fn error(&self) -> Option<&Error> {
        match self {
            FinishReason::Failed(error) => Some(error),
            FinishReason::Stop(_) | FinishReason::Length(_) => None,
        }
    }
}
