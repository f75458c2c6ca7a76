//! Where sequences wait until there are blocks for them.
//!
//! They are served in the order of their arrival, where each class has a head start of
//! [`HEAD_START`](super::policy::HEAD_START) over the next lower one. So whoever has waited long goes before all, and none
//! starves. The order among two never changes. A sequence that was pre-empted comes back to its place: it was admitted
//! before all of its class that wait, so that is before them.

use std::collections::BTreeSet;
use std::time::Instant;

use super::policy::TokenPolicy;
use super::refusal::Refusal;
use super::sequence::SequenceId;

/// A place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// When it arrived, as its class has it.
    due: Instant,
    id: SequenceId,
}

impl Place {
    pub fn new(due: Instant, id: SequenceId) -> Place {
        Place { due, id }
    }
}

#[derive(Debug)]
pub(super) struct WaitingQueue {
    most: usize,
    most_tokens: usize,
    order: BTreeSet<Place>,
    tokens: usize,
}

impl WaitingQueue {
    pub fn new(policy: &TokenPolicy) -> WaitingQueue {
        WaitingQueue { most: policy.waiting, most_tokens: policy.waiting_tokens, order: BTreeSet::new(), tokens: 0 }
    }

    /// Whether a new sequence of so many tokens may wait here. One alone always may.
    pub fn check(&self, tokens: usize) -> Result<(), Refusal> {
        if self.order.len() >= self.most {
            return Err(Refusal::QueueFull { limit: self.most });
        }
        if !self.order.is_empty() && self.tokens.saturating_add(tokens) > self.most_tokens {
            return Err(Refusal::QueueTokens { held: self.tokens, asked: tokens, limit: self.most_tokens });
        }
        Ok(())
    }

    /// Adds a sequence. One that comes back was let in before: no bound refuses it.
    pub fn push(&mut self, place: Place, tokens: usize) {
        self.order.insert(place);
        self.tokens += tokens;
    }

    pub fn first(&self) -> Option<SequenceId> {
        self.order.first().map(|place| place.id)
    }

    pub fn remove(&mut self, place: Place, tokens: usize) {
        if self.order.remove(&place) {
            self.tokens -= tokens;
        }
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Tokens of all that wait.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}
