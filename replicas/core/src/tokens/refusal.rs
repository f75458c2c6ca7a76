//! Why a sequence is not let in, and how an executor can be out of step.

use std::fmt;
use std::time::Duration;

use weirgate_protocol::Error;

/// When a caller that was refused for a full queue may ask again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a sequence is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no token to start from.
    EmptyPrompt,
    /// No token was asked for.
    NoNewTokens,
    /// Prompt and answer are longer than the model's context. `new` is 1 where no number was asked for.
    Context { prompt: usize, new: usize, context: usize },
    /// Prompt and answer need more blocks than there are. `new` is 1 where no number was asked for.
    Blocks { prompt: usize, new: usize, needed: usize, blocks: usize },
    /// As many sequences wait as may.
    QueueFull { limit: usize },
    /// The prompts that wait hold as many tokens as they may.
    QueueTokens { held: usize, asked: usize, limit: usize },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Refusal::EmptyPrompt => f.write_str("the prompt has no tokens; send at least 1"),
            Refusal::NoNewTokens => f.write_str("0 new tokens were asked for; ask for at least 1"),
            Refusal::Context { prompt, new, context } => write!(
                f,
                "{prompt} tokens of the prompt and {new} new ones are {}, and the model's context is {context}; \
                 shorten the prompt or ask for fewer",
                prompt.saturating_add(new)
            ),
            Refusal::Blocks { prompt, new, needed, blocks } => write!(
                f,
                "{prompt} tokens of the prompt and {new} new ones need {needed} blocks of the key-value cache, which has \
                 {blocks}; shorten the prompt or ask for fewer"
            ),
            Refusal::QueueFull { limit } => {
                write!(f, "{limit} sequences wait already, which is the limit; try again later")
            }
            Refusal::QueueTokens { held, asked, limit } => write!(
                f,
                "the prompts that wait have {held} tokens, and {asked} more would pass the limit of {limit}; try again later"
            ),
        }
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match refusal {
            Refusal::EmptyPrompt | Refusal::NoNewTokens => Error::invalid(refusal.to_string()),
            Refusal::Context { .. } | Refusal::Blocks { .. } => Error::context_exceeded(refusal.to_string()),
            Refusal::QueueFull { .. } | Refusal::QueueTokens { .. } => {
                Error::queue_full(refusal.to_string(), RETRY_AFTER)
            }
        }
    }
}

/// How an executor is out of step with its scheduler. It is a fault of the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepError {
    /// A step was asked for while another one is under way.
    UnderWay { step: u64 },
    /// A step is reported that is not under way.
    NotUnderWay { step: u64 },
    /// Not one sample for each row that wants logits.
    Samples { step: u64, wanted: usize, given: usize },
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            StepError::UnderWay { step } => {
                write!(f, "step {step} is under way; report its end before the next is planned")
            }
            StepError::NotUnderWay { step } => write!(f, "step {step} is not under way; report each planned step once"),
            StepError::Samples { step, wanted, given } => {
                write!(f, "step {step} wants {wanted} samples and got {given}; give one for each row that wants logits")
            }
        }
    }
}

impl From<StepError> for Error {
    fn from(error: StepError) -> Error {
        Error::internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::ErrorCode;

    use super::*;

    #[test]
    fn what_can_never_fit_is_the_callers_and_a_full_queue_may_be_asked_again() {
        let never: Error = Refusal::Context { prompt: 90, new: 20, context: 100 }.into();
        assert_eq!(never.code(), ErrorCode::ContextExceeded);
        assert_eq!(
            never.message(),
            "90 tokens of the prompt and 20 new ones are 110, and the model's context is 100; shorten the prompt or ask \
             for fewer"
        );
        let full: Error = Refusal::QueueFull { limit: 8 }.into();
        assert_eq!(full.code(), ErrorCode::QueueFull);
        assert_eq!(full.retry_after(), Some(RETRY_AFTER));
        let fault: Error = StepError::Samples { step: 3, wanted: 2, given: 1 }.into();
        assert_eq!(fault.code(), ErrorCode::Internal);
    }
}
