//! Which tokens a sequence has had, and what that costs them.

use std::collections::HashMap;

use super::parameters::SamplingParameters;

/// Counts of a sequence's tokens. It stays empty where no penalty asks for them.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    repetition: f32,
    presence: f32,
    frequency: f32,
    /// For each token that came how often the answer has had it, which is never where only the prompt has.
    counts: HashMap<u32, u32>,
}

impl Seen {
    pub fn new(parameters: &SamplingParameters, prompt: &[u32]) -> Seen {
        let mut seen = Seen {
            repetition: parameters.repetition_penalty,
            presence: parameters.presence_penalty,
            frequency: parameters.frequency_penalty,
            counts: HashMap::new(),
        };
        if seen.repetition != 1.0 {
            seen.counts.extend(prompt.iter().map(|&token| (token, 0)));
        }
        seen
    }

    /// Whether it changes any logit, now or later.
    pub fn matters(&self) -> bool {
        self.repetition != 1.0 || self.presence != 0.0 || self.frequency != 0.0
    }

    /// Counts a token of the answer.
    pub fn push(&mut self, token: u32) {
        if self.matters() {
            let count = self.counts.entry(token).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// Takes the penalties off the logits. Tokens that were taken out stay so.
    pub fn penalise(&self, logits: &mut [f32]) {
        for (&token, &count) in &self.counts {
            let logit = logits.get_mut(token as usize).filter(|logit| **logit > f32::NEG_INFINITY);
            let Some(logit) = logit else { continue };
            if *logit > 0.0 {
                *logit /= self.repetition;
            } else {
                *logit *= self.repetition;
            }
            if count > 0 {
                *logit -= self.frequency * count as f32 + self.presence;
            }
            *logit = logit.clamp(f32::MIN, f32::MAX);
        }
    }
}
