//! The queue: calls come, runs are planned and reported, calls end.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use super::call::{Call, CallId, NewCall, Pending, Place};
use super::policy::{EmbedPolicy, Sharing};
use super::refusal::Refusal;
use super::run::{Growing, Run, Text};
use crate::cost::CostModel;

/// Texts that are looked at for a run: of all calls, of the one that leads, and of each other.
const LOOK_AHEAD: usize = 1_024;
const OWN: usize = 512;
const OTHERS: usize = 64;

/// What is next.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Calls whose deadline has passed. They are gone.
    pub expired: Vec<CallId>,
    /// What is to be computed; none where nothing waits.
    pub run: Option<Run>,
}

/// Where a queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EmbedCounts {
    /// Calls that wait, those whose texts are just computed among them.
    pub calls: usize,
    /// Texts of these, those that are computed already among them.
    pub texts: usize,
    /// Tokens of the texts that wait, without those that are just computed.
    pub tokens: usize,
}

/// The waiting calls of an embedder. One run is under way at a time.
#[derive(Debug)]
pub struct EmbedQueue {
    policy: EmbedPolicy,
    calls: HashMap<CallId, Call>,
    /// Of the calls that have texts which wait.
    order: BTreeSet<Place>,
    /// Of the calls that have one.
    deadlines: BTreeSet<(Instant, CallId)>,
    texts: usize,
    tokens: usize,
    cost: CostModel,
    next: u64,
    /// The number of the run that is under way.
    under_way: Option<u64>,
    runs: u64,
}

impl EmbedQueue {
    pub fn new(policy: EmbedPolicy) -> EmbedQueue {
        EmbedQueue {
            policy,
            calls: HashMap::new(),
            order: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            texts: 0,
            tokens: 0,
            cost: CostModel::default(),
            next: 0,
            under_way: None,
            runs: 0,
        }
    }

    /// Takes a call in.
    pub fn submit(&mut self, new: NewCall) -> Result<CallId, Refusal> {
        let (texts, limit) = (new.lengths.len(), self.policy.call_texts);
        if texts == 0 {
            return Err(Refusal::NoTexts);
        }
        if texts > limit {
            return Err(Refusal::Texts { texts, limit });
        }
        if let Some(text) = new.lengths.iter().position(|&tokens| tokens == 0) {
            return Err(Refusal::EmptyText { text });
        }
        if self.calls.len() >= self.policy.waiting {
            return Err(Refusal::QueueFull { limit: self.policy.waiting });
        }
        let (held, asked, limit) = (self.texts, texts, self.policy.waiting_texts);
        if !self.calls.is_empty() && held + asked > limit {
            return Err(Refusal::QueueTexts { held, asked, limit });
        }
        let asked = new.lengths.iter().fold(0, |sum: usize, &tokens| sum.saturating_add(tokens));
        let (held, limit) = (self.tokens, self.policy.waiting_tokens);
        if !self.calls.is_empty() && held.saturating_add(asked) > limit {
            return Err(Refusal::QueueTokens { held, asked, limit });
        }
        let id = CallId(self.next);
        self.next += 1;
        self.texts += texts;
        self.tokens += asked;
        let call = Call::new(new, id);
        self.order.insert(call.place);
        self.deadlines.extend(call.deadline.map(|deadline| (deadline, id)));
        self.calls.insert(id, call);
        Ok(id)
    }

    /// Plans what is next, and takes its texts out. There is no run while another one is under way.
    pub fn plan(&mut self, now: Instant) -> Plan {
        let mut plan = Plan::default();
        while let Some(&(deadline, id)) = self.deadlines.first() {
            if deadline > now {
                break;
            }
            self.remove(id);
            plan.expired.push(id);
        }
        if self.under_way.is_none() {
            plan.run = self.next_run(now);
        }
        plan
    }

