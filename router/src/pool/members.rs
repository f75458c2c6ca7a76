//! The members and where each stands, kept so that a pick looks at a few of them however many there are.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::breaker::{Breaker, Position};
use super::config::PoolConfig;
use super::ejection::{Ejection, Record};
use super::load::Load;
use super::number_hash::NumberHash;
use super::session::Sessions;
use super::set::Set;
use super::window::Window;
use super::{Member, MemberState, Standing};

/// The kinds that a member's window counts.
pub(super) const ANSWERED: usize = 0;
pub(super) const FAILED: usize = 1;
pub(super) const OVERLOADED: usize = 2;

/// How far one call moves the mean latency that outliers are judged by.
const MEAN_STEP: f64 = 1.0 / 16.0;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) member: Member,
    pub(super) slots: usize,
    pub(super) running: usize,
    pub(super) draining: bool,
    pub(super) load: Load,
    pub(super) breaker: Breaker,
    pub(super) ejection: Ejection,
    pub(super) window: Window<3>,
    /// Seconds.
    mean: Option<f64>,
    /// When its standing changes by itself.
    wakes: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Members {
    nodes: Vec<Option<Node>>,
    free: Vec<u32>,
    slots: HashMap<Member, u32, NumberHash>,
    /// Those that are in, with and without room.
    pub(super) inside: Set,
    /// Those that are in and have room.
    pub(super) roomy: Set,
    /// Those with room that run nothing and did not fail last.
    pub(super) idle: Set,
    /// Those whose breaker is half open and that nothing tries now.
    pub(super) triable: Set,
    pub(super) sessions: Sessions,
    timers: BTreeSet<(Instant, u32)>,
    draining: usize,
    ejected: usize,
}

impl Node {
    fn new(member: Member, slots: usize, config: &PoolConfig, now: Instant) -> Node {
        Node {
            member,
            slots,
            running: 0,
            draining: false,
            load: Load::new(now),
            breaker: Breaker::new(now),
            ejection: Ejection::new(now),
            window: Window::new(config.breaker.window, now),
            mean: None,
            wakes: None,
        }
    }

    pub(super) fn standing(&self) -> Standing {
        match (self.draining, self.breaker.position(), self.ejection.until()) {
            (true, ..) => Standing::Draining,
            (_, Position::Open { until }, _) => Standing::Open { until },
            (.., Some(until)) => Standing::Ejected { until },
            (_, Position::HalfOpen { .. }, _) => Standing::HalfOpen,
            (_, Position::Closed, None) => Standing::In,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.running < self.slots
    }

    pub(super) fn took(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.mean = Some(self.mean.map_or(took, |mean| mean + (took - mean) * MEAN_STEP));
    }

    pub(super) fn record(&mut self, now: Instant) -> Record {
        let [answered, failed, overloaded] = self.window.counts(now);
        let bad = failed + overloaded;
        let calls = answered + bad;
        Record { calls, bad: f64::from(bad) / f64::from(calls.max(1)), latency: self.mean }
    }

    fn is_triable(&self) -> bool {
        matches!(self.breaker.position(), Position::HalfOpen { trying: false, .. })
            && self.standing() == Standing::HalfOpen
            && self.has_room()
    }

    fn next_change(&self) -> Option<Instant> {
        let opens = match self.breaker.position() {
            Position::Open { until } => Some(until),
            _ => None,
        };
        opens.into_iter().chain(self.ejection.until()).min().filter(|_| !self.draining)
    }

    pub(super) fn state(&self, usual: f64, config: &PoolConfig, now: Instant) -> MemberState {
        MemberState {
            standing: self.standing(),
            running: self.running,
            slots: self.slots,
            latency: Duration::from_secs_f64(self.load.latency(usual, &config.balance, now)),
            penalty: Duration::from_secs_f64(self.load.penalty(now)),
        }
    }
}

impl Members {
    /// A member that is not here yet.
    pub(super) fn join(&mut self, member: Member, slots: usize, config: &PoolConfig, now: Instant) {
        let node = Node::new(member, slots, config, now);
        let slot = match self.free.pop() {
            Some(slot) => {
                self.nodes[slot as usize] = Some(node);
                slot
            }
            None => {
                self.nodes.push(Some(node));
                (self.nodes.len() - 1) as u32
            }
        };
        self.slots.insert(member, slot);
        self.settle(slot);
    }

    pub(super) fn leave(&mut self, member: Member, config: &PoolConfig) {
        let Some(slot) = self.slots.remove(&member) else { return };
        if let Some(mut node) = self.nodes[slot as usize].take() {
            self.draining -= usize::from(node.draining);
            self.ejected -= usize::from(node.ejection.until().is_some());
            if let Some(at) = node.wakes.take() {
                self.timers.remove(&(at, slot));
            }
            self.sort(slot, node.member, None);
        }
        self.free.push(slot);
        self.hold_cap(config);
    }

