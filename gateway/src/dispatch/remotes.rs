//! The servers that a lane passes calls to.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use weirgate_replicas::Remote;
use weirgate_replicas::remote::Described;
use weirgate_replicas_core::CostModel;
use weirgate_router::pool::{
    Because, Budget, BudgetConfig, Considered, Era, Hedge, HedgeConfig, Outcome, Pick, Pool, PoolConfig, Standing, Wish,
};

use super::alarm::Alarm;
use super::comeback::Spare;
use super::pace::Pace;
use super::spoken::Spoken;

/// A lane's servers.
pub(super) struct Remotes {
    pool: Pool,
    members: HashMap<u64, Member>,
    /// Calls that have a lease.
    running: usize,
    /// Calls that the servers take at a time, all together; those that drain take none. One may say that it takes any number.
    slots: u128,
    /// What batches take.
    pub cost: CostModel,
    /// How many calls may be repeated that may have been executed.
    pub repeats: Budget,
    /// When calls are asked of a second server.
    pub hedge: Hedge,
    pace: Pace,
    /// As long as no server is there, what the last ones spoke.
    spoken: Spoken,
    /// When to look at the queue again though nothing happens.
    pub alarm: Alarm,
}

/// A server, and what of it has been added up.
struct Member {
    remote: Arc<Remote>,
    slots: usize,
    described: Arc<Described>,
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
    pub era: Era,
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
            alarm: Alarm::default(),
        }
    }

    pub fn join(&mut self, remote: Arc<Remote>, now: Instant) {
        let (id, slots, described) = (remote.id, remote.slots(), remote.described());
        self.pool.join(id, slots, now);
        self.slots += slots as u128;
        if let Some(before) = self.members.insert(id, Member { remote, slots, described }) {
            self.slots -= before.slots as u128;
        }
        self.look_at_descriptions();
    }

    /// A server takes more or fewer calls at a time, or speaks something else. Credits change all the time: that costs the
    /// same however many servers there are.
    pub fn changed(&mut self, id: u64) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let slots = member.remote.slots();
        self.slots = self.slots - member.slots as u128 + slots as u128;
        member.slots = slots;
        self.pool.set_slots(id, slots);
        let described = member.remote.described();
        let same = Arc::ptr_eq(&described, &member.described);
        member.described = described;
        if !same {
            self.look_at_descriptions();
        }
    }

    /// A server takes no more calls; those it has go on.
    pub fn drain(&mut self, id: u64) {
        self.pool.drain(id);
        self.forget(id);
    }

    pub fn leave(&mut self, id: u64) {
        self.pool.leave(id);
        self.forget(id);
    }

    fn forget(&mut self, id: u64) {
        if let Some(member) = self.members.remove(&id) {
            self.slots -= member.slots as u128;
            self.look_at_descriptions();
        }
    }

    fn look_at_descriptions(&mut self) {
        let spoken = self.members.values().map(|member| Spoken::of(&member.described));
        self.spoken = spoken.reduce(Spoken::and).unwrap_or(self.spoken);
    }

    pub fn spoken(&self) -> Spoken {
        self.spoken
    }

    /// Calls that the servers take at a time, all together.
    pub fn slots(&self) -> usize {
        usize::try_from(self.slots).unwrap_or(usize::MAX)
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

    /// How long a call that comes now waits behind `waiting` others. Where no slot is known, as while the only server starts
    /// anew, nothing is known of the wait either.
    pub fn predicted_wait(&mut self, waiting: usize, now: Instant) -> Duration {
        let free = waiting == 0 && self.pool.has_room(now);
        if free || self.slots == 0 {
            return Duration::ZERO;
        }
        self.pace.wait(waiting, usize::try_from(self.slots).unwrap_or(usize::MAX))
    }

    /// Takes a slot for `calls` that share it, or notes when there may be one. Servers that the wish avoids are asked where
    /// `spare` allows it and no other has room.
    pub fn take(&mut self, wish: &Wish<'_>, spare: Spare, calls: usize, now: Instant) -> Option<Taken> {
        if wish.avoid.is_empty() {
            return self.pick(wish, calls, now);
        }
        // The pool itself gives up avoiding where nobody else is there.
        let others = self.members.keys().any(|id| !wish.avoid.contains(id));
        if others && let Some(taken) = self.pick(wish, calls, now) {
            return Some(taken);
        }
        if spare.forbids(now) {
            self.alarm.set(spare.until());
            return None;
        }
        self.pick(&Wish { avoid: &[], ..*wish }, calls, now)
    }

    fn pick(&mut self, wish: &Wish<'_>, calls: usize, now: Instant) -> Option<Taken> {
        match self.pool.pick(wish, now) {
            Pick::Taken { member, because, era } => {
                let Some(remote) = self.members.get(&member).map(|member| member.remote.clone()) else {
                    // The pool knows those alone who joined and did not leave.
                    self.pool.done(member, era, Outcome::Cancelled, Duration::ZERO, now);
                    return None;
                };
                self.running += calls;
                Some(Taken { remote, because, era })
            }
            Pick::None { again } => {
                self.alarm.set(again);
                None
            }
        }
    }

    /// The call that tries a server has the first byte of its answer.
    pub fn tried(&mut self, member: u64, era: Era, now: Instant) {
        self.pool.tried(member, era, now);
    }

    /// Whether a call that has waited so long for its first byte waits for a server that hangs.
    pub fn is_overdue(&self, took: Duration) -> bool {
        self.pool.is_overdue(took)
    }

    /// Gives a slot back.
    pub fn done(&mut self, ended: &Ended, now: Instant) {
        self.running = self.running.saturating_sub(ended.calls);
        self.pool.done(ended.member, ended.era, ended.outcome, ended.took, now);
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
        let named =
            |considered: Considered| Some((self.members.get(&considered.member)?.remote.name.clone(), considered));
        self.pool.considered(wish, now).into_iter().filter_map(named).collect()
    }
}

