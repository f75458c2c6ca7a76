//! Why a call is not let in.

use std::fmt;
use std::time::Duration;

use weirgate_protocol::Error;

/// When a caller that was refused for a full queue may ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is nothing to embed.
    NoTexts,
    /// A text has no tokens.
    EmptyText { text: usize },
    /// More texts than a call may have.
    Texts { texts: usize, limit: usize },
    /// As many calls wait as may.
    QueueFull { limit: usize },
    /// As many texts wait as may.
    QueueTexts { held: usize, asked: usize, limit: usize },
    /// The texts that wait hold as many tokens as they may.
    QueueTokens { held: usize, asked: usize, limit: usize },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Refusal::NoTexts => f.write_str("there are no texts to embed; send at least 1"),
            Refusal::EmptyText { text } => write!(f, "text {text} has no tokens; it needs at least 1"),
            Refusal::Texts { texts, limit } => {
                write!(f, "there are {texts} texts, and a call may have {limit}; send them in several calls")
            }
            Refusal::QueueFull { limit } => {
                write!(f, "{limit} calls wait already, which is the limit; try again later")
            }
            Refusal::QueueTexts { held, asked, limit } => {
                write!(
                    f,
                    "{held} texts wait already, and {asked} more would pass the limit of {limit}; try again later"
                )
            }
            Refusal::QueueTokens { held, asked, limit } => write!(
                f,
                "the texts that wait have {held} tokens, and {asked} more would pass the limit of {limit}; try again later"
            ),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::NoTexts | Refusal::EmptyText { .. } | Refusal::Texts { .. } => Error::invalid(refusal.to_string()),
            Refusal::QueueFull { .. } | Refusal::QueueTexts { .. } | Refusal::QueueTokens { .. } => {
                Error::queue_full(refusal.to_string(), RETRY_AFTER)
            }
        }
    }
}
