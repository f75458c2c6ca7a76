//! The batch former: which waiting calls make a free engine's next batch.
//!
//! It needs no knob. A free engine starts at once with whatever fits together, and calls gather only while every engine is
//! busy; so a lone caller never waits, and under load batches grow by themselves. The oldest call leads, so no shape
//! starves. A batch closes for one of four reasons, and says which:
//!
//! - `full`: the next call would not fit the rows or calls allowed;
//! - `deadline`: growing it, or waiting longer, would make one of its calls late by the learned cost of a batch;
//! - `latency`: `batcher.maxLatency` was set, and the oldest call has waited that long;
//! - `idle`: the engine was free and took all that fits.

use std::time::{Duration, Instant};

use weirgate_protocol::Signature;

use crate::cost::CostModel;

/// What one batch may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// Rows of one batch; a single call may bring more, and then runs alone.
    pub max_rows: usize,
    /// Calls of one batch (`containerConcurrency`).
    pub max_calls: usize,
    /// How long a free engine waits for a fuller batch (`batcher.maxLatency`); zero unless asked for.
    pub linger: Duration,
}

/// A waiting call, as the former sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub rows: usize,
    pub bytes: usize,
    /// Calls with equal signatures can share a batch; `None` runs alone.
    pub signature: Option<&'a Signature>,
    pub entered: Instant,
    pub deadline: Instant,
}

/// Why a batch was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    Idle,
    Full,
    Deadline,
    Latency,
}

impl CloseReason {
    pub const ALL: [CloseReason; 4] =
        [CloseReason::Idle, CloseReason::Full, CloseReason::Deadline, CloseReason::Latency];

    /// Value of the `reason` label.
    pub const fn label(self) -> &'static str {
        match self {
            CloseReason::Idle => "idle",
            CloseReason::Full => "full",
            CloseReason::Deadline => "deadline",
            CloseReason::Latency => "latency",
        }
    }
}

/// What a free engine does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<K> {
    /// Run these, in this order.
    Take { keys: Vec<K>, reason: CloseReason },
    /// Ask again at this instant, or when a call comes.
    Wait(Instant),
    /// Nothing waits that could still be in time.
    Empty,
}

