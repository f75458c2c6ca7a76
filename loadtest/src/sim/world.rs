//! The events of a history, in the order of virtual time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use weirgate_router::Ticket;

use super::dispatch::{Dispatch, Pull, Refusal};
use super::promise::{self, Fate, Summary, Violation};
use super::scenario::{Arrivals, Scenario};

/// Steps that a violation shows.
const HISTORY: usize = 40;

/// Plays a scenario to its end.
pub fn run(scenario: &Scenario) -> Result<Summary, Violation> {
    let mut world = World::new(scenario);
    match world.play() {
        Ok(()) => Ok(world.summary),
        Err(what) => Err(Violation { seed: scenario.seed, what, history: world.history.into() }),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Arrive(usize),
    /// The call's body has been read.
    Read(usize),
    Leave(usize),
    Deadline(usize),
    /// An engine looks at the lane, if this is still what it last set out to do.
    Pull {
        engine: usize,
        turn: u64,
    },
    Done {
        engine: usize,
        turn: u64,
    },
    /// The courier wakes idle engines.
    Courier,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Not there yet.
    Ahead,
    Reading,
    Waiting(Ticket),
    Running(usize),
    Over(Fate),
}

#[derive(Clone, Debug)]
enum Engine {
    /// It will look at the lane in a moment.
    Waking,
    Idle,
    Runs {
        calls: Vec<usize>,
        bytes: usize,
        started: Instant,
    },
}

struct World<'a> {
    scenario: &'a Scenario,
    rng: StdRng,
    start: Instant,
    now: Instant,
    /// By time; of events at one time, the seed says which is first.
    events: BinaryHeap<Reverse<(Instant, u32, Event)>>,
    dispatch: Dispatch,
    engines: Vec<(Engine, u64)>,
    /// Whether the courier has been called and has not come yet.
    courier: bool,
    places: Vec<(Place, Instant)>,
    /// How much the cost model knew when the first idle engine last decided to wait.
    armed_at: Option<u64>,
    /// The next call of a closed loop.
    next: usize,
    summary: Summary,
    history: VecDeque<String>,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario) -> World<'a> {
        // Only its distance to later instants counts.
        let start = Instant::now();
        World {
            scenario,
            rng: StdRng::seed_from_u64(scenario.seed ^ 0x5eed),
            start,
            now: start,
            events: BinaryHeap::new(),
            dispatch: Dispatch::new(scenario.limits, scenario.policy, scenario.engines),
            engines: vec![(Engine::Waking, 0); scenario.engines],
            courier: false,
            places: vec![(Place::Ahead, start); scenario.calls.len()],
            armed_at: None,
            next: 0,
            summary: Summary::default(),
            history: VecDeque::new(),
        }
    }

    fn play(&mut self) -> Result<(), String> {
        for engine in 0..self.engines.len() {
            self.wake(engine);
        }
        self.plan_arrivals();
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > self.now {
                self.check_moment()?;
                self.now = at;
            }
            self.step(event)?;
            promise::bounds(&self.dispatch.lane, || self.calls_with_bytes())?;
        }
        self.check_end()
    }

    fn plan_arrivals(&mut self) {
        let count = self.scenario.calls.len();
        let mut at = self.start;
        match self.scenario.arrivals {
            Arrivals::Poisson { per_second } => {
                for call in 0..count {
                    let gap = -(1.0 - self.rng.random::<f64>()).ln() / per_second;
                    at += Duration::from_secs_f64(gap);
                    self.at(at, Event::Arrive(call));
                }
            }
            Arrivals::Bursts { size, every } => {
                for call in 0..count {
                    self.at(at, Event::Arrive(call));
                    if (call + 1) % size == 0 {
                        at += every;
                    }
                }
            }
            Arrivals::Closed { callers, .. } => {
                self.next = callers.min(count);
                for call in 0..self.next {
                    self.at(at, Event::Arrive(call));
                }
            }
        }
    }

    fn at(&mut self, at: Instant, event: Event) {
        let order = self.rng.random();
        self.events.push(Reverse((at, order, event)));
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        let at = self.now - self.start;
        self.history.push_back(format!("{at:?}: {}", text()));
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Arrive(call) => self.arrive(call),
            Event::Read(call) => self.enter(call),
            Event::Leave(call) => self.gone(call, Fate::Cancelled),
            Event::Deadline(call) => self.gone(call, Fate::Expired),
            Event::Pull { engine, turn } if self.engines[engine].1 == turn => self.pull(engine),
            Event::Done { engine, turn } if self.engines[engine].1 == turn => self.done(engine, true),
            Event::Pull { .. } | Event::Done { .. } => Ok(()),
            Event::Courier => {
                self.courier = false;
                for engine in self.dispatch.wake(self.now) {
                    self.note(|| format!("engine {engine} is woken"));
                    self.wake(engine);
                }
                Ok(())
            }
        }
    }

    fn arrive(&mut self, id: usize) -> Result<(), String> {
        let call = &self.scenario.calls[id];
        let deadline = self.now + call.timeout;
        self.places[id].1 = deadline;
        match self.dispatch.admit(call.announced, deadline, self.now) {
            Ok(()) => {}
            Err(refusal) => {
                self.note(|| match &refusal {
                    Refusal::Full(full) => format!("call {id} is refused: {full}"),
                    Refusal::Late(wait) => format!("call {id} is refused: {wait:?} pass its deadline"),
                });
                if matches!(refusal, Refusal::Late(wait) if wait <= call.timeout) {
                    return Err(format!("call {id} is refused, but would have been in time"));
                }
                return self.end(id, Fate::Refused);
            }
        }
        self.note(|| format!("call {id} arrives: {call:?}"));
        self.places[id].0 = Place::Reading;
        self.at(self.now + call.reading, Event::Read(id));
        self.at(deadline, Event::Deadline(id));
        if let Some(leaves) = call.leaves {
            self.at(self.now + leaves, Event::Leave(id));
        }
        Ok(())
    }

    fn enter(&mut self, id: usize) -> Result<(), String> {
        let (place, deadline) = self.places[id];
        if place != Place::Reading {
            return Ok(());
        }
        let call = &self.scenario.calls[id];
        if let Err(full) = self.dispatch.lane.grow(0, call.bytes) {
            self.note(|| format!("call {id} has no room: {full:?}"));
            self.dispatch.lane.release(0);
            return self.end(id, Fate::Refused);
        }
        let ticket = self.dispatch.enter(id, call, call.bytes, deadline, self.now);
        self.places[id].0 = Place::Waiting(ticket);
        self.note(|| format!("call {id} enters"));
        self.call_courier();
        Ok(())
    }

    /// The caller stops waiting, wherever its call is.
    fn gone(&mut self, id: usize, fate: Fate) -> Result<(), String> {
        match self.places[id].0 {
            Place::Ahead => return Err(format!("call {id} ends before it comes")),
            Place::Over(_) => return Ok(()),
            Place::Reading => self.dispatch.lane.release(0),
            Place::Waiting(ticket) => {
                if self.dispatch.lane.remove(ticket).is_none() {
                    return Err(format!("call {id} waits, but is not in the lane"));
                }
                if self.dispatch.lingers() {
                    self.call_courier();
                }
            }
            Place::Running(_) => {}
        }
        let was = self.places[id].0;
        self.note(|| format!("call {id} is {fate:?}, it was {was:?}"));
        self.end(id, fate)?;
        // A batch for which nobody waits any more is stopped.
        if let Place::Running(engine) = was
            && let Engine::Runs { calls, .. } = &self.engines[engine].0
            && calls.iter().all(|&call| matches!(self.places[call].0, Place::Over(_)))
        {
            self.done(engine, false)?;
        }
        Ok(())
    }

    fn pull(&mut self, engine: usize) -> Result<(), String> {
        let first = self.dispatch.lane.iter().find(|(_, call)| call.deadline > self.now).map(|(_, call)| call.item.id);
        match self.dispatch.pull(engine, self.now) {
            Pull::Took { calls, bytes, reason } => {
                let shape = |id: usize| self.scenario.calls[id].shape;
                promise::batch(&calls, first, reason, &self.scenario.policy, shape, self.now)?;
                self.summary.took_batch(&calls, reason, self.now);
                for call in &calls {
                    self.places[call.item.id].0 = Place::Running(engine);
                }
                let calls: Vec<usize> = calls.iter().map(|call| call.item.id).collect();
                self.note(|| format!("engine {engine} takes {calls:?}, closed as {}", reason.label()));
                let turn = self.set(engine, Engine::Runs { calls, bytes, started: self.now });
                let took = self.service_time(bytes);
                self.at(self.now + took, Event::Done { engine, turn });
                // While an engine lingers calls come that wake nobody. What this batch leaves of them is the next idle
                // engine's.
                self.call_courier();
            }
            Pull::Until(until) => {
                if until <= self.now {
                    return Err(format!("engine {engine} is to look again in the past"));
                }
                self.note(|| format!("engine {engine} waits for company"));
                self.armed_at = Some(self.dispatch.learned);
                let turn = self.set(engine, Engine::Idle);
                self.at(until, Event::Pull { engine, turn });
            }
            Pull::Empty => {
                if let Some(first) = first {
                    return Err(format!("engine {engine} finds nothing, but call {first} waits in time"));
                }
                self.note(|| format!("engine {engine} is idle"));
                self.set(engine, Engine::Idle);
            }
        }
        Ok(())
    }

    fn service_time(&mut self, bytes: usize) -> Duration {
        let service = self.scenario.service;
        let per_byte = service.per_byte * u32::try_from(bytes).unwrap_or(u32::MAX);
        let noise = if service.noise > 0.0 { self.rng.random_range(-service.noise..service.noise) } else { 0.0 };
        (service.fixed + per_byte).mul_f64(1.0 + noise)
    }

    fn done(&mut self, engine: usize, whole: bool) -> Result<(), String> {
        let Engine::Runs { calls, bytes, started } = std::mem::replace(&mut self.engines[engine].0, Engine::Idle)
        else {
            return Err(format!("engine {engine} ends a run it did not begin"));
        };
        self.note(|| format!("engine {engine} is done"));
        self.dispatch.ran(engine, bytes, whole.then(|| self.now - started));
        for id in calls {
            match self.places[id].0 {
                Place::Running(_) if whole => self.end(id, Fate::Answered)?,
                Place::Over(Fate::Cancelled | Fate::Expired) => {}
                place => return Err(format!("call {id} was run, and is {place:?}")),
            }
        }
        self.call_courier();
        // It looks at the lane at once.
        let turn = self.set(engine, Engine::Waking);
        self.at(self.now, Event::Pull { engine, turn });
        Ok(())
    }

    /// What the engine had set out to do before is off.
    fn set(&mut self, engine: usize, state: Engine) -> u64 {
        let (current, turn) = &mut self.engines[engine];
        *current = state;
        *turn += 1;
        *turn
    }

    /// Has the courier look after other connections have had their turn, if there is anything for it to do.
    fn call_courier(&mut self) {
        if self.courier || self.dispatch.calls_to_show() == 0 {
            return;
        }
        self.courier = true;
        let delay = self.scenario.wake.mul_f64(self.rng.random());
        self.at(self.now + delay, Event::Courier);
    }

    fn wake(&mut self, engine: usize) {
        let turn = self.set(engine, Engine::Waking);
        let delay = self.scenario.wake.mul_f64(self.rng.random());
        self.at(self.now + delay, Event::Pull { engine, turn });
    }

    fn end(&mut self, id: usize, fate: Fate) -> Result<(), String> {
        if let Place::Over(before) = self.places[id].0 {
            return Err(format!("call {id} ends twice: {before:?}, then {fate:?}"));
        }
        if fate == Fate::Answered && self.now > self.places[id].1 {
            return Err(format!("call {id} is answered after its deadline"));
        }
        self.places[id].0 = Place::Over(fate);
        self.summary.ended(fate);
        self.summary.took = self.now - self.start;
        if let Arrivals::Closed { think, .. } = self.scenario.arrivals
            && self.next < self.scenario.calls.len()
        {
            let next = self.next;
            self.next += 1;
            // Never at once: a refused caller would spin.
            self.at(self.now + think.max(Duration::from_nanos(1)), Event::Arrive(next));
        }
        Ok(())
    }

    /// Time is about to pass.
    fn check_moment(&mut self) -> Result<(), String> {
        let waking = self.engines.iter().filter(|(engine, _)| matches!(engine, Engine::Waking)).count();
        let waking = waking + usize::from(self.courier);
        promise::nobody_waits_beside_an_idle_engine(&self.dispatch, waking, self.armed_at, self.now)
    }

    /// Calls that the lane holds bytes for.
    fn calls_with_bytes(&self) -> usize {
        self.places.iter().filter(|(place, _)| matches!(place, Place::Waiting(_))).count()
    }

    fn check_end(&self) -> Result<(), String> {
        if let Some(id) = self.places.iter().position(|(place, _)| !matches!(place, Place::Over(_))) {
            return Err(format!("call {id} never ends: it is {:?}", self.places[id].0));
        }
        let lane = &self.dispatch.lane;
        if (lane.held(), lane.bytes(), lane.rows(), lane.waiting_bytes()) != (0, 0, 0, 0) {
            return Err(format!("the lane is left with {} calls, {} bytes", lane.held(), lane.bytes()));
        }
        Ok(())
    }
}
