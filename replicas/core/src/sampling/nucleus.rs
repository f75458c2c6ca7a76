//! The likeliest tokens: so many, or those that have so much of the probability together.
//!
//! Neither needs the tokens in order: where the cut lies is found by halving what it may be in, and each half is looked at once.

use std::cmp::Ordering;

/// A token that may come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Candidate {
    pub token: u32,
    pub logit: f32,
    /// Its probability, but for a factor that all have in common.
    pub weight: f32,
}

/// The likelier first, and of two that are as likely the lower id. No two are equal.
pub(super) fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

/// Keeps the first `count` in order, in any order. At least one has to be there.
pub(super) fn keep_likeliest(candidates: &mut Vec<Candidate>, count: usize) {
    if count < candidates.len() {
        candidates.select_nth_unstable_by(count - 1, order);
        candidates.truncate(count);
    }
}

/// Keeps the first in order up to and with the one that brings the sum of their weights to `part` of all of it.
pub(super) fn keep_nucleus(candidates: &mut Vec<Candidate>, part: f32) {
    let sum = |some: &[Candidate]| some.iter().map(|one| f64::from(one.weight)).sum::<f64>();
    let mut missing = f64::from(part) * sum(candidates);
    // Those before `kept` are in; the cut lies before `end`.
    let (mut kept, mut end) = (0, candidates.len());
    while end - kept > 1 {
        let half = (end - kept) / 2;
        let open = &mut candidates[kept..end];
        open.select_nth_unstable_by(half - 1, order);
        let weight = sum(&open[..half]);
        if weight >= missing {
            end = kept + half;
        } else {
            missing -= weight;
            kept += half;
        }
    }
    candidates.truncate(end);
}