/// Forms a batch from `waiting`, which comes oldest first. Calls past their deadline are passed over: their callers have
/// been told, and the engine never sees them.
pub fn form<'a, K>(
    policy: &BatchPolicy,
    cost: &CostModel,
    now: Instant,
    waiting: impl IntoIterator<Item = (K, Candidate<'a>)>,
) -> Decision<K> {
    let mut in_time = waiting.into_iter().filter(|(_, call)| call.deadline > now);
    let Some((key, lead)) = in_time.next() else {
        return Decision::Empty;
    };
    let mut keys = vec![key];
    let Some(signature) = lead.signature else {
        return Decision::Take { keys, reason: CloseReason::Full };
    };
    let (mut rows, mut bytes, mut deadline) = (lead.rows, lead.bytes, lead.deadline);
    let mut reason = None;
    let full = |rows: usize, calls: usize| rows >= policy.max_rows || calls >= policy.max_calls;
    while !full(rows, keys.len()) {
        let Some((key, call)) = in_time.find(|(_, call)| call.signature == Some(signature)) else { break };
        if rows + call.rows > policy.max_rows {
            reason = Some(CloseReason::Full);
            break;
        }
        // A call that could not be in time in a batch of its own can't be hurt by a larger one, so it does not hold others
        // back.
        let tightest = deadline.min(call.deadline);
        let late = |bytes| cost.predict(bytes).is_some_and(|run| now + run > tightest);
        if late(bytes + call.bytes) && !late(bytes.max(call.bytes)) {
            reason = Some(CloseReason::Deadline);
            break;
        }
        rows += call.rows;
        bytes += call.bytes;
        deadline = tightest;
        keys.push(key);
    }
    if full(rows, keys.len()) {
        reason = Some(CloseReason::Full);
    }
    let reason = match reason {
        Some(reason) => reason,
        None if policy.linger.is_zero() => CloseReason::Idle,
        None => {
            let run = cost.predict(bytes).unwrap_or_default();
            let latest_start = deadline.checked_sub(run).unwrap_or(now);
            let linger_ends = lead.entered + policy.linger;
            if now >= linger_ends {
                CloseReason::Latency
            } else if now >= latest_start {
                CloseReason::Deadline
            } else {
                return Decision::Wait(linger_ends.min(latest_start));
            }
        }
    };
    Decision::Take { keys, reason }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: BatchPolicy = BatchPolicy { max_rows: 8, max_calls: usize::MAX, linger: Duration::ZERO };

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn call(signature: &Signature, now: Instant) -> Candidate<'_> {
        Candidate { rows: 1, bytes: 10, signature: Some(signature), entered: now, deadline: now + ms(1_000) }
    }

    fn sig(dims: &[usize]) -> Signature {
        Signature(dims.into())
    }

    fn take(keys: &[usize], reason: CloseReason) -> Decision<usize> {
        Decision::Take { keys: keys.to_vec(), reason }
    }

    #[test]
    fn a_lone_call_starts_at_once() {
        let (now, a) = (start(), sig(&[4]));
        let decision = form(&POLICY, &CostModel::default(), now, [(0, call(&a, now))]);
        assert_eq!(decision, take(&[0], CloseReason::Idle));
    }

    #[test]
    fn the_oldest_leads_and_only_its_shape_joins() {
        let (now, a, b) = (start(), sig(&[4]), sig(&[5]));
        let waiting = [(0, call(&b, now)), (1, call(&a, now)), (2, call(&b, now)), (3, call(&a, now))];
        assert_eq!(form(&POLICY, &CostModel::default(), now, waiting), take(&[0, 2], CloseReason::Idle));
    }

    #[test]
    fn rows_and_calls_fill_a_batch_and_no_call_is_split() {
        let (now, a) = (start(), sig(&[4]));
        let rows = |rows| Candidate { rows, ..call(&a, now) };
        let of = |waiting: &[usize]| {
            form(&POLICY, &CostModel::default(), now, waiting.iter().map(|&n| rows(n)).enumerate().collect::<Vec<_>>())
        };
        assert_eq!(of(&[4, 4, 1]), take(&[0, 1], CloseReason::Full));
        assert_eq!(of(&[6, 4, 1]), take(&[0], CloseReason::Full));
        assert_eq!(of(&[20, 1]), take(&[0], CloseReason::Full));
        let two = BatchPolicy { max_calls: 2, ..POLICY };
        let waiting = (0..3).map(|key| (key, call(&a, now)));
        assert_eq!(form(&two, &CostModel::default(), now, waiting), take(&[0, 1], CloseReason::Full));
    }

    #[test]
    fn unbatchable_calls_run_alone() {
        let now = start();
        let a = sig(&[]);
        let alone = Candidate { signature: None, ..call(&a, now) };
        assert_eq!(form(&POLICY, &CostModel::default(), now, [(0, alone), (1, alone)]), take(&[0], CloseReason::Full));
    }

    #[test]
    fn a_batch_stops_growing_where_a_call_would_be_late() {
        let (now, a) = (start(), sig(&[4]));
        let mut cost = CostModel::default();
        cost.observe(10, ms(10));
        cost.observe(20, ms(20));
        let tight = Candidate { deadline: now + ms(25), ..call(&a, now) };
        let waiting = [(0, tight), (1, call(&a, now)), (2, call(&a, now))];
        assert_eq!(form(&POLICY, &cost, now, waiting), take(&[0, 1], CloseReason::Deadline));
    }

    #[test]
    fn late_calls_never_reach_the_engine() {
        let (now, a) = (start(), sig(&[4]));
        let late = Candidate { deadline: now, ..call(&a, now) };
        assert_eq!(form(&POLICY, &CostModel::default(), now, [(0, late)]), Decision::Empty);
        let waiting = [(0, late), (1, call(&a, now))];
        assert_eq!(form(&POLICY, &CostModel::default(), now, waiting), take(&[1], CloseReason::Idle));
    }

    #[test]
    fn lingering_is_only_on_request_and_ends_by_latency_deadline_or_a_full_batch() {
        let (now, a) = (start(), sig(&[4]));
        let policy = BatchPolicy { linger: ms(50), ..POLICY };
        let decide = |at: Instant, calls: usize| {
            form(&policy, &CostModel::default(), at, (0..calls).map(|key| (key, call(&a, now))).collect::<Vec<_>>())
        };
        assert_eq!(decide(now, 3), Decision::Wait(now + ms(50)));
        assert_eq!(decide(now + ms(50), 3), take(&[0, 1, 2], CloseReason::Latency));
        assert_eq!(decide(now, 8), take(&[0, 1, 2, 3, 4, 5, 6, 7], CloseReason::Full));
        let mut cost = CostModel::default();
        cost.observe(10, ms(20));
        let soon = Candidate { deadline: now + ms(40), ..call(&a, now) };
        assert_eq!(form(&policy, &cost, now, [(0, soon)]), Decision::Wait(now + ms(20)));
        assert_eq!(form(&policy, &cost, now + ms(20), [(0, soon)]), take(&[0], CloseReason::Deadline));
    }

    proptest! {
        /// Any batch is within its bounds, of one shape, in order, without late calls, and led by the oldest in time.
        #[test]
        fn batches_are_sound(
            calls in prop::collection::vec((1usize..6, 0usize..3, 0u64..200, 0u64..100), 0..60),
            max_rows in 1usize..12,
            max_calls in 1usize..12,
            linger in 0u64..60,
            per_row in 0u64..30,
        ) {
            let base = start();
            let now = base + ms(100);
            let shapes = [sig(&[1]), sig(&[2])];
            let mut cost = CostModel::default();
            if per_row > 0 {
                cost.observe(1, ms(per_row));
                cost.observe(2, ms(2 * per_row));
            }
            let waiting: Vec<_> = calls.iter().enumerate().map(|(key, &(rows, shape, deadline, entered))| {
                let candidate = Candidate {
                    rows,
                    bytes: rows,
                    signature: shapes.get(shape),
                    entered: base + ms(entered),
                    deadline: base + ms(deadline),
                };
                (key, candidate)
            }).collect();
            let policy = BatchPolicy { max_rows, max_calls, linger: ms(linger) };
            let oldest = waiting.iter().find(|(_, call)| call.deadline > now);
            match form(&policy, &cost, now, waiting.iter().copied()) {
                Decision::Empty => prop_assert!(oldest.is_none()),
                Decision::Wait(until) => {
                    prop_assert!(linger > 0 && until > now);
                    prop_assert!(until <= oldest.unwrap().1.entered + ms(linger));
                }
                Decision::Take { keys, reason } => {
                    prop_assert_eq!(keys[0], oldest.unwrap().0);
                    prop_assert!(keys.is_sorted_by(|a, b| a < b));
                    let picked: Vec<_> = keys.iter().map(|&key| waiting[key].1).collect();
                    prop_assert!(picked.iter().all(|call| call.deadline > now));
                    let rows: usize = picked.iter().map(|call| call.rows).sum();
                    prop_assert!(keys.len() == 1 || (rows <= max_rows && keys.len() <= max_calls));
                    prop_assert!(keys.len() == 1 || picked.iter().all(|call| call.signature == picked[0].signature));
                    prop_assert!(keys.len() == 1 || picked[0].signature.is_some());
                    prop_assert!(reason != CloseReason::Latency || linger > 0);
                }
            }
        }
    }
}
