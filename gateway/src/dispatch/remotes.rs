//! The servers that a lane passes calls to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weirgate_replicas::Remote;
use weirgate_replicas_core::CostModel;
use weirgate_router::pool::{
    Because, Budget, BudgetConfig, Considered, Hedge, HedgeConfig, Outcome, Pick, Pool, PoolConfig, Standing, Wish,
};

use super::pace::Pace;
use super::spoken::Spoken;

/// A lane's servers.
pub(super) struct Remotes {
    pool: Pool,
    members: HashMap<u64, Arc<Remote>>,
    /// Calls that have a lease.
    running: usize,
    /// Calls that the servers take at a time, all together; those that drain take none.
    slots: usize,
    /// What batches take.
    pub cost: CostModel,
    /// How many calls may be repeated that may have been executed.
    pub repeats: Budget,
    /// When calls are asked of a second server.
    pub hedge: Hedge,
    pace: Pace,
    /// As long as no server is there, what the last ones spoke.
    spoken: Spoken,
    /// When to look at the queue again though nothing happens: a breaker may be tried then, or a batch has waited for company.
    pub again: Option<Instant>,
}

/// How many of a lane's servers stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    /// They may be asked.
    pub inside: usize,
    /// Their breakers are open.
    pub open: usize,
    /// One call at a time tries them.
    pub half_open: usize,
    /// They are set aside for doing much worse than the others.
    pub ejected: usize,
}

/// A slot of a server.
pub(super) struct Taken {
    pub remote: Arc<Remote>,
    pub because: Because,
}

impl Remotes {
    pub fn new(seed: u64, now: Instant) -> Remotes {
        Remotes {
            pool: Pool::new(PoolConfig::default(), seed),
            members: HashMap::new(),
            running: 0,
            slots: 0,
            cost: CostModel::default(),
            repeats: Budget::new(BudgetConfig::RETRIES, now),
            hedge: Hedge::new(HedgeConfig::default(), now),
            pace: Pace::default(),
            spoken: Spoken::default(),
            again: None,
        }
    }

    pub fn join(&mut self, remote: Arc<Remote>, now: Instant) {
        self.pool.join(remote.id, remote.slots(), now);
        self.members.insert(remote.id, remote);
        self.look_at_members();
    }

    /// A server takes more or fewer calls at a time.
    pub fn changed(&mut self, id: u64) {
        if let Some(remote) = self.members.get(&id) {
            self.pool.set_slots(id, remote.slots());
        }
        self.look_at_members();
    }

    /// A server takes no more calls; those it has go on.
    pub fn drain(&mut self, id: u64) {
        self.pool.drain(id);
        self.members.remove(&id);
        self.look_at_members();
    }

    pub fn leave(&mut self, id: u64) {
        self.pool.leave(id);
        self.members.remove(&id);
        self.look_at_members();
    }

    fn look_at_members(&mut self) {
        self.slots = self.members.values().map(|remote| remote.slots()).fold(0, usize::saturating_add);
        let spoken = self.members.values().map(|remote| Spoken::of(&remote.described()));
        self.spoken = spoken.reduce(Spoken::and).unwrap_or(self.spoken);
    }

    pub fn spoken(&self) -> Spoken {
        self.spoken
    }

    /// Servers that take calls.
    pub fn servers(&self) -> usize {
        self.members.len()
    }

    /// How many servers stand where.
    pub fn standings(&self, now: Instant) -> Standings {
        let mut standings = Standings::default();
        for id in self.members.keys() {
            match self.pool.state(*id, now).map(|state| state.standing) {
                Some(Standing::In) => standings.inside += 1,
                Some(Standing::Open { .. }) => standings.open += 1,
                Some(Standing::HalfOpen) => standings.half_open += 1,
                Some(Standing::Ejected { .. }) => standings.ejected += 1,
                Some(Standing::Draining) | None => {}
            }
        }
        standings
    }

    /// Calls that servers have.
    pub fn running(&self) -> usize {
        self.running
    }

    /// How long a call that comes now waits behind `waiting` others.
    pub fn predicted_wait(&self, waiting: usize) -> Duration {
        let free = waiting == 0 && self.running < self.slots;
        if free { Duration::ZERO } else { self.pace.wait(waiting, self.slots) }
    }

    /// Takes a slot for `calls` that share it, or notes when there may be one.
    pub fn take(&mut self, wish: &Wish<'_>, calls: usize, now: Instant) -> Option<Taken> {
        // Another server is worth waiting for, but not one that is set aside.
        let other = |id: &u64| {
            let state = self.pool.state(*id, now);
            !wish.avoid.contains(id) && state.is_some_and(|state| state.standing == Standing::In)
        };
        let avoids = !wish.avoid.is_empty() && self.members.keys().any(other);
        let wish = if avoids { *wish } else { Wish { avoid: &[], ..*wish } };
        match self.pool.pick(&wish, now) {
            Pick::Taken { member, because } => {
                let Some(remote) = self.members.get(&member).cloned() else {
                    // The pool knows those alone who joined and did not leave.
                    self.pool.done(member, Outcome::Cancelled, Duration::ZERO, now);
                    return None;
                };
                self.running += calls;
                Some(Taken { remote, because })
            }
            Pick::None { again } => {
                self.looks_again(again);
                None
            }
        }
    }

    /// A slot of a server that the wish does not avoid.
    pub fn take_other(&mut self, wish: &Wish<'_>, now: Instant) -> Option<Taken> {
        if self.members.keys().all(|id| wish.avoid.contains(id)) {
            return None;
        }
        let taken = self.take(wish, 1, now)?;
        if wish.avoid.contains(&taken.remote.id) {
            self.done(&Ended::unused(taken.remote.id), now);
            return None;
        }
        Some(taken)
    }

    pub fn looks_again(&mut self, at: Option<Instant>) {
        self.again = [self.again, at].into_iter().flatten().min();
    }

    /// Gives a slot back.
    pub fn done(&mut self, ended: &Ended, now: Instant) {
        self.running = self.running.saturating_sub(ended.calls);
        self.pool.done(ended.member, ended.outcome, ended.took, now);
        if ended.outcome == Outcome::Answered {
            self.pace.observe(ended.held, ended.calls);
        }
    }

    /// A batch of so many bytes took so long.
    pub fn learn(&mut self, bytes: usize, took: Duration) {
        self.cost.observe(bytes, took);
    }

    /// What a pick would choose from now, by name.
    pub fn considered(&self, wish: &Wish<'_>, now: Instant) -> Vec<(Arc<str>, Considered)> {
        let named = |considered: Considered| Some((self.members.get(&considered.member)?.name.clone(), considered));
        self.pool.considered(wish, now).into_iter().filter_map(named).collect()
    }
}

/// How a lease ended.
pub(super) struct Ended {
    pub member: u64,
    pub outcome: Outcome,
    /// To the first byte of the answer.
    pub took: Duration,
    /// How long the slot was taken.
    pub held: Duration,
    pub calls: usize,
}

impl Ended {
    fn unused(member: u64) -> Ended {
        let none = Duration::ZERO;
        Ended { member, outcome: Outcome::Cancelled, took: none, held: none, calls: 1 }
    }
}
