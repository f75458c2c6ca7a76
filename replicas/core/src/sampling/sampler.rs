//! From logits to a token.

use std::fmt;

use super::generator::uniform;
use super::nucleus::{Candidate, keep_likeliest, keep_nucleus, order};
use super::parameters::{GREATEST_BIAS, SamplingParameters};
use super::seen::Seen;

/// Draws the tokens of one sequence.
#[derive(Clone, Debug)]
pub struct Sampler {
    parameters: SamplingParameters,
    seen: Seen,
    /// Tokens that were drawn.
    place: u64,
}

/// Memory that samplers work in. All of an engine share one.
#[derive(Debug, Default)]
pub struct Scratch {
    logits: Vec<f32>,
    candidates: Vec<Candidate>,
}

/// Why no token can be drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SampleError {
    /// The network gave something else than a finite number.
    NotFinite { token: usize, logit: f32 },
    /// Each token was taken out, by biases or because it may not come yet.
    NothingLeft,
}

impl fmt::Display for SampleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SampleError::NotFinite { token, logit } => {
                write!(f, "the network gave {logit} as the logit of token {token}, where a finite number is needed")
            }
            SampleError::NothingLeft => f.write_str(
                "no token is left that may come next; take some out of logit_bias, or ask for a lower minimum",
            ),
        }
    }
}

impl std::error::Error for SampleError {}

impl Sampler {
    /// For a sequence with this prompt. The parameters were [checked](SamplingParameters::check).
    pub fn new(parameters: SamplingParameters, prompt: &[u32]) -> Sampler {
        let seen = Seen::new(&parameters, prompt);
        Sampler { parameters, seen, place: 0 }
    }

    /// The next token, by the logits of all tokens, lowest id first; none of `banned`. It is counted as one of the answer.
    /// After an error nothing is.
    pub fn sample(&mut self, logits: &[f32], banned: &[u32], scratch: &mut Scratch) -> Result<u32, SampleError> {
        if !logits.iter().fold(true, |finite, logit| finite & logit.is_finite())
            && let Some((token, &logit)) = logits.iter().enumerate().find(|(_, logit)| !logit.is_finite())
        {
            return Err(SampleError::NotFinite { token, logit });
        }
        let Scratch { logits: own, candidates } = scratch;
        let logits = if banned.is_empty() && self.parameters.logit_bias.is_empty() && !self.seen.matters() {
            logits
        } else {
            own.clear();
            own.extend_from_slice(logits);
            self.adjust(own, banned);
            own
        };
        let (likeliest, greatest) = greatest(logits).ok_or(SampleError::NothingLeft)?;
        let token =
            if self.parameters.temperature == 0.0 { likeliest } else { self.draw(logits, greatest, candidates) };
        self.seen.push(token);
        self.place += 1;
        Ok(token)
    }

    fn adjust(&self, logits: &mut [f32], banned: &[u32]) {
        // Where a token comes twice, what the later one says holds, so it is applied to what the network gave.
        let biases = &self.parameters.logit_bias;
        for (at, &(token, bias)) in biases.iter().enumerate() {
            let later = biases[at + 1..].iter().any(|&(other, _)| other == token);
            if let Some(logit) = logits.get_mut(token as usize).filter(|_| !later) {
                *logit = if bias <= -GREATEST_BIAS { f32::NEG_INFINITY } else { *logit + bias };
            }
        }
        for &token in banned {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        self.seen.penalise(logits);
    }

    /// Draws one. `greatest` is the greatest logit.
    fn draw(&self, logits: &[f32], greatest: f32, candidates: &mut Vec<Candidate>) -> u32 {
        let SamplingParameters { temperature, top_k, top_p, min_p, seed, .. } = self.parameters;
        let weight = |logit: f32| ((logit - greatest) / temperature).exp();
        let all = || logits.iter().zip(0u32..).filter(|(logit, _)| **logit > f32::NEG_INFINITY);
        candidates.clear();
        match top_k.filter(|&count| count < logits.len()) {
            // Only those that stay need their weights.
            Some(count) => {
                candidates.extend(all().map(|(&logit, token)| Candidate { token, logit, weight: 0.0 }));
                keep_likeliest(candidates, count);
                candidates.iter_mut().for_each(|one| one.weight = weight(one.logit));
            }
            None => candidates.extend(all().map(|(&logit, token)| Candidate { token, logit, weight: weight(logit) })),
        }
        // The likeliest has the weight 1. For what stays it makes no difference whether this comes before top_k.
        candidates.retain(|one| one.weight >= min_p && one.weight > 0.0);
        if top_p < 1.0 {
            keep_nucleus(candidates, top_p);
        }
        // All cuts are in one order, so those up to the last stay. They are taken by their ids again: what is drawn is not a
        // matter of how the cuts were found.
        if (top_p < 1.0 || top_k.is_some())
            && let Some(last) = candidates.iter().copied().max_by(order)
        {
            let stays = |one: &Candidate| order(one, &last).is_le();
            let some = all().map(|(&logit, token)| Candidate { token, logit, weight: 0.0 }).filter(stays);
            candidates.clear();
            candidates.extend(some.map(|one| Candidate { weight: weight(one.logit), ..one }));
        }
        let total: f64 = candidates.iter().map(|one| f64::from(one.weight)).sum();
        let mut rest = uniform(seed, self.place) * total;
        let drawn = candidates.iter().find(|one| {
            rest -= f64::from(one.weight);
            rest < 0.0
        });
        // By rounding, nothing may be left over at the very end.
        drawn.or(candidates.last()).map_or(0, |one| one.token)
    }
}

/// The greatest logit and its token, the lowest where several have it; none where all tokens were taken out.
fn greatest(logits: &[f32]) -> Option<(u32, f32)> {
    // Lanes side by side, as one by one each comparison waits for the one before.
    let (chunks, rest) = logits.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for chunk in chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &logit)| *lane = if logit > *lane { logit } else { *lane });
    }
    let value = lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    let token = logits.iter().position(|&logit| logit == value)?;
    (value > f32::NEG_INFINITY).then_some((token as u32, value))
}
