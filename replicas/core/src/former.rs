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
    /// The length of each row, where rows of different lengths can share a batch by padding.
    pub length: Option<usize>,
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

/// What it takes to wake a waiting engine at a given instant.
const WAKING: Duration = Duration::from_millis(5);

/// How many calls are looked at for rows of a fitting length.
const LOOK_AHEAD: usize = 256;

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
    let Some(signature) = lead.signature else {
        return Decision::Take { keys: vec![key], reason: CloseReason::Full };
    };
    let mut batch = Batch::new(key, &lead);
    let mates = in_time.filter(|(_, call)| call.signature == Some(signature));
    let reason = match lead.length {
        None => batch.grow(policy, cost, now, mates),
        Some(length) => {
            // The nearest in length first: they cost the least padding. The sort keeps the order of arrival among equals.
            let mut mates: Vec<_> = mates.take(LOOK_AHEAD).collect();
            mates.sort_by_key(|(_, call)| call.length.map_or(usize::MAX, |other| other.abs_diff(length)));
            batch.grow(policy, cost, now, mates)
        }
    };
    let reason = match reason {
        Some(reason) => reason,
        None if policy.linger.is_zero() => CloseReason::Idle,
        None => {
            let latest_start = latest_start(lead.entered, batch.deadline, cost.predict(batch.bytes()));
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
    Decision::Take { keys: batch.keys, reason }
}

/// When a batch must start at the latest. A run may take longer than learned, and waking for it takes time on a busy
/// machine, so a quarter of it, [`WAKING`] and a tenth of what the callers gave are kept in reserve: company is worth less
/// than an answer. Where nothing is learned yet, half of the time is left to the run.
fn latest_start(entered: Instant, deadline: Instant, run: Option<Duration>) -> Instant {
    let given = deadline.saturating_duration_since(entered);
    match run {
        Some(run) => deadline.checked_sub(run + run / 4 + WAKING + given / 10).unwrap_or(entered),
        None => entered + given / 2,
    }
}

/// A batch that grows.
struct Batch<K> {
    keys: Vec<K>,
    rows: usize,
    /// Bytes of all calls as they came.
    own_bytes: usize,
    /// The longest row, and the bytes of one position of it, where rows are padded.
    padded: Option<(usize, usize)>,
    deadline: Instant,
}

impl<K> Batch<K> {
    fn new(key: K, lead: &Candidate<'_>) -> Self {
        let padded = lead.length.map(|length| (length, lead.bytes / (lead.rows * length).max(1)));
        Batch { keys: vec![key], rows: lead.rows, own_bytes: lead.bytes, padded, deadline: lead.deadline }
    }

    /// Bytes that the engine is given, padding included.
    fn bytes(&self) -> usize {
        self.padded.map_or(self.own_bytes, |(length, unit)| self.rows * length * unit)
    }

    fn bytes_with(&self, call: &Candidate<'_>) -> usize {
        match (self.padded, call.length) {
            (Some((longest, unit)), Some(length)) => (self.rows + call.rows) * longest.max(length) * unit,
            _ => self.own_bytes + call.bytes,
        }
    }

    fn add(&mut self, key: K, call: &Candidate<'_>) {
        self.keys.push(key);
        self.rows += call.rows;
        self.own_bytes += call.bytes;
        self.deadline = self.deadline.min(call.deadline);
        if let (Some((longest, _)), Some(length)) = (&mut self.padded, call.length) {
            *longest = (*longest).max(length);
        }
    }

    fn is_full(&self, policy: &BatchPolicy) -> bool {
        self.rows >= policy.max_rows || self.keys.len() >= policy.max_calls
    }

    /// Adds calls as long as they fit; returns why it stopped, unless there were no more.
    fn grow<'a>(
        &mut self,
        policy: &BatchPolicy,
        cost: &CostModel,
        now: Instant,
        mates: impl IntoIterator<Item = (K, Candidate<'a>)>,
    ) -> Option<CloseReason> {
        let mut mates = mates.into_iter();
        while !self.is_full(policy) {
            let (key, call) = mates.next()?;
            if self.rows + call.rows > policy.max_rows {
                return Some(CloseReason::Full);
            }
            let bytes = self.bytes_with(&call);
            if !pays(cost, self.bytes(), &call, bytes) {
                continue;
            }
            // A call that could not be in time in a batch of its own can't be hurt by a larger one, so it does not hold
            // others back.
            let tightest = self.deadline.min(call.deadline);
            let late = |bytes| cost.predict(bytes).is_some_and(|run| now + run > tightest);
            if late(bytes) && !late(self.bytes().max(call.bytes)) {
                return Some(CloseReason::Deadline);
            }
            self.add(key, &call);
        }
        Some(CloseReason::Full)
    }
}

/// Whether a call is run sooner together with a batch than after it. Without padding it always is; with padding, the
/// time for the zeros must not exceed the fixed cost that is saved.
fn pays(cost: &CostModel, batch: usize, call: &Candidate<'_>, together: usize) -> bool {
    if together <= batch + call.bytes {
        return true;
    }
    match (cost.predict(together), cost.drain(2, batch + call.bytes)) {
        (Some(together), Some(apart)) => together <= apart,
        _ => false,
    }
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
        Candidate {
            rows: 1,
            bytes: 10,
            signature: Some(signature),
            length: None,
            entered: now,
            deadline: now + ms(1_000),
        }
    }

    fn sig(dims: &[usize]) -> Signature {
        Signature { version: None, dims: dims.into() }
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
    fn padding_joins_near_lengths_as_far_as_it_saves_time() {
        let (now, a) = (start(), sig(&[]));
        // A run costs 10 ms and 1 ms for each position.
        let mut cost = CostModel::default();
        cost.observe(10, ms(20));
        cost.observe(20, ms(30));
        let of = |cost: &CostModel, lengths: &[usize]| {
            let waiting =
                lengths.iter().map(|&length| Candidate { bytes: length, length: Some(length), ..call(&a, now) });
            form(&POLICY, cost, now, waiting.enumerate().collect::<Vec<_>>())
        };
        assert_eq!(of(&cost, &[10, 40, 12, 11]), take(&[0, 3, 2], CloseReason::Idle));
        // Nine zeros cost less than a run; eighteen for the last call would not.
        assert_eq!(of(&cost, &[10, 19, 1]), take(&[0, 1], CloseReason::Idle));
        assert_eq!(of(&cost, &[30, 19]), take(&[0], CloseReason::Idle));
        assert_eq!(
            of(&CostModel::default(), &[10, 11, 10]),
            take(&[0, 2], CloseReason::Idle),
            "costs are not known yet"
        );
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
        assert_eq!(form(&policy, &CostModel::default(), now, [(0, soon)]), Decision::Wait(now + ms(20)));
        assert_eq!(form(&policy, &cost, now, [(0, soon)]), Decision::Wait(now + ms(6)));
        assert_eq!(form(&policy, &cost, now + ms(20), [(0, soon)]), take(&[0], CloseReason::Deadline));
    }

    proptest! {
        /// Any batch is within its bounds, of one shape, in order, without late calls, and led by the oldest in time.
        #[test]
        fn batches_are_sound(
            calls in prop::collection::vec((1usize..6, 0usize..4, 0u64..200, 0u64..100, 1usize..9), 0..60),
            max_rows in 1usize..12,
            max_calls in 1usize..12,
            linger in 0u64..60,
            per_row in 0u64..30,
        ) {
            let base = start();
            let now = base + ms(100);
            let shapes = [sig(&[1]), sig(&[2]), sig(&[])];
            let mut cost = CostModel::default();
            if per_row > 0 {
                cost.observe(1, ms(per_row));
                cost.observe(2, ms(2 * per_row));
            }
            let waiting: Vec<_> = calls.iter().enumerate().map(|(key, &(rows, shape, deadline, entered, length))| {
                let candidate = Candidate {
                    rows,
                    bytes: if shape == 2 { rows * length } else { rows },
                    signature: shapes.get(shape),
                    length: (shape == 2).then_some(length),
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
                    let mut distinct = keys.clone();
                    distinct.sort_unstable();
                    distinct.dedup();
                    prop_assert_eq!(distinct.len(), keys.len());
                    prop_assert!(oldest.unwrap().1.length.is_some() || keys.is_sorted());
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
