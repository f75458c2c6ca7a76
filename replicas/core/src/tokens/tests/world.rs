//! A scheduler, its executor and their callers, in time that is counted in steps.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use weirgate_protocol::Priority;

use super::super::{
    CacheSalt, Departure, Ended, Leave, NewSequence, Refusal, Sample, Scheduler, SequenceId, Step, TokenPolicy,
};
use super::memory::{Memory, Network, Truth};

/// How long a step takes.
pub const STEP: Duration = Duration::from_secs(1);

/// Sixteen blocks of four tokens, and room for all that the tests don't bound themselves.
pub const POLICY: TokenPolicy = TokenPolicy {
    context: 64,
    block_tokens: 4,
    blocks: 16,
    cached_blocks: 16,
    reserve_blocks: 0,
    step_tokens: 16,
    prefill_tokens: 4,
    running: 8,
    waiting: 64,
    waiting_tokens: 4_096,
    reuse_decoded: false,
};

/// A sequence that lives.
#[derive(Clone, Debug)]
pub struct Live {
    pub truth: Truth,
    pub asked: Option<usize>,
    pub deadline: Option<Instant>,
    /// The executor makes this of the token with that index.
    pub stops: Option<(usize, Stop)>,
    /// Where its next row begins, while it runs.
    pub computed: Option<usize>,
    /// Why it was taken out.
    pub left: Option<Leave>,
}

/// What an executor makes of a token instead of going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Last,
    End(Leave),
}

pub struct World {
    pub scheduler: Scheduler,
    pub network: Network,
    memory: Memory,
    pub now: Instant,
    pub live: BTreeMap<SequenceId, Live>,
    pub ended: BTreeMap<SequenceId, (Ended, Vec<u32>)>,
}

impl World {
    #[allow(clippy::disallowed_methods)]
    pub fn new(policy: TokenPolicy) -> World {
        let network = Network { by_phase: !policy.reuse_decoded };
        World {
            scheduler: Scheduler::new(policy).unwrap(),
            network,
            memory: Memory::new(network, policy.blocks, policy.block_tokens),
            now: Instant::now(),
            live: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// A sequence of the normal class, without a deadline.
    pub fn new_sequence(&self, prompt: &[u32], max_new: usize) -> NewSequence {
        NewSequence {
            prompt: prompt.to_vec(),
            max_new_tokens: Some(max_new),
            priority: Priority::Normal,
            arrived: self.now,
            deadline: None,
            salt: CacheSalt::default(),
        }
    }

    pub fn submit(&mut self, new: NewSequence) -> Result<SequenceId, Refusal> {
        let live = Live {
            truth: Truth::new(self.network, new.salt, &new.prompt),
            asked: new.max_new_tokens,
            deadline: new.deadline,
            stops: None,
            computed: None,
            left: None,
        };
        let id = self.scheduler.submit(new)?;
        assert!(self.live.insert(id, live).is_none() && !self.ended.contains_key(&id), "{id} is used twice");
        Ok(id)
    }

    /// Submits a prompt of so many tokens, each of them `token`.
    pub fn enter(&mut self, token: u32, prompt: usize, max_new: usize) -> SequenceId {
        self.submit(self.new_sequence(&vec![token; prompt], max_new)).unwrap()
    }

    pub fn enter_as(&mut self, priority: Priority, token: u32, prompt: usize, max_new: usize) -> SequenceId {
        self.submit(NewSequence { priority, ..self.new_sequence(&vec![token; prompt], max_new) }).unwrap()
    }

    pub fn leave(&mut self, id: SequenceId, leave: Leave) -> Departure {
        if let Some(live) = self.live.get_mut(&id) {
            live.left.get_or_insert(leave);
        }
        let departure = self.scheduler.leave(id, leave);
        if let Departure::Gone(ended) = departure {
            self.bury(ended);
        }
        self.audit();
        departure
    }

    /// Plans a step, checks it, runs it, and reports it.
    pub fn step(&mut self) -> Step {
        self.step_and(|_, _| true)
    }

    /// As [`step`](World::step), with something that happens while it runs. Where that returns false, the step fails.
    pub fn step_and(&mut self, during: impl FnOnce(&mut World, &Step) -> bool) -> Step {
        let before = self.standing();
        let step = self.scheduler.plan(self.now).unwrap();
        self.now += STEP;
        self.check_plan(&before, &step);
        for &ended in &step.ended {
            self.bury(ended);
        }
        self.take_note(&step);
        self.audit();
        if step.rows.is_empty() {
            return step;
        }
        let went_well = during(self, &step);
        self.audit();
        if !went_well {
            let progress = self.scheduler.undo(&step).unwrap();
            assert!(progress.produced.is_empty() && progress.kept.is_empty());
            progress.ended.into_iter().for_each(|ended| self.bury(ended));
            self.audit();
            return step;
        }
        self.report(&step);
        self.audit();
        step
    }

    fn report(&mut self, step: &Step) {
        let live = &self.live;
        let tokens = self.memory.run(step, |row| &live[&row.sequence].truth);
        let wanting = step.rows.iter().filter(|row| row.logits);
        let samples: Vec<_> = wanting.zip(&tokens).map(|(row, &token)| live[&row.sequence].sample(token)).collect();
        for row in &step.rows {
            let live = self.live.get_mut(&row.sequence).unwrap();
            live.computed = Some(row.positions.end);
        }
        let progress = self.scheduler.done(step, &samples).unwrap();
        for produced in progress.produced {
            let live = self.live.get_mut(&produced.sequence).unwrap();
            assert_eq!(live.left, None, "one that left gets no token");
            assert_eq!(produced.token, live.truth.next(), "{} alone has another answer", produced.sequence);
            assert_eq!(produced.index, live.truth.tokens.len() - live.truth.prompt);
            live.truth.push(produced.token);
        }
        for ended in progress.ended {
            if let Some((_, Stop::End(leave))) = self.live[&ended.sequence].stops
                && ended.reason == leave.into()
            {
                self.live.get_mut(&ended.sequence).unwrap().left.get_or_insert(leave);
            }
            self.bury(ended);
        }
    }

    /// Steps until nothing is left. Panics where that takes longer than the work that there is allows.
    pub fn drain(&mut self) {
        let most = self.most_steps();
        for _ in 0..=most {
            if self.scheduler.is_idle() {
                return self.check_empty();
            }
            self.step();
        }
        panic!("{} sequences are left after {most} steps", self.live.len());
    }

    /// The answer of a sequence that ended, and how it did.
    pub fn end_of(&self, id: SequenceId) -> &Ended {
        &self.ended[&id].0
    }

    fn bury(&mut self, ended: Ended) {
        let live = self.live.remove(&ended.sequence).expect("it ends once");
        self.check_end(&live, &ended);
        self.ended.insert(ended.sequence, (ended, live.truth.tokens));
    }
}

impl Live {
    fn sample(&self, token: u32) -> Sample {
        match self.stops {
            Some((index, stop)) if self.truth.tokens.len() - self.truth.prompt >= index => match stop {
                Stop::Last => Sample::Last(token),
                Stop::End(leave) => Sample::End(leave),
            },
            _ => Sample::Next(token),
        }
    }
}
