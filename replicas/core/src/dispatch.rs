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
    /// Rows of a full batch, as the last pull had it.
    max_rows: usize,
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
    since: Instant,
}

/// What waits in the lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    pub rows: usize,
    pub bytes: usize,
}

impl<E: Clone + PartialEq> Default for Dispatch<E> {
    fn default() -> Self {
        Dispatch { cost: CostModel::default(), idle: Vec::new(), running: Vec::new(), engines: 0, max_rows: 1 }
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

    /// How long a call of `bytes` that comes now waits and runs at the least: after what runs, behind what waits, and
    /// through its own run. Without the first and the last, an overloaded lane fills with calls that are let in and then
    /// all come a little too late. Zero where an engine has nothing else to do.
    pub fn predicted_wait(&self, backlog: Backlog, bytes: usize, now: Instant) -> Duration {
        if backlog.rows == 0 && self.running.len() < self.engines.max(1) {
            return Duration::ZERO;
        }
        let left = |batch: &Running<E>| {
            let run = self.cost.at_least(1, batch.bytes).unwrap_or_default();
            run.saturating_sub(now.saturating_duration_since(batch.since))
        };
        let running: Duration = self.running.iter().map(left).sum();
        let batches = backlog.rows.saturating_add(1).div_ceil(self.max_rows.max(1));
        let queued = self.cost.at_least(batches, backlog.bytes.saturating_add(bytes)).unwrap_or_default();
        (running + queued) / u32::try_from(self.engines.max(1)).unwrap_or(u32::MAX)
    }

    /// How many of `waiting` calls idle engines should look at: one each.
    pub fn to_show(&self, waiting: usize) -> usize {
        waiting.min(self.idle.len())
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
        self.max_rows = policy.max_rows;
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
    pub fn took(&mut self, engine: &E, calls: usize, bytes: usize, now: Instant) {
        self.running.push(Running { engine: engine.clone(), calls, bytes, since: now });
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
        let (now, shape) = (start(), Signature([].into()));
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
        let (now, shape) = (start(), Signature([].into()));
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
    fn the_wait_counts_what_runs_and_what_waits_and_shrinks_as_it_runs() {
        let now = start();
        let mut dispatch = Dispatch::<u8>::default();
        dispatch.set_engines(1);
        dispatch.pull::<usize>(&1, &POLICY, now, std::iter::empty());
        dispatch.took(&1, 1, 10, now);
        dispatch.done(&1, Some((10, ms(10))));
        dispatch.took(&1, 1, 20, now);
        dispatch.done(&1, Some((20, ms(20))));
        assert_eq!(dispatch.predicted_wait(Backlog::default(), 10, now), Duration::ZERO, "the engine is free");
        dispatch.took(&1, 1, 20, now);
        let near = |wait: Duration, expected: u64| wait.abs_diff(ms(expected)) < ms(1);
        assert!(near(dispatch.predicted_wait(Backlog::default(), 10, now), 30));
        assert!(near(dispatch.predicted_wait(Backlog::default(), 10, now + ms(15)), 15));
        assert!(near(dispatch.predicted_wait(Backlog { rows: 4, bytes: 40 }, 10, now), 70));
        assert_eq!(dispatch.running_calls(), 1);
    }
}