    fn next_run(&mut self, now: Instant) -> Option<Run> {
        let lead = self.order.first()?.id;
        let (text, deadline) = {
            let call = self.calls.get(&lead)?;
            (text(lead, call.pending.first()?), call.deadline)
        };
        let mut run = Growing::new(&self.policy, &self.cost, now, text, deadline);
        let mut taken = vec![(lead, 0)];
        for (id, at) in self.mates(lead, text.tokens) {
            if run.is_full() {
                break;
            }
            let Some(call) = self.calls.get(&id) else { continue };
            if run.add(self::text(id, &call.pending[at]), call.deadline) {
                taken.push((id, at));
            }
        }
        self.runs += 1;
        let run = run.finish(self.runs);
        self.take(&taken);
        if let Some(call) = self.calls.get_mut(&lead) {
            let place = call.next_place(now, run.number);
            if self.order.remove(&call.place) {
                self.order.insert(place);
            }
            call.place = place;
        }
        self.under_way = Some(run.number);
        Some(run)
    }

    /// Texts that may join one of `tokens`, the nearest in length first: call, and place among its texts.
    fn mates(&self, lead: CallId, tokens: usize) -> Vec<(CallId, usize)> {
        let mut mates = Vec::new();
        for place in &self.order {
            let Some(call) = self.calls.get(&place.id) else { continue };
            let of = if place.id == lead { OWN } else { OTHERS };
            let most = of.min(LOOK_AHEAD - mates.len());
            // The lead's first text is taken already.
            let nearest = call.nearest(tokens, most + 1).filter(|&at| place.id != lead || at > 0);
            mates.extend(nearest.take(most).map(|at| (call.pending[at].tokens.abs_diff(tokens), place.id, at)));
            if mates.len() >= LOOK_AHEAD {
                break;
            }
        }
        if self.policy.sharing == Sharing::OneLength {
            mates.retain(|(distance, ..)| *distance == 0);
        }
        mates.sort_by_key(|(distance, ..)| *distance);
        mates.into_iter().map(|(_, id, at)| (id, at)).collect()
    }

    /// Takes texts out, by their calls and places.
    fn take(&mut self, taken: &[(CallId, usize)]) {
        for (id, at) in taken {
            let Some(call) = self.calls.get_mut(id) else { continue };
            let tokens = std::mem::take(&mut call.pending[*at].tokens);
            call.tokens -= tokens;
            call.running += 1;
            self.tokens -= tokens;
        }
        for (id, _) in taken {
            let Some(call) = self.calls.get_mut(id) else { continue };
            call.pending.retain(|text| text.tokens > 0);
            if call.pending.is_empty() {
                self.order.remove(&call.place);
            }
        }
    }

    /// Reports the run that was under way, and how long it took, where that says something of later ones. Returns the calls of
    /// which nothing is left to compute; they are gone.
    pub fn done(&mut self, run: &Run, took: Option<Duration>) -> Vec<CallId> {
        if self.under_way != Some(run.number) {
            return Vec::new();
        }
        self.under_way = None;
        if let Some(took) = took {
            self.cost.observe(run.computed, took);
        }
        let mut complete = Vec::new();
        for text in &run.texts {
            let Some(call) = self.calls.get_mut(&text.call) else { continue };
            call.running -= 1;
            if call.running == 0 && call.pending.is_empty() {
                self.remove(text.call);
                complete.push(text.call);
            }
        }
        complete
    }

    /// Takes a call out, whatever is left of it. Says whether it was there.
    pub fn remove(&mut self, id: CallId) -> bool {
        let Some(call) = self.calls.remove(&id) else { return false };
        self.order.remove(&call.place);
        if let Some(deadline) = call.deadline {
            self.deadlines.remove(&(deadline, id));
        }
        self.texts -= call.texts;
        self.tokens -= call.tokens;
        true
    }

    /// Whether a call is there.
    pub fn has(&self, id: CallId) -> bool {
        self.calls.contains_key(&id)
    }

    /// When the next deadline passes.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    pub fn counts(&self) -> EmbedCounts {
        EmbedCounts { calls: self.calls.len(), texts: self.texts, tokens: self.tokens }
    }
}

fn text(call: CallId, pending: &Pending) -> Text {
    Text { call, index: pending.index, tokens: pending.tokens }
}
