//! The servers that a lane passes calls to, and which of what waits is handed to them next.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use tokio::sync::oneshot;
use weirgate_protocol::{Protocol, Result};
use weirgate_replicas::remote::Described;
use weirgate_replicas::{Job, Remote};
use weirgate_replicas_core::{BatchPolicy, CloseReason, CostModel, Decision, form};
use weirgate_router::Ticket;
use weirgate_router::pool::{
    Because, Budget, BudgetConfig, Considered, Hedge, HedgeConfig, Outcome, Pick, Pool, PoolConfig, Standing, Wish,
};

use super::Lane;
use super::feed::candidates;
use super::lane::{Core, Entry};
use super::lease::Lease;
use super::pace::Pace;

/// A batch where no set has said yet what its servers take: each call by itself.
const ALONE: BatchPolicy = BatchPolicy { max_rows: 1, max_calls: 1, linger: Duration::ZERO };

/// A lane's servers.
pub(super) struct Remotes {
    pool: Pool,
    members: HashMap<u64, Arc<Remote>>,
    /// Calls that have a lease.
    running: usize,
    /// Calls that the servers take at a time, all together; those that drain take none.
    slots: usize,
    /// What batches take.
    cost: CostModel,
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

/// What all of a lane's servers speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    pub v1: bool,
    pub v2: bool,
    pub grpc: bool,
    pub openai: bool,
    /// Some server has said what it speaks.
    pub known: bool,
}

impl Spoken {
    fn of(described: &Described) -> Spoken {
        let Described { v1, v2, grpc, openai, .. } = *described;
        Spoken { v1, v2, grpc, openai: openai.is_some(), known: true }
    }

    fn and(self, other: Spoken) -> Spoken {
        Spoken {
            v1: self.v1 && other.v1,
            v2: self.v2 && other.v2,
            grpc: self.grpc && other.grpc,
            openai: self.openai && other.openai,
            known: true,
        }
    }

    /// Whether they take tensors.
    pub fn tensors(&self) -> bool {
        self.v1 || self.v2 || self.grpc
    }

    pub fn speaks(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::V1Http => self.v1,
            Protocol::V2Http => self.v2,
            Protocol::V2Grpc => self.grpc,
            Protocol::OpenAi => self.openai,
            Protocol::Other => true,
        }
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spoken =
            [(self.v1, "V1"), (self.v2, "V2 over HTTP"), (self.grpc, "V2 over gRPC"), (self.openai, "OpenAI's")];
        let mut names = spoken.into_iter().filter_map(|(speaks, name)| speaks.then_some(name));
        match names.next() {
            None => f.write_str("none of the protocols that are known here"),
            Some(first) => {
                f.write_str(first)?;
                names.try_for_each(|name| write!(f, ", {name}"))
            }
        }
    }
}

/// What is handed out next.
enum Next {
    /// A call that is passed, and its slot if there is one.
    Pass(Ticket, Option<Taken>),
    /// A batch that begins with a call for tensors.
    Job,
}

/// A slot of a server.
pub(super) struct Taken {
    pub remote: Arc<Remote>,
    pub because: Because,
}

/// What left the queue. It is sent on without the lane's lock: who gets it may drop it at once, which takes the lock.
#[derive(Default)]
pub(super) struct Handed {
    pub leases: Vec<(oneshot::Sender<Result<Lease>>, Lease)>,
    pub batches: Vec<Batch>,
}

/// Calls for tensors, to be executed together by the server of their lease.
pub(super) struct Batch {
    pub lease: Lease,
    pub jobs: Vec<Job>,
    pub bytes: usize,
    pub reason: CloseReason,
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

    fn looks_again(&mut self, at: Option<Instant>) {
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

impl Lane {
    /// Hands out what waits, once the core is let go of: whoever gets a lease may drop it at once, which takes the core.
    pub(super) fn hand_out(self: &Arc<Self>, mut core: MutexGuard<'_, Core>, now: Instant) {
        let before = core.looks_again();
        let Handed { leases, batches } = core.hand_out(self, now);
        let sooner = core.looks_again().filter(|again| before.is_none_or(|before| *again < before));
        self.call_courier(!batches.is_empty() || sooner.is_some());
        self.batches.lock().extend(batches);
        self.show(&core);
        drop(core);
        for (waiter, lease) in leases {
            // Who is gone gives its slot back by this.
            drop(waiter.send(Ok(lease)));
        }
    }
}

impl Core {
    /// When servers are to be looked at again though nothing happens.
    pub(super) fn looks_again(&self) -> Option<Instant> {
        self.remotes.as_ref()?.again
    }

    /// Hands out what waits, in its order, as long as servers have room. Calls past their deadline are passed over: their
    /// callers take them out.
    fn hand_out(&mut self, lane: &Arc<Lane>, now: Instant) -> Handed {
        let Core { queue, remotes: Some(remotes), policy, .. } = self else { return Handed::default() };
        let mut handed = Handed::default();
        remotes.again = None;
        // A batch waits for company: what is passed as bytes goes before it.
        let mut lingers = false;
        loop {
            let mut in_time = queue.iter().filter(|(_, call)| call.deadline > now);
            let next = in_time.find_map(|(ticket, call)| match &call.item {
                Entry::Pass(waiter) => Some(Next::Pass(ticket, remotes.take(&waiter.wanting.as_wish(), 1, now))),
                Entry::Job(_) => (!lingers).then_some(Next::Job),
            });
            drop(in_time);
            match next {
                None | Some(Next::Pass(_, None)) => return handed,
                Some(Next::Pass(ticket, Some(taken))) => {
                    if let Some(Entry::Pass(waiter)) = queue.remove(ticket).map(|call| call.item) {
                        let lease = Lease::new(lane.clone(), taken, 1, waiter.entered, now);
                        handed.leases.push((waiter.grant, lease));
                    }
                    continue;
                }
                Some(Next::Job) => {}
            }
            let policy = policy.as_ref().unwrap_or(&ALONE);
            match form(policy, &remotes.cost, now, candidates(queue)) {
                Decision::Take { keys, reason } => {
                    let Some(taken) = remotes.take(&Wish::default(), keys.len(), now) else { return handed };
                    let mut jobs = Vec::with_capacity(keys.len());
                    for key in keys {
                        let Some(mut job) = queue.remove(key).and_then(|call| call.item.into_job()) else { continue };
                        job.turn = key.number();
                        job.taken_at(now, reason);
                        jobs.push(job);
                    }
                    let bytes = jobs.iter().map(|job: &Job| job.call.work.bytes).sum();
                    let lease = Lease::new(lane.clone(), taken, jobs.len(), now, now);
                    handed.batches.push(Batch { lease, jobs, bytes, reason });
                }
                Decision::Wait(until) => {
                    remotes.looks_again(Some(until));
                    lingers = true;
                }
                Decision::Empty => lingers = true,
            }
        }
    }
}
