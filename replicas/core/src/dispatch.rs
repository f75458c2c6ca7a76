//! Which engine looks at a lane, and when: who is idle, who waits for company, what runs, and how long that will take.
//!
//! Generic in how engines are named, so that the gateway's threads and the simulator's numbers share it. The waiting calls
//! are the lane's; they are shown to it call by call.

use std::time::{Duration, Instant};

use crate::cost::CostModel;
use crate::former::{BatchPolicy, Candidate, Decision, form};

/// The engines behind one lane.
#[derive(Clone, Debug)]
pub struct Dispatch<E> {
    cost: CostModel,
    idle: Vec<Idle<E>>,
    running: Vec<Running<E>>,
    /// Engines that are ready.
    engines: usize,
    /// Rows and calls of a full batch, as the last pull had it.
    full: (usize, usize),
}

/// An engine with nothing to do.
#[derive(Clone, Debug)]
struct Idle<E> {
    engine: E,
    /// It waits for company for the oldest call: by this policy, until then.
    lingers: Option<(BatchPolicy, Instant)>,
}

/// A batch that runs.
#[derive(Clone, Debug)]
struct Running<E> {
    engine: E,
    calls: usize,
    bytes: usize,
}

/// What waits in the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    pub calls: usize,
    pub rows: usize,
    pub bytes: usize,
}

impl<E: Clone + PartialEq> Default for Dispatch<E> {
    fn default() -> Self {
        Dispatch {
            cost: CostModel::default(),
            idle: Vec::new(),
            running: Vec::new(),
            engines: 0,
            full: (1, usize::MAX),
        }
    }
}

impl<E: Clone + PartialEq> Dispatch<E> {
    pub fn set_engines(&mut self, ready: usize) {
        self.engines = ready;
    }

    pub fn cost(&self) -> &CostModel {
        &self.cost
    }

    /// Calls that engines have taken and not finished.
    pub fn running_calls(&self) -> usize {
        self.running.iter().map(|batch| batch.calls).sum()
    }

    /// How long a call of `bytes` that comes now waits and runs: after what runs, behind what waits, and through its own
    /// run. Batches that run are counted whole: without that margin, or without its own run, an overloaded lane fills with
    /// calls that are let in and then all come a little too late. Zero where an engine has nothing else to do.
    pub fn predicted_wait(&self, backlog: Backlog, bytes: usize) -> Duration {
        if backlog.rows == 0 && self.running.len() < self.engines.max(1) {
            return Duration::ZERO;
        }
        let queued = self.batches(backlog.calls.saturating_add(1), backlog.rows.saturating_add(1));
        let running: usize = self.running.iter().map(|batch| batch.bytes).sum();
        let bytes = backlog.bytes.saturating_add(bytes).saturating_add(running);
        let work = self.cost.at_least(queued + self.running.len(), bytes).unwrap_or_default();
        work / u32::try_from(self.engines.max(1)).unwrap_or(u32::MAX)
    }

    /// The fewest batches that so many calls and rows take. A call is never divided, so a large one is one batch.
    fn batches(&self, calls: usize, rows: usize) -> usize {
        let (max_rows, max_calls) = self.full;
        rows.div_ceil(max_rows.max(1)).min(calls).max(calls.div_ceil(max_calls.max(1)))
    }

    /// How many of `waiting` calls idle engines should look at: one each.
    pub fn to_show(&self, waiting: usize) -> usize {
        waiting.min(self.idle.len())
    }

    pub fn idle(&self) -> usize {
        self.idle.len()
    }

    /// When the first of the engines that wait for company looks again.
    pub fn looks_again(&self) -> Option<Instant> {
        self.idle.iter().filter_map(|idle| Some(idle.lingers?.1)).min()
    }

    /// Whether an engine waits for company. When the call it waits for leaves, the lane must be looked at again.
    pub fn lingers(&self) -> bool {
        self.idle.iter().any(|idle| idle.lingers.is_some())
    }

