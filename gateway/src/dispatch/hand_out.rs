//! Which of what waits is handed to servers next.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;
use tokio::sync::oneshot;
use weirgate_protocol::Result;
use weirgate_replicas::Job;
use weirgate_replicas_core::{BatchPolicy, CloseReason, Decision, form};
use weirgate_router::Ticket;
use weirgate_router::lane::Waiting;
use weirgate_router::pool::Wish;

use super::Lane;
use super::comeback::Spare;
use super::feed::candidates;
use super::lane::{Back, Core, Entry};
use super::lease::Lease;
use super::remotes::{Remotes, Taken};
use super::trail::Trail;

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
    /// By the turns of the jobs.
    pub trails: Vec<(u64, Arc<Trail>)>,
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
    /// Hands out what waits, once the core is let go of: whoever gets a lease may drop it at once, which takes the core. The
    /// courier is called for batches, and where it would sleep for too long.
    pub(super) fn hand_out(self: &Arc<Self>, mut core: MutexGuard<'_, Core>, now: Instant) {
        let Handed { leases, batches } = core.hand_out(self, now);
        let sooner = core.remotes.as_mut().is_some_and(|remotes| remotes.alarm.tells());
        self.call_courier(!batches.is_empty() || sooner);
        if !batches.is_empty() {
            self.batches.lock().extend(batches);
        }
        self.show(&core);
        drop(core);
        grant(leases);
    }

    /// The same, for the courier: it executes the batches itself, and asks for the time as it falls asleep.
    pub(super) fn hand_out_batches(self: &Arc<Self>, mut core: MutexGuard<'_, Core>, now: Instant) -> Vec<Batch> {
        let Handed { leases, mut batches } = core.hand_out(self, now);
        batches.append(&mut self.batches.lock());
        self.show(&core);
        drop(core);
        grant(leases);
        batches
    }
}

fn grant(leases: Vec<(oneshot::Sender<Result<Lease>>, Lease)>) {
    for (waiter, lease) in leases {
        // Who is gone gives its slot back by this.
        drop(waiter.send(Ok(lease)));
    }
}

/// Calls for tensors that are executed together, and the slot that they share.
struct Formed {
    keys: Vec<Ticket>,
    reason: CloseReason,
    taken: Taken,
}

/// Forms the next batch that a server has room for. Calls that come back from a server, and pause for it where no other has
/// room, hold nobody up: the batch is formed without them then.
fn form_batch(
    remotes: &mut Remotes,
    queue: &weirgate_router::Lane<Entry>,
    policy: &BatchPolicy,
    now: Instant,
) -> Option<Formed> {
    let pauses = |back: &Option<Back>| back.is_some_and(|back| now < back.spared_until);
    for with_pausing in [true, false] {
        let those = candidates(queue, |back| with_pausing || !pauses(back));
        let (keys, reason) = match form(policy, &remotes.cost, now, those) {
            Decision::Take { keys, reason } => (keys, reason),
            Decision::Wait(until) => {
                remotes.alarm.set(Some(until));
                return None;
            }
            Decision::Empty => return None,
        };
        let come_back = |key: &Ticket| match queue.get(*key).map(|call| &call.item) {
            Some(Entry::Job(_, past)) => past.back,
            _ => None,
        };
        let backs: Vec<Back> = keys.iter().filter_map(come_back).collect();
        let avoid: Vec<u64> = backs.iter().map(|back| back.from).collect();
        let spare = Spare::Until(backs.iter().map(|back| back.spared_until).max().unwrap_or(now));
        let wish = Wish { avoid: &avoid, ..Wish::default() };
        if let Some(taken) = remotes.take(&wish, spare, keys.len(), now) {
            return Some(Formed { keys, reason, taken });
        }
        if !spare.forbids(now) {
            return None;
        }
    }
    None
}

impl Core {
    /// Hands out what waits, in its order, as long as servers have room. Calls past their deadline are passed over: their
    /// callers take them out.
    fn hand_out(&mut self, lane: &Arc<Lane>, now: Instant) -> Handed {
        let Core { queue, remotes: Some(remotes), policy, .. } = self else { return Handed::default() };
        let mut handed = Handed::default();
        remotes.alarm.clear();
        // No batch can be handed out now: it waits for company or for room. What is passed as bytes may still go.
        let mut stuck = false;
        loop {
            let mut in_time = queue.iter().filter(|(_, call)| call.deadline > now);
            let next = in_time.find_map(|(ticket, call)| match &call.item {
                Entry::Pass(waiter) => match remotes.take(&waiter.wanting.as_wish(), waiter.spare, 1, now) {
                    Some(taken) => Some(Next::Pass(ticket, taken)),
                    None if waiter.wanting.avoid.is_empty() => Some(Next::Full),
                    // It pauses for the server that it comes from.
                    None => None,
                },
                Entry::Job(..) => (!stuck).then_some(Next::Job),
            });
            drop(in_time);
            match next {
                None | Some(Next::Full) => return handed,
                Some(Next::Pass(ticket, taken)) => {
                    if let Some(Waiting { item: Entry::Pass(waiter), deadline, .. }) = queue.remove(ticket) {
                        let lease = Lease::new(lane.clone(), taken, 1, waiter.entered, now).until(deadline);
                        handed.leases.push((waiter.grant, lease));
                    }
                    continue;
                }
                Some(Next::Job) => {}
            }
            let policy = policy.as_ref().unwrap_or(&ALONE);
            let Some(Formed { keys, reason, taken }) = form_batch(remotes, queue, policy, now) else {
                stuck = true;
                continue;
            };
            let lease = Lease::new(lane.clone(), taken, keys.len(), now, now);
            let (mut jobs, mut trails) = (Vec::with_capacity(keys.len()), Vec::with_capacity(keys.len()));
            for key in keys {
                let Some(Entry::Job(mut job, past)) = queue.remove(key).map(|call| call.item) else { continue };
                job.turn = key.number();
                job.taken_at(now, reason);
                if let Some(trail) = past.trail {
                    trail.begins(&lease, job.entered(), || remotes.considered(&Wish::default(), now));
                    trails.push((job.turn, trail));
                }
                jobs.push(job);
            }
            let bytes = jobs.iter().map(|job: &Job| job.call.work.bytes).sum();
            handed.batches.push(Batch { lease, jobs, trails, bytes, reason });
        }
    }
}
