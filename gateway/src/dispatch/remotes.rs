//! The servers that a lane passes calls to, and which of what waits is handed to them next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use weirgate_protocol::Result;
use weirgate_replicas::{Job, Remote};
use weirgate_replicas_core::{BatchPolicy, CloseReason, CostModel, Decision, form};
use weirgate_router::pool::{Because, Considered, Outcome, Pick, Pool, PoolConfig, Wish};

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
    pace: Pace,
    /// When to look at the queue again though nothing happens: a breaker may be tried then, or a batch has waited for company.
    pub again: Option<Instant>,
}

/// A slot of a server.
pub(super) struct Taken {
    pub remote: Arc<Remote>,
    pub because: Because,
}

/// What left the queue. It is sent on without the lane's lock: who gets it may drop it at once, which takes the lock.
#[derive(Default)]
pub(super) struct Handed {
    leases: Vec<(oneshot::Sender<Result<Lease>>, Lease)>,
    pub batches: Vec<Batch>,
}

/// Calls for tensors, to be executed together by the server of their lease.
pub(super) struct Batch {
    pub lease: Lease,
    pub jobs: Vec<Job>,
    pub bytes: usize,
    pub reason: CloseReason,
}

impl Handed {
    /// Sends the leases to those who wait for them.
    pub fn send(&mut self) {
        for (waiter, lease) in self.leases.drain(..) {
            // Who is gone gives its slot back by this.
            drop(waiter.send(Ok(lease)));
        }
    }
}

impl Remotes {
    pub fn new(seed: u64) -> Remotes {
        Remotes {
            pool: Pool::new(PoolConfig::default(), seed),
            members: HashMap::new(),
            running: 0,
            slots: 0,
            cost: CostModel::default(),
            pace: Pace::default(),
            again: None,
        }
    }

    pub fn join(&mut self, remote: Arc<Remote>, now: Instant) {
        self.pool.join(remote.id, remote.slots(), now);
        self.members.insert(remote.id, remote);
        self.count_slots();
    }

    /// A server takes more or fewer calls at a time.
    pub fn changed(&mut self, id: u64) {
        if let Some(remote) = self.members.get(&id) {
            self.pool.set_slots(id, remote.slots());
        }
        self.count_slots();
    }

    /// A server takes no more calls; those it has go on.
    pub fn drain(&mut self, id: u64) {
        self.pool.drain(id);
        self.members.remove(&id);
        self.count_slots();
    }

    pub fn leave(&mut self, id: u64) {
        self.pool.leave(id);
        self.members.remove(&id);
        self.count_slots();
    }

    fn count_slots(&mut self) {
        self.slots = self.members.values().map(|remote| remote.slots()).fold(0, usize::saturating_add);
    }

    /// The servers that take calls.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Remote>> {
        self.members.values()
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
        match self.pool.pick(wish, now) {
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

    pub fn considered(&self, wish: &Wish<'_>, now: Instant) -> Vec<Considered> {
        self.pool.considered(wish, now)
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

impl Core {
    /// Hands out what waits, in its order, as long as servers have room. Calls past their deadline are passed over: their
    /// callers take them out.
    pub(super) fn hand_out(&mut self, lane: &Arc<Lane>, now: Instant) -> Handed {
        let Core { queue, remotes: Some(remotes), policy, .. } = self else { return Handed::default() };
        let mut handed = Handed::default();
        remotes.again = None;
        // A batch waits for company: what is passed as bytes goes before it.
        let mut lingers = false;
        loop {
            let mut in_time = queue.iter().filter(|(_, call)| call.deadline > now);
            let next = in_time.find(|(_, call)| !lingers || matches!(call.item, Entry::Pass(_)));
            let Some((ticket, call)) = next else { return handed };
            if let Entry::Pass(waiter) = &call.item {
                let Some(taken) = remotes.take(&waiter.wanting.as_wish(), 1, now) else { return handed };
                let Some(call) = queue.remove(ticket) else { return handed };
                if let Entry::Pass(waiter) = call.item {
                    let lease = Lease::new(lane.clone(), taken, 1, waiter.entered, now);
                    handed.leases.push((waiter.grant, lease));
                }
                continue;
            }
            let policy = policy.as_ref().unwrap_or(&ALONE);
            match form(policy, &remotes.cost, now, candidates(queue)) {
                Decision::Take { keys, reason } => {
                    let Some(taken) = remotes.take(&Wish::default(), keys.len(), now) else { return handed };
                    let calls = keys.into_iter().filter_map(|key| queue.remove(key));
                    let mut jobs: Vec<Job> = Vec::with_capacity(calls.size_hint().1.unwrap_or_default());
                    jobs.extend(calls.filter_map(|call| call.item.into_job()));
                    jobs.iter_mut().for_each(|job| job.taken_at(now));
                    let bytes = jobs.iter().map(|job| job.call.work.bytes).sum();
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
