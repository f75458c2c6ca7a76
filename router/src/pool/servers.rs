//! The pool itself: what is picked, and what is learned from how calls end.

use std::time::{Duration, Instant};

use super::breaker::Recent;
use super::config::{BreakerConfig, PoolConfig};
use super::ejection::{self, is_outlier};
use super::members::{ANSWERED, FAILED, Members, OVERLOADED};
use super::prefix::PrefixIndex;
use super::random::Random;
use super::{Because, Considered, Era, Member, MemberState, Outcome, Pick, Standing, Wish};

/// With at most so many members in a set all of them are compared; with more, two drawn at random.
const COMPARED: usize = 12;

/// Matches that are looked at: the longest and a few shorter ones along its path.
const MATCHES: usize = 4;

/// How far one call moves the mean latency of the pool.
const MEAN_STEP: f64 = 1.0 / 32.0;

/// Members that an explanation lists.
const EXPLAINED: usize = 32;

/// The servers of one revision.
///
/// Every call that is picked for a member is told to be [`Pool::done`] once. Where all breakers are open no member is
/// picked, and the pick says when the first becomes half open.
#[derive(Debug)]
pub struct Pool {
    config: PoolConfig,
    members: Members,
    prefixes: PrefixIndex,
    random: Random,
    /// The mean latency of all members, in seconds; 0 before the first answer.
    usual: f64,
}

/// The member a call would go to by load.
struct Least {
    slot: u32,
    running: usize,
    only: bool,
}

impl Pool {
    /// Pools with one seed and one history pick alike.
    pub fn new(config: PoolConfig, seed: u64) -> Pool {
        Pool {
            members: Members::default(),
            prefixes: PrefixIndex::new(config.affinity.max_bytes),
            random: Random::new(seed),
            usual: 0.0,
            config,
        }
    }

    /// A server that takes `slots` calls at a time. Numbers are never used again. One that is here already only gets the
    /// slots.
    pub fn join(&mut self, member: Member, slots: usize, now: Instant) {
        if self.members.slot(member).is_some() {
            return self.set_slots(member, slots);
        }
        self.members.join(member, slots, &self.config, now);
    }

    /// Calls that run may be more than the new slots; they end as they would.
    pub fn set_slots(&mut self, member: Member, slots: usize) {
        let Some(slot) = self.members.slot(member) else { return };
        if let Some(node) = self.members.at_mut(slot) {
            node.slots = slots;
        }
        self.members.settle(slot);
    }

    /// No call is picked for it any more.
    pub fn drain(&mut self, member: Member) {
        self.members.drain(member, &self.config);
    }

    /// It is gone. Calls that run there may still be [`Pool::done`]; nothing is learned from them.
    pub fn leave(&mut self, member: Member) {
        self.members.leave(member, &self.config);
    }

    /// Picks a member for a call and counts the call as running there.
    pub fn pick(&mut self, wish: &Wish<'_>, now: Instant) -> Pick {
        self.members.advance(now);
        let avoid = self.avoidable(wish.avoid);
        let tried = if avoid.is_empty() { self.triable(avoid) } else { None };
        let picked = match tried {
            Some(slot) => Some((slot, Because::Probe)),
            None => match self.least(avoid, now) {
                Some(least) => Some(self.with_affinity(&least, wish, avoid, now)),
                // A call that has failed before does not try a member that has, unless there is no other.
                None => self.triable(avoid).map(|slot| (slot, Because::Probe)),
            },
        };
        match picked.and_then(|(slot, because)| {
            let (member, era) = self.take(slot, because, now)?;
            Some((member, era, because))
        }) {
            Some((member, era, because)) => {
                let prefix = self.counted(wish.prefix);
                if !prefix.is_empty() {
                    self.prefixes.record(prefix, member);
                }
                Pick::Taken { member, because, era }
            }
            None => Pick::None { again: self.members.next_change() },
        }
    }

