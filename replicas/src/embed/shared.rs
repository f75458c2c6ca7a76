//! The queue, and who waits for what.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{oneshot, watch};
use weirgate_models::Interrupt;
use weirgate_protocol::{Error, Result, RetryClass};
use weirgate_replicas_core::embedding::{CallId, EmbedQueue, NewCall};

use super::answer::{EmbedTiming, Embedded};
use super::observer::{EmbedObserver, EmbedStats, Ended};
use super::request::Embed;
use crate::text::{EngineEnd, Phase};

/// What an engine and its thread have in common.
pub(super) struct Shared {
    pub name: String,
    pub state: Mutex<State>,
    pub wake: Condvar,
    pub ended: watch::Sender<Option<EngineEnd>>,
    pub interrupt: Arc<dyn Interrupt>,
    pub observer: Arc<dyn EmbedObserver>,
}

pub(super) struct State {
    pub queue: EmbedQueue,
    pub live: HashMap<CallId, Live>,
    pub phase: Phase,
    /// Calls of the run that is under way.
    pub running: HashSet<CallId>,
    pub stats: EmbedStats,
}

/// A call that is let in, as its caller sees it.
pub(super) struct Live {
    /// Tokens of its texts; each is taken away when it is computed.
    pub texts: Vec<Vec<u32>>,
    /// The vectors that are there, in the places that they will have.
    pub values: Vec<f32>,
    pub dimensions: usize,
    tokens: usize,
    arrived: Instant,
    started: Option<Instant>,
    runs: u32,
    caller: oneshot::Sender<Result<Embedded>>,
}

/// What a caller is to be told.
pub(super) struct Farewell {
    pub live: Live,
    /// None where all vectors are there.
    pub error: Option<Error>,
}

impl Shared {
    /// Takes a call in. It was checked.
    pub fn submit(&self, request: Embed, dimensions: usize) -> Result<(CallId, oneshot::Receiver<Result<Embedded>>)> {
        let Embed { texts, priority, arrived, deadline, .. } = request;
        let lengths: Vec<usize> = texts.iter().map(Vec::len).collect();
        let (caller, answer) = oneshot::channel();
        let live = Live {
            tokens: lengths.iter().sum(),
            values: Vec::new(),
            texts,
            dimensions,
            arrived,
            started: None,
            runs: 0,
            caller,
        };
        let mut state = self.state.lock();
        state.phase.check()?;
        let call = state.queue.submit(NewCall { lengths, priority, arrived, deadline })?;
        state.live.insert(call, live);
        drop(state);
        self.wake.notify_one();
        Ok((call, answer))
    }

    /// Takes a call out, if it is there still, and ends the run where nobody waits for it any more.
    pub fn cancel(&self, call: CallId) {
        let mut state = self.state.lock();
        let Some(live) = state.take_out(call) else { return };
        let State { running, live: others, .. } = &*state;
        if !running.is_empty() && running.iter().all(|call| !others.contains_key(call)) {
            self.interrupt.stop();
        }
        drop(state);
        self.wake.notify_one();
        self.tell([Farewell { live, error: Some(Error::cancelled("nobody waited for the answer any more")) }]);
    }

    /// Refuses what comes from now on. Where it is to stop, the run that is under way ends too.
    pub fn end(&self, phase: Phase) {
        let mut state = self.state.lock();
        match (&state.phase, &phase) {
            (Phase::Serving, _) | (Phase::Draining, Phase::Stopping) => state.phase = phase,
            _ => return,
        }
        if state.phase == Phase::Stopping && !state.running.is_empty() {
            self.interrupt.stop();
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Tells callers of their calls' ends.
    pub fn tell(&self, farewells: impl IntoIterator<Item = Farewell>) {
        for Farewell { live, error } in farewells {
            let Live { texts, values, dimensions, tokens, arrived, started, runs, caller } = live;
            let since = |at: Instant| at.saturating_duration_since(arrived);
            let timing = EmbedTiming { queue: started.map(since), total: since(Instant::now()), runs };
            self.observer.finished(&Ended { error: error.clone(), texts: texts.len(), tokens, timing });
            let answer = match error {
                None => Ok(Embedded { values, dimensions, tokens, timing }),
                Some(error) => Err(error),
            };
            // Whoever doesn't wait any more needs no answer.
            let _ = caller.send(answer);
        }
    }
}

impl State {
    /// A call that is over, whatever is left of it.
    pub fn take_out(&mut self, call: CallId) -> Option<Live> {
        self.queue.remove(call);
        self.live.remove(&call)
    }

    /// The same, with what its caller is told.
    pub fn fail(&mut self, call: CallId, error: impl FnOnce(&Live) -> Error) -> Option<Farewell> {
        let live = self.take_out(call)?;
        let error = Some(error(&live));
        Some(Farewell { live, error })
    }
}

impl Live {
    /// A run begins that has a text of it.
    pub fn start(&mut self, now: Instant) {
        self.started.get_or_insert(now);
        self.runs += 1;
    }

    pub fn has_started(&self) -> bool {
        self.started.is_some()
    }

    /// Puts a text's vector in its place.
    pub fn put(&mut self, index: usize, vector: &[f32]) {
        self.values.resize(self.texts.len() * self.dimensions, 0.0);
        let place = self.values.get_mut(index * self.dimensions..(index + 1) * self.dimensions);
        if let Some(place) = place.filter(|place| place.len() == vector.len()) {
            place.copy_from_slice(vector);
        }
    }
}

/// What a call is told whose deadline has passed.
pub(super) fn late(live: &Live) -> Error {
    let retry = if live.has_started() { RetryClass::MayHaveExecuted } else { RetryClass::NotExecuted };
    Error::deadline("the deadline passed before all texts were embedded", retry)
}
