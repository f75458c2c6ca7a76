//! What a caller asks of a text engine.

use std::hash::{BuildHasher, RandomState};
use std::time::Instant;

use weirgate_models::text::StopStrings;
use weirgate_protocol::{Error, Priority, Result};
use weirgate_replicas_core::sampling::SamplingParameters;
use weirgate_replicas_core::tokens::{CacheSalt, TokenPolicy};

/// The most stop tokens of a call.
pub const MOST_STOP_TOKENS: usize = 64;

/// A prompt, and what its answer is to be.
#[derive(Clone, Debug)]
pub struct Generate {
    /// Its tokens, with the one that begins a text where the model wants it.
    pub prompt: Vec<u32>,
    /// Most tokens of the answer; `None` for as many as there is room for.
    pub max_new_tokens: Option<usize>,
    /// The answer stops at no token and no string before it has so many.
    pub min_new_tokens: usize,
    pub sampling: SamplingParameters,
    pub stop: StopStrings,
    /// Tokens that end the answer, besides the model's own.
    pub stop_tokens: Vec<u32>,
    /// The model's own don't end it. They have no text.
    pub ignore_eos: bool,
    pub priority: Priority,
    /// When the call arrived, from which its times count.
    pub arrived: Instant,
    /// When it ends if it has no token yet.
    pub first_token_deadline: Option<Instant>,
    /// When it ends at the latest.
    pub deadline: Option<Instant>,
    /// Only calls with equal salts find each other's tokens in the cache.
    pub salt: CacheSalt,
}

impl Generate {
    /// A prompt that is answered as the network likes, for as long as it likes.
    pub fn new(prompt: Vec<u32>, arrived: Instant) -> Generate {
        Generate {
            prompt,
            max_new_tokens: None,
            min_new_tokens: 0,
            sampling: SamplingParameters::default(),
            stop: StopStrings::default(),
            stop_tokens: Vec::new(),
            ignore_eos: false,
            priority: Priority::default(),
            arrived,
            first_token_deadline: None,
            deadline: None,
            salt: CacheSalt::default(),
        }
    }

    /// Refuses what can never be answered. The error is the caller's.
    pub(super) fn check(&self, policy: &TokenPolicy, vocabulary: usize) -> Result<()> {
        policy.limit(self.prompt.len(), self.max_new_tokens)?;
        self.sampling.check(vocabulary)?;
        check_known("the prompt", &self.prompt, vocabulary)?;
        check_known("stop_tokens", &self.stop_tokens, vocabulary)?;
        if self.stop_tokens.len() > MOST_STOP_TOKENS {
            let count = self.stop_tokens.len();
            return Err(Error::invalid(format!("there are {count} stop tokens; the limit is {MOST_STOP_TOKENS}")));
        }
        let most = self.max_new_tokens.unwrap_or(policy.context - self.prompt.len());
        if self.min_new_tokens > most {
            let least = self.min_new_tokens;
            return Err(Error::invalid(format!(
                "at least {least} new tokens are asked for, and there may be at most {most}"
            )));
        }
        Ok(())
    }
}

/// Refuses tokens that a vocabulary of this size has not.
pub(super) fn check_known(what: &str, tokens: &[u32], vocabulary: usize) -> Result<()> {
    match tokens.iter().find(|token| **token as usize >= vocabulary) {
        None => Ok(()),
        Some(token) => {
            let text = format!("{what} has token {token}, and the vocabulary has {vocabulary}; ids start from 0");
            Err(Error::invalid(text))
        }
    }
}

/// A seed for a caller that names none.
pub fn random_seed() -> u64 {
    RandomState::new().hash_one(0)
}