    pub(super) fn drain(&mut self, member: Member, config: &PoolConfig) {
        let Some(slot) = self.slot(member) else { return };
        if let Some(node) = self.at_mut(slot)
            && !node.draining
        {
            node.draining = true;
            let ejected = node.ejection.until().is_some();
            node.ejection.take_back();
            self.draining += 1;
            self.ejected -= usize::from(ejected);
            self.settle(slot);
            self.hold_cap(config);
        }
    }

    pub(super) fn slot(&self, member: Member) -> Option<u32> {
        self.slots.get(&member).copied()
    }

    pub(super) fn at(&self, slot: u32) -> Option<&Node> {
        self.nodes.get(slot as usize)?.as_ref()
    }

    /// Call [`Members::settle`] after any change.
    pub(super) fn at_mut(&mut self, slot: u32) -> Option<&mut Node> {
        self.nodes.get_mut(slot as usize)?.as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Members that do not drain.
    pub(super) fn staying(&self) -> usize {
        self.len() - self.draining
    }

    /// The next instant at which a member's standing changes by itself.
    pub(super) fn next_change(&self) -> Option<Instant> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Lets time pass: breakers become half open, and who was set aside comes back.
    pub(super) fn advance(&mut self, now: Instant) {
        while let Some(&(at, slot)) = self.timers.first()
            && at <= now
        {
            let mut back = false;
            match self.at_mut(slot) {
                Some(node) => {
                    node.breaker.advance(now);
                    back = node.ejection.advance(now);
                    if back {
                        // It is judged by what it does from now on.
                        node.window.clear();
                        node.mean = None;
                    }
                }
                None => debug_assert!(false, "a timer of a member that left"),
            }
            self.ejected -= usize::from(back);
            self.settle(slot);
        }
    }

    /// Sets a member aside if the cap leaves room for it.
    pub(super) fn eject(&mut self, slot: u32, config: &PoolConfig, now: Instant) {
        let allowed = self.ejected < self.most_ejected(config);
        let last = self.inside.contains(slot) && self.inside.len() == 1;
        if allowed
            && !last
            && let Some(node) = self.at_mut(slot)
            && node.standing() == Standing::In
        {
            node.ejection.set_aside(&config.ejection, now);
            self.ejected += 1;
            self.settle(slot);
        }
    }

    fn most_ejected(&self, config: &PoolConfig) -> usize {
        (self.staying() as f64 * config.ejection.max_share) as usize
    }

    /// Takes members back where more are aside than may be, or where no other is in: rather a bad one than none. Members
    /// whose breakers are open are not asked even so: their calls wait for the first that becomes half open.
    pub(super) fn hold_cap(&mut self, config: &PoolConfig) {
        while self.ejected > 0 && (self.ejected > self.most_ejected(config) || self.inside.is_empty()) {
            let aside = self.nodes.iter().enumerate().filter_map(|(slot, node)| {
                let until = node.as_ref()?.ejection.until()?;
                Some((until, slot as u32))
            });
            let Some((_, slot)) = aside.min() else { break };
            if let Some(node) = self.at_mut(slot) {
                node.ejection.take_back();
            }
            self.ejected -= 1;
            self.settle(slot);
        }
    }

    /// Puts a member into the sets where it belongs now, and its timer right.
    pub(super) fn settle(&mut self, slot: u32) {
        let Some(node) = self.nodes.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let next = node.next_change();
        if next != node.wakes {
            if let Some(at) = std::mem::replace(&mut node.wakes, next) {
                self.timers.remove(&(at, slot));
            }
            self.timers.extend(next.map(|at| (at, slot)));
        }
        let inside = node.standing() == Standing::In;
        let roomy = inside && node.has_room();
        let idle = roomy && node.running == 0 && !node.load.is_failing();
        let places = Places { inside, roomy, idle, triable: node.is_triable() };
        let member = node.member;
        self.sort(slot, member, Some(places));
    }

    fn sort(&mut self, slot: u32, member: Member, places: Option<Places>) {
        let places = places.unwrap_or_default();
        if self.inside.contains(slot) != places.inside {
            self.inside.put(slot, places.inside);
            self.sessions.put(slot, member, places.inside);
        }
        self.roomy.put(slot, places.roomy);
        self.idle.put(slot, places.idle);
        self.triable.put(slot, places.triable);
    }
}

/// The sets that a member belongs to.
#[derive(Default)]
struct Places {
    inside: bool,
    roomy: bool,
    idle: bool,
    triable: bool,
}