    /// The idle engines that shall look at the lane now. `waiting` shows it, oldest first, each time it is called.
    pub fn wake<'a, K, W>(&mut self, now: Instant, calls: usize, waiting: impl Fn() -> W) -> Vec<E>
    where
        W: Iterator<Item = (K, Candidate<'a>)>,
    {
        let mut awake = Vec::new();
        for _ in 0..self.to_show(calls) {
            let Some(index) = self.idle.iter().position(|idle| idle.lingers.is_some()) else {
                awake.extend(self.idle.pop().map(|idle| idle.engine));
                continue;
            };
            let sooner = match self.idle[index].lingers {
                None => true,
                Some((policy, armed)) => match form(&policy, &self.cost, now, waiting()) {
                    Decision::Take { .. } => true,
                    // A call may leave less time than the engine means to wait.
                    Decision::Wait(until) => until < armed,
                    Decision::Empty => false,
                },
            };
            if !sooner {
                break;
            }
            awake.push(self.idle.swap_remove(index).engine);
        }
        awake
    }

    /// A free engine asks for its next batch. It counts as idle from here on, unless it gets one; then tell [`took`].
    ///
    /// [`took`]: Dispatch::took
    pub fn pull<'a, K>(
        &mut self,
        engine: &E,
        policy: &BatchPolicy,
        now: Instant,
        waiting: impl Iterator<Item = (K, Candidate<'a>)>,
    ) -> Decision<K> {
        self.leave(engine);
        self.full = (policy.max_rows, policy.max_calls);
        let decision = form(policy, &self.cost, now, waiting);
        let lingers = match &decision {
            Decision::Take { .. } => return decision,
            Decision::Wait(until) => Some((*policy, *until)),
            Decision::Empty => None,
        };
        self.idle.push(Idle { engine: engine.clone(), lingers });
        decision
    }

    /// The engine has a batch.
    pub fn took(&mut self, engine: &E, calls: usize, bytes: usize) {
        self.running.push(Running { engine: engine.clone(), calls, bytes });
    }

    /// The engine's batch is done. `ran` has the bytes the model was given and its time, where it answered.
    pub fn done(&mut self, engine: &E, ran: Option<(usize, Duration)>) {
        self.running.retain(|batch| batch.engine != *engine);
        if let Some((bytes, took)) = ran {
            self.cost.observe(bytes, took);
        }
    }

    /// The engine is not idle any more, or gone.
    pub fn leave(&mut self, engine: &E) {
        self.idle.retain(|idle| idle.engine != *engine);
    }
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::Signature;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[allow(clippy::disallowed_methods)]
    fn start() -> Instant {
        Instant::now()
    }

    fn call(signature: &Signature, now: Instant, left: Duration) -> Candidate<'_> {
        Candidate { rows: 1, bytes: 10, signature: Some(signature), length: None, entered: now, deadline: now + left }
    }

    const POLICY: BatchPolicy = BatchPolicy { max_rows: 4, max_calls: usize::MAX, linger: Duration::ZERO };
    const LINGERS: BatchPolicy = BatchPolicy { linger: Duration::from_secs(5), ..POLICY };

    #[test]
    fn each_waiting_call_wakes_one_idle_engine() {
        let (now, shape) = (start(), Signature::default());
        let mut dispatch = Dispatch::<u8>::default();
        for engine in [1, 2] {
            assert_eq!(dispatch.pull::<usize>(&engine, &POLICY, now, std::iter::empty()), Decision::Empty);
        }
        let waiting = || std::iter::once((0, call(&shape, now, ms(100))));
        assert_eq!(dispatch.wake(now, 1, waiting).len(), 1);
        assert_eq!(dispatch.wake(now, 1, waiting).len(), 1);
        assert!(dispatch.wake(now, 1, waiting).is_empty());
    }

    #[test]
    fn a_call_with_less_time_ends_the_wait_for_company() {
        let (now, shape) = (start(), Signature::default());
        let mut dispatch = Dispatch::<u8>::default();
        let patient = call(&shape, now, ms(60_000));
        assert_eq!(dispatch.pull(&1, &LINGERS, now, std::iter::once((0, patient))), Decision::Wait(now + ms(5_000)));
        let with = |other: Candidate<'static>| vec![(0, patient), (1, other)].into_iter();
        let shape: &'static Signature = Box::leak(Box::new(shape.clone()));
        let another = call(shape, now, ms(60_000));
        assert!(dispatch.wake(now, 2, || with(another)).is_empty());
        let hurried = call(shape, now, ms(400));
        assert_eq!(dispatch.wake(now, 2, || with(hurried)), [1]);
    }

    #[test]
    fn the_wait_counts_what_runs_what_waits_and_the_call_itself() {
        let mut dispatch = Dispatch::<u8>::default();
        dispatch.set_engines(1);
        dispatch.pull::<usize>(&1, &POLICY, start(), std::iter::empty());
        for (bytes, took) in [(10, 10), (20, 20)] {
            dispatch.took(&1, 1, bytes);
            dispatch.done(&1, Some((bytes, ms(took))));
        }
        let waits = |dispatch: &Dispatch<u8>, rows, bytes, expected| {
            let wait = dispatch.predicted_wait(Backlog { calls: rows, rows, bytes }, 10);
            assert!(wait.abs_diff(ms(expected)) < ms(1), "{wait:?} for {expected} ms");
        };
        waits(&dispatch, 0, 0, 0);
        dispatch.took(&1, 1, 20);
        waits(&dispatch, 0, 0, 30);
        waits(&dispatch, 4, 40, 70);
        assert_eq!(dispatch.running_calls(), 1);
    }

    #[test]
    fn a_call_of_many_rows_is_one_batch() {
        let mut dispatch = Dispatch::<u8>::default();
        dispatch.pull::<usize>(&1, &POLICY, start(), std::iter::empty());
        assert_eq!(dispatch.batches(1, 64), 1);
        assert_eq!(dispatch.batches(8, 8), 2);
        assert_eq!(dispatch.batches(6, 6 * 64), 6);
        dispatch.pull::<usize>(&1, &BatchPolicy { max_calls: 1, ..POLICY }, start(), std::iter::empty());
        assert_eq!(dispatch.batches(6, 6), 6);
    }
}
