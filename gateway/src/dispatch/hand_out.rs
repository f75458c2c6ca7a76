//! Which of what waits is handed to servers next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use tokio::sync::oneshot;
use weirgate_protocol::Result;
use weirgate_replicas::Job;
use weirgate_replicas_core::{BatchPolicy, CloseReason, Decision, form};
use weirgate_router::Ticket;
use weirgate_router::pool::Wish;

use super::Lane;
use super::feed::candidates;
use super::lane::{Core, Entry};
use super::lease::Lease;
use super::remotes::Taken;

/// A batch where no set has said yet what its servers take: each call by itself.
const ALONE: BatchPolicy = BatchPolicy { max_rows: 1, max_calls: 1, linger: Duration::ZERO };

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

/// What is handed out next.
enum Next {
    /// A call that is passed, and its slot.
    Pass(Ticket, Taken),
    /// Nothing: no server has room.
    Full,
    /// A batch that begins with a call for tensors.
    Job,
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
                Entry::Pass(waiter) => match remotes.take(&waiter.wanting.as_wish(), 1, now) {
                    Some(taken) => Some(Next::Pass(ticket, taken)),
                    None if waiter.wanting.avoid.is_empty() => Some(Next::Full),
                    // It waits for another server than the one that is free.
                    None => None,
                },
                Entry::Job(_) => (!lingers).then_some(Next::Job),
            });
            drop(in_time);
            match next {
                None | Some(Next::Full) => return handed,
                Some(Next::Pass(ticket, taken)) => {
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
