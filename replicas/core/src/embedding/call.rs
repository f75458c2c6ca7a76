//! A call that waits: its texts by their length, its place among the others.

use std::time::Instant;

use weirgate_protocol::Priority;

use crate::tokens::HEAD_START;

/// A call of a queue. No two of one queue are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub(super) u64);

/// A call that comes.
#[derive(Clone, Debug)]
pub struct NewCall {
    /// Tokens of each text.
    pub lengths: Vec<usize>,
    pub priority: Priority,
    pub arrived: Instant,
    /// When it ends at the latest.
    pub deadline: Option<Instant>,
}

/// A text that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub tokens: usize,
    /// Among the texts of its call.
    pub index: usize,
}

/// A call's place among the others: the earlier one leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    due: Instant,
    /// The run that it led last: of two that are due at once, the other goes first.
    led: u64,
    pub id: CallId,
}

#[derive(Debug)]
pub(super) struct Call {
    /// The longest first; in the order of the call among equals.
    pub pending: Vec<Pending>,
    /// Tokens of these.
    pub tokens: usize,
    /// All of its texts, those that are computed among them.
    pub texts: usize,
    /// Texts of the run that is under way.
    pub running: usize,
    pub priority: Priority,
    pub deadline: Option<Instant>,
    pub place: Place,
}

impl Call {
    pub fn new(new: NewCall, id: CallId) -> Call {
        let NewCall { lengths, priority, arrived, deadline } = new;
        let (tokens, texts) = (lengths.iter().sum(), lengths.len());
        let mut pending: Vec<Pending> =
            lengths.into_iter().enumerate().map(|(index, tokens)| Pending { tokens, index }).collect();
        pending.sort_by_key(|text| std::cmp::Reverse(text.tokens));
        let place = place(arrived, 0, priority, id);
        Call { pending, tokens, texts, running: 0, priority, deadline, place }
    }

    /// Where it goes after it has led a run.
    pub fn next_place(&self, now: Instant, run: u64) -> Place {
        place(now, run, self.priority, self.place.id)
    }

    /// Places of up to `most` texts, the nearest to `tokens` in length first.
    pub fn nearest(&self, tokens: usize, most: usize) -> impl Iterator<Item = usize> {
        let (mut after, end) = (self.pending.partition_point(|text| text.tokens > tokens), self.pending.len());
        let mut before = after;
        let next = move || {
            let distance = |at: usize| self.pending[at].tokens.abs_diff(tokens);
            let lower = (after < end).then(|| distance(after));
            let upper = before.checked_sub(1).map(distance);
            match (lower, upper) {
                (Some(lower), upper) if upper.is_none_or(|upper| lower <= upper) => {
                    after += 1;
                    Some(after - 1)
                }
                (_, Some(_)) => {
                    before -= 1;
                    Some(before)
                }
                (_, None) => None,
            }
        };
        std::iter::from_fn(next).take(most)
    }
}

fn place(since: Instant, led: u64, priority: Priority, id: CallId) -> Place {
    let behind = match priority {
        Priority::High => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    };
    Place { due: since + HEAD_START * behind, led, id }
}
