//! How a run grows: text by text, as far as that is sooner than a run more.

use std::time::{Duration, Instant};

use super::call::CallId;
use super::policy::{EmbedPolicy, Sharing};
use crate::cost::CostModel;

/// As long as it is not known what runs cost, the padding that a text brings may be this share of all tokens.
const UNKNOWN_SHARE: usize = 8;
/// However little padding costs: this many times the texts' own tokens are the most of a run.
const MOST_TIMES: usize = 2;

/// A text of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Text {
    pub call: CallId,
    /// Among the texts of its call.
    pub index: usize,
    pub tokens: usize,
}

/// Texts that are computed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    pub texts: Vec<Text>,
    /// Tokens of the texts.
    pub tokens: usize,
    /// Tokens that are computed: with padding, where there is some.
    pub computed: usize,
    pub(super) number: u64,
}

/// A run that grows.
pub(super) struct Growing<'a> {
    policy: &'a EmbedPolicy,
    cost: &'a CostModel,
    now: Instant,
    texts: Vec<Text>,
    tokens: usize,
    longest: usize,
    /// The earliest of its calls.
    deadline: Option<Instant>,
}

impl<'a> Growing<'a> {
    pub fn new(
        policy: &'a EmbedPolicy,
        cost: &'a CostModel,
        now: Instant,
        lead: Text,
        deadline: Option<Instant>,
    ) -> Self {
        let (tokens, longest) = (lead.tokens, lead.tokens);
        Growing { policy, cost, now, texts: vec![lead], tokens, longest, deadline }
    }

    pub fn is_full(&self) -> bool {
        self.texts.len() >= self.policy.run_texts
    }

    /// Adds a text, if it fits and pays.
    pub fn add(&mut self, text: Text, deadline: Option<Instant>) -> bool {
        let together = self.computed_with(text.tokens);
        if self.is_full() || together > self.policy.run_tokens || !self.pays(text.tokens, together) {
            return false;
        }
        let tightest = [self.deadline, deadline].into_iter().flatten().min();
        // A text that could not be in time even alone can't be hurt, so it does not hold others back.
        let alone = self.computed().max(text.tokens);
        if self.is_late(together, tightest) && !self.is_late(alone, tightest) {
            return false;
        }
        self.texts.push(text);
        self.tokens += text.tokens;
        self.longest = self.longest.max(text.tokens);
        self.deadline = tightest;
        true
    }

    pub fn finish(self, number: u64) -> Run {
        let computed = self.computed();
        Run { texts: self.texts, tokens: self.tokens, computed, number }
    }

    fn computed(&self) -> usize {
        match self.policy.sharing {
            Sharing::Ragged => self.tokens,
            Sharing::Padded | Sharing::OneLength => self.texts.len() * self.longest,
        }
    }

    fn computed_with(&self, tokens: usize) -> usize {
        match self.policy.sharing {
            Sharing::Ragged => self.tokens + tokens,
            Sharing::Padded | Sharing::OneLength => (self.texts.len() + 1) * self.longest.max(tokens),
        }
    }

    /// Whether the text is computed sooner with the others than after them.
    fn pays(&self, tokens: usize, together: usize) -> bool {
        let apart = self.computed() + tokens;
        if self.policy.sharing == Sharing::OneLength {
            return tokens == self.longest;
        }
        if together <= apart {
            return true;
        }
        if together > MOST_TIMES * (self.tokens + tokens) {
            return false;
        }
        match (self.cost.predict(together), self.cost.drain(2, apart)) {
            (Some(together), Some(apart)) => together <= apart,
            _ => together - apart <= apart / UNKNOWN_SHARE,
        }
    }

    fn is_late(&self, tokens: usize, deadline: Option<Instant>) -> bool {
        let took: Option<Duration> = self.cost.predict(tokens);
        deadline.zip(took).is_some_and(|(deadline, took)| self.now + took > deadline)
    }
}