    /// The call that tries a member has the first byte of its answer, and runs on: the member has shown that it answers, and
    /// the next call need not wait for the end of what may be an hour-long stream.
    pub fn tried(&mut self, member: Member, era: Era, now: Instant) {
        self.members.advance(now);
        let Some(slot) = self.members.slot(member) else { return };
        if let Some(node) = self.members.at_mut(slot)
            && node.breaker.hears(era)
        {
            node.window.add(ANSWERED, now);
            node.breaker.answered(&self.config.breaker, now);
        }
        self.members.settle(slot);
        self.members.hold_cap(&self.config);
    }

    /// Whether a call that has had no first byte for so long is overdue: calls take much less here as a rule.
    pub fn is_overdue(&self, took: Duration) -> bool {
        let BreakerConfig { overdue, overdue_least, .. } = self.config.breaker;
        self.usual > 0.0 && took >= overdue_least && took.as_secs_f64() >= overdue * self.usual
    }

    /// A call that was picked in this era ended there, `took` after it was picked: the time to the first byte where it was
    /// answered. Call it once for each [`Pick::Taken`].
    pub fn done(&mut self, member: Member, era: Era, outcome: Outcome, took: Duration, now: Instant) {
        self.members.advance(now);
        let Some(slot) = self.members.slot(member) else { return };
        let Some(node) = self.members.at_mut(slot) else { return };
        debug_assert!(node.running > 0, "a call is done that was not picked");
        node.running = node.running.saturating_sub(1);
        let (balance, breaker) = (&self.config.balance, &self.config.breaker);
        let heard = node.breaker.hears(era);
        match outcome {
            // Whether it tells of now or of before: so long its answer took.
            Outcome::Answered => {
                let seconds = took.as_secs_f64();
                self.usual += (seconds - self.usual) * if self.usual == 0.0 { 1.0 } else { MEAN_STEP };
                node.took(took);
                node.load.answered(took, balance, now);
                if heard {
                    node.window.add(ANSWERED, now);
                    node.breaker.answered(breaker, now);
                }
            }
            Outcome::Cancelled => {
                node.load.lasted(took, self.usual, balance, now);
                if heard {
                    node.breaker.cancelled();
                }
            }
            _ if !heard => {}
            Outcome::Failed | Outcome::NotExecuted => {
                node.window.add(FAILED, now);
                node.load.failed(None, self.usual, balance, now);
                let [answered, failed, overloaded] = node.window.counts(now);
                let recent = Recent { calls: answered + failed + overloaded, failed };
                node.breaker.failed(recent, self.random.part(), breaker, now);
            }
            Outcome::Overloaded { retry_after } => {
                node.window.add(OVERLOADED, now);
                node.load.failed(retry_after, self.usual, balance, now);
                node.breaker.overloaded(retry_after, self.random.part(), breaker, now);
            }
        }
        if node.running == 0 {
            node.load.rests(now);
        }
        self.members.settle(slot);
        if heard && outcome != Outcome::Cancelled {
            self.judge(slot, now);
        }
        self.members.hold_cap(&self.config);
    }

    /// The members as a pick for this wish would weigh them now, the least loaded first: 32 of them, and all that know a
    /// part of the prefix.
    pub fn considered(&self, wish: &Wish<'_>, now: Instant) -> Vec<Considered> {
        let mut known: Vec<(Member, usize)> = Vec::new();
        for found in self.prefixes.matches(self.counted(wish.prefix)) {
            let new = found.holders.iter().filter(|holder| known.iter().all(|(member, _)| member != *holder));
            let new: Vec<_> = new.map(|&holder| (holder, found.blocks)).collect();
            known.extend(new);
        }
        let mut all: Vec<Considered> = Vec::with_capacity(self.members.len());
        all.extend(self.members.iter().map(|node| Considered {
            member: node.member,
            state: node.state(self.usual, &self.config, now),
            load: node.load.with(node.running, self.usual, &self.config.balance, now),
            blocks: known.iter().find(|(member, _)| *member == node.member).map_or(0, |&(_, blocks)| blocks),
        }));
        let asked = |considered: &Considered| considered.state.standing == Standing::In;
        all.sort_by(|one, other| asked(other).cmp(&asked(one)).then(one.load.total_cmp(&other.load)));
        let mut place = 0..;
        all.retain(|considered| place.next().is_some_and(|place| place < EXPLAINED) || considered.blocks > 0);
        all
    }