/// How a lease ended.
pub(super) struct Ended {
    pub member: u64,
    pub era: Era,
    pub outcome: Outcome,
    /// To the first byte of the answer.
    pub took: Duration,
    /// How long the slot was taken.
    pub held: Duration,
    pub calls: usize,
}

#[cfg(test)]
mod tests {
    use weirgate_protocol::UpstreamUrl;
    use weirgate_replicas::remote::{Address, Transport, TransportConfig};

    use super::*;

    fn remote(id: u64, slots: usize) -> Arc<Remote> {
        let url = UpstreamUrl::parse("http://127.0.0.1:9").unwrap();
        let transport = Transport::new(TransportConfig::new(Address::Url(url))).unwrap();
        let remote = Remote::new(id, format!("server {id}").into(), transport, false, slots);
        remote.describe(Described { v2: true, ..Described::default() });
        remote
    }

    fn take(remotes: &mut Remotes, now: Instant) -> Option<Taken> {
        remotes.take(&Wish::default(), Spare::Until(now), 1, now)
    }

    fn answered(remotes: &mut Remotes, taken: &Taken, held: Duration, now: Instant) {
        let Taken { remote, era, .. } = taken;
        let outcome = Outcome::Answered;
        remotes.done(&Ended { member: remote.id, era: *era, outcome, took: held, held, calls: 1 }, now);
    }

    #[test]
    fn no_wait_is_predicted_where_no_slot_is_known() {
        let (now, held) = (Instant::now(), Duration::from_secs(120));
        let mut remotes = Remotes::new(1, now);
        let server = remote(1, 1);
        remotes.join(server.clone(), now);
        let first = take(&mut remotes, now).unwrap();
        answered(&mut remotes, &first, held, now);
        let _busy = take(&mut remotes, now).unwrap();
        assert_eq!(remotes.predicted_wait(2, now), held * 3);
        // It starts anew: its credits say so, or it has left.
        server.grant(0);
        remotes.changed(1);
        assert_eq!(remotes.predicted_wait(2, now), Duration::ZERO);
        remotes.leave(1);
        assert_eq!(remotes.predicted_wait(2, now), Duration::ZERO);
    }

    #[test]
    fn what_a_draining_server_runs_takes_nobody_elses_slot() {
        let (now, held) = (Instant::now(), Duration::from_secs(120));
        let mut remotes = Remotes::new(1, now);
        remotes.join(remote(1, 1), now);
        let first = take(&mut remotes, now).unwrap();
        answered(&mut remotes, &first, held, now);
        let _busy = take(&mut remotes, now).unwrap();
        remotes.drain(1);
        remotes.join(remote(2, 1), now);
        assert_eq!((remotes.running(), remotes.predicted_wait(0, now)), (1, Duration::ZERO));
    }

    #[test]
    fn slots_and_protocols_are_those_of_the_servers_that_are_there() {
        let now = Instant::now();
        let mut remotes = Remotes::new(1, now);
        let (one, other) = (remote(1, usize::MAX), remote(2, 3));
        remotes.join(one.clone(), now);
        remotes.join(other.clone(), now);
        assert_eq!(remotes.slots, usize::MAX as u128 + 3);
        one.grant(4);
        remotes.changed(1);
        assert_eq!(remotes.slots, 7);
        other.describe(Described { v2: true, grpc: true, ..Described::default() });
        one.describe(Described { grpc: true, ..Described::default() });
        remotes.changed(1);
        remotes.changed(2);
        assert!(remotes.spoken().grpc && !remotes.spoken().v2);
        remotes.drain(1);
        remotes.leave(1);
        assert!(remotes.slots == 3 && remotes.servers() == 1 && remotes.spoken().v2);
        remotes.leave(2);
        assert!(remotes.slots == 0 && remotes.spoken().v2, "what the last one spoke");
    }
}