    /// Whether some member may be asked now.
    pub fn has_room(&mut self, now: Instant) -> bool {
        self.members.advance(now);
        !self.members.roomy.is_empty() || !self.members.triable.is_empty()
    }

    /// Members, those that drain included.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls that run there.
    pub fn running(&self, member: Member) -> usize {
        self.members.slot(member).and_then(|slot| self.members.at(slot)).map_or(0, |node| node.running)
    }

    /// `None` where there is no such member.
    pub fn state(&self, member: Member, now: Instant) -> Option<MemberState> {
        let node = self.members.at(self.members.slot(member)?)?;
        Some(node.state(self.usual, &self.config, now))
    }

    /// What the prefix index holds, in bytes.
    pub fn prefix_bytes(&self) -> usize {
        self.prefixes.bytes()
    }

    /// The members to avoid; none of them where no other stays: then it is one of these or none.
    fn avoidable<'a>(&self, avoid: &'a [Member]) -> &'a [Member] {
        let stays = |member: &Member| {
            self.members.slot(*member).and_then(|slot| self.members.at(slot)).is_some_and(|node| !node.draining)
        };
        let distinct = |(place, member): &(usize, &Member)| !avoid[..*place].contains(member);
        let avoided = avoid.iter().enumerate().filter(distinct).filter(|(_, member)| stays(member)).count();
        if avoided < self.members.staying() { avoid } else { &[] }
    }

    fn counted<'a>(&self, prefix: &'a [u64]) -> &'a [u64] {
        &prefix[..prefix.len().min(self.config.affinity.max_blocks)]
    }

    fn is_avoided(&self, slot: u32, avoid: &[Member]) -> bool {
        !avoid.is_empty() && self.members.at(slot).is_some_and(|node| avoid.contains(&node.member))
    }

    fn triable(&mut self, avoid: &[Member]) -> Option<u32> {
        if self.members.triable.is_empty() {
            return None;
        }
        let start = self.random.below(self.members.triable.len());
        self.members.triable.from(start).find(|&slot| !self.is_avoided(slot, avoid))
    }

    fn load(&self, slot: u32, now: Instant) -> f64 {
        let node = self.members.at(slot);
        node.map_or(f64::INFINITY, |node| node.load.with(node.running, self.usual, &self.config.balance, now))
    }

    /// The least loaded of all with room where they are few; else of two idle ones and two others, drawn at random.
    fn least(&mut self, avoid: &[Member], now: Instant) -> Option<Least> {
        let count = self.members.roomy.len();
        let mut candidates = [None; COMPARED];
        if count <= COMPARED {
            let start = self.random.below(count);
            for (place, slot) in candidates.iter_mut().zip(self.members.roomy.from(start)) {
                *place = Some(slot);
            }
        } else {
            let (first, second) = self.two(self.members.idle.len());
            let (third, fourth) = self.two(count);
            let draw = |set: &super::set::Set, start| set.from(start).find(|&slot| !self.is_avoided(slot, avoid));
            candidates[0] = draw(&self.members.idle, first);
            candidates[1] = draw(&self.members.idle, second);
            candidates[2] = draw(&self.members.roomy, third);
            candidates[3] = draw(&self.members.roomy, fourth);
        }
        let mut allowed = 0;
        let mut least: Option<(f64, u32)> = None;
        for slot in candidates.into_iter().flatten().filter(|&slot| !self.is_avoided(slot, avoid)) {
            allowed += 1;
            let load = self.load(slot, now);
            if least.is_none_or(|(known, _)| load < known) {
                least = Some((load, slot));
            }
        }
        let (_, slot) = least?;
        let running = self.members.at(slot)?.running;
        Some(Least { slot, running, only: allowed == 1 && count <= COMPARED })
    }

    /// Two different numbers below the bound, if there are two.
    fn two(&mut self, bound: usize) -> (usize, usize) {
        let first = self.random.below(bound);
        let second = first + 1 + self.random.below(bound.saturating_sub(1));
        (first, if second >= bound { second - bound.min(second) } else { second })
    }

    /// The member that has seen the call's prefix, or that its session belongs to, unless that makes the load uneven; else
    /// the least loaded.
    fn with_affinity(&self, least: &Least, wish: &Wish<'_>, avoid: &[Member], now: Instant) -> (u32, Because) {
        if least.only {
            return (least.slot, Because::Only);
        }
        let wanted = self.of_prefix(self.counted(wish.prefix), avoid, now);
        let wanted = wanted.or_else(|| Some((self.members.sessions.of(wish.session?)?, Because::Session)));
        match wanted {
            Some((slot, because)) if !self.is_avoided(slot, avoid) && self.keeps_even(slot, least) => (slot, because),
            _ => (least.slot, Because::Load),
        }
    }

    /// The least loaded of those that have seen most of the prefix.
    fn of_prefix(&self, prefix: &[u64], avoid: &[Member], now: Instant) -> Option<(u32, Because)> {
        let enough = (prefix.len() as f64 * self.config.affinity.min_share).max(1.0);
        let matches = self.prefixes.matches(prefix).take(MATCHES);
        for found in matches.take_while(|found| found.blocks as f64 >= enough) {
            let slots = found.holders.iter().filter_map(|&holder| self.members.slot(holder));
            let asked = slots.filter(|&slot| self.members.roomy.contains(slot) && !self.is_avoided(slot, avoid));
            let loads = asked.map(|slot| (self.load(slot, now), slot));
            if let Some((_, slot)) = loads.min_by(|one, other| one.0.total_cmp(&other.0)) {
                return Some((slot, Because::Prefix { blocks: found.blocks }));
            }
        }
        None
    }

    /// The imbalance guard.
    fn keeps_even(&self, slot: u32, least: &Least) -> bool {
        let Some(node) = self.members.at(slot) else { return false };
        let guard = &self.config.affinity;
        let uneven = node.running > least.running.saturating_add(guard.guard_calls)
            && node.running as f64 > guard.guard_ratio * least.running as f64;
        self.members.roomy.contains(slot) && !node.load.is_failing() && !uneven
    }

    fn take(&mut self, slot: u32, because: Because, now: Instant) -> Option<(Member, Era)> {
        let node = self.members.at_mut(slot)?;
        node.running += 1;
        node.load.started(&self.config.balance, now);
        if because == Because::Probe {
            node.breaker.try_one();
        }
        let taken = (node.member, node.breaker.era());
        self.members.settle(slot);
        Some(taken)
    }

    /// Sets a member aside if it does much worse than the others.
    fn judge(&mut self, slot: u32, now: Instant) {
        let due = self.members.inside.contains(slot)
            && self.members.at_mut(slot).is_some_and(|node| node.ejection.is_due(&self.config.ejection, now));
        if !due {
            return;
        }
        let start = self.random.below(self.members.inside.len());
        let others: Vec<u32> =
            self.members.inside.from(start).filter(|&other| other != slot).take(ejection::SAMPLE).collect();
        let mut record = |slot: u32| Some(self.members.at_mut(slot)?.record(now));
        let Some(own) = record(slot) else { return };
        let others: Vec<_> = others.into_iter().filter_map(record).collect();
        if is_outlier(own, others.into_iter(), &self.config.ejection) {
            self.members.eject(slot, &self.config, now);
        }
    }
}
