//! A revision that runs: its lane and its set of replicas.

use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch as channel;
use tokio::task::JoinSet;
use weirgate_deploy_core::RevisionPlan;
use weirgate_deploy_core::rollout::{self, Fault, FaultKind, Health};
use weirgate_deploy_core::status::RevisionStatus;
use weirgate_replicas::embed::EmbedObserver;
use weirgate_replicas::text::TextObserver;
use weirgate_replicas::{
    BatchReport, Counts, Failure, FailureKind, Feed, Finished, Pull, Remote, Replica, SetState, Wanted,
};

use super::LocalConfig;
use super::executor::replica_set;
use crate::control::Named;

/// One run of a revision: the same one may run again later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub service: Named,
    pub run: u64,
}

/// What the tasks of a revision tell the controller.
#[derive(Debug)]
pub(super) enum Told {
    /// How the replicas fare, but for what they are at, and what they have loaded.
    State(Health, Loads),
    /// What they are at.
    Counts(rollout::Counts),
    /// One has failed, or starts for long.
    Trouble(Fault),
    /// The lane is empty and closed.
    Drained,
    /// The replicas have ended.
    Ended,
}

pub(super) type News = UnboundedSender<(Key, Told)>;

/// Which of the loads that were asked for have been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Loads {
    /// The last one that every replica which serves has done.
    pub done: u64,
    /// The one that has failed, where one has.
    pub failed: Option<u64>,
}

pub(super) struct Running<L> {
    pub key: Key,
    pub plan: RevisionPlan,
    pub lane: L,
    pub phase: Phase,
    pub health: Health,
    pub loads: Loads,
    pub feed: Arc<dyn Feed>,
    started: bool,
    wanted: channel::Sender<Wanted>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Its replicas wait for those of another revision to end.
    Waiting,
    Running,
    /// It finishes what it holds.
    Draining,
    /// Its lane is closed, and its replicas end.
    Ending,
}

impl<L> Running<L> {
    pub fn new(key: Key, plan: RevisionPlan, lane: L, feed: Arc<dyn Feed>) -> Self {
        let (wanted, _) = channel::channel(Wanted::default());
        let (phase, health) = (Phase::Waiting, Health::default());
        Running { key, plan, lane, phase, health, loads: Loads::default(), feed, started: false, wanted }
    }

    pub fn started(&self) -> bool {
        self.started
    }

    /// Has every replica load the model anew.
    pub fn load(&self, load: u64) {
        self.wanted.send_modify(|now| now.load = load);
    }

    /// Starts the replicas; once.
    pub fn start(&mut self, replicas: usize, platform: &LocalConfig, tasks: &mut JoinSet<()>, news: &News) {
        self.started = true;
        self.phase = Phase::Running;
        self.wanted.send_modify(|now| now.replicas = replicas);
        let (key, news) = (self.key.clone(), news.clone());
        let feed = Arc::new(Reporting { feed: self.feed.clone(), key: key.clone(), news: news.clone() });
        let set = replica_set(&self.key.service, &self.plan, platform, feed);
        let run = set.run(self.wanted.subscribe());
        tasks.spawn(async move {
            let _ending = Ending { key, news };
            run.await;
        });
    }

    /// What its replicas are at, as people are told.
    pub fn status(&self) -> RevisionStatus {
        let Health { ready, counts: rollout::Counts { starting, waiting, draining, restarts }, .. } = self.health;
        RevisionStatus { name: self.plan.name.clone(), ready, starting, waiting, draining, restarts }
    }

    /// Has so many replicas run from now on; with 0 the set ends for good. Dropping this ends it too.
    pub fn scale(&self, replicas: usize) {
        self.wanted.send_if_modified(|now| std::mem::replace(&mut now.replicas, replicas) != replicas);
    }
}

/// Says that a set has ended, even where it panicked. The controller is gone only when everything stops.
struct Ending {
    key: Key,
    news: News,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.news.send((self.key.clone(), Told::Ended));
    }
}

/// A lane's feed that tells the controller too how the replicas fare, after the lane has been told.
struct Reporting {
    feed: Arc<dyn Feed>,
    key: Key,
    news: News,
}

impl Feed for Reporting {
    fn pull(&self, replica: &Arc<dyn Replica>) -> Pull {
        self.feed.pull(replica)
    }

    fn leave(&self, replica: &Arc<dyn Replica>) {
        self.feed.leave(replica);
    }

    fn ran(&self, replica: &Arc<dyn Replica>, report: &BatchReport, finished: Vec<Finished>) {
        self.feed.ran(replica, report, finished);
    }

    fn observe_text(&self) -> Arc<dyn TextObserver> {
        self.feed.observe_text()
    }

    fn observe_embed(&self) -> Arc<dyn EmbedObserver> {
        self.feed.observe_embed()
    }

    fn remote_joined(&self, remote: Arc<Remote>) {
        self.feed.remote_joined(remote);
    }

    fn remote_changed(&self, id: u64) {
        self.feed.remote_changed(id);
    }

    fn remote_drains(&self, id: u64) {
        self.feed.remote_drains(id);
    }

    fn remote_left(&self, id: u64) {
        self.feed.remote_left(id);
    }

    fn state_changed(&self, state: SetState) {
        let (ready, done, failure, waits_for) = match &state {
            SetState::Loading { reason } => (0, 0, None, reason.as_ref()),
            SetState::Ready { ready, load, failure, .. } => (*ready, *load, failure.as_ref(), None),
            SetState::Failed(failure) => (0, 0, Some(failure), None),
        };
        let loads = Loads { done, failed: failure.map(|failure| failure.load) };
        let (failure, waits_for) = (failure.map(fault), waits_for.map(fault));
        let health = Health { ready, failure, waits_for, ..Health::default() };
        self.feed.state_changed(state);
        self.tell(Told::State(health, loads));
    }

    fn counts_changed(&self, counts: Counts) {
        let Counts { starting, waiting, draining, restarts, .. } = counts;
        self.feed.counts_changed(counts);
        self.tell(Told::Counts(rollout::Counts { starting, waiting, draining, restarts }));
    }

    fn noted(&self, failure: &Failure) {
        self.feed.noted(failure);
        self.tell(Told::Trouble(fault(failure)));
    }
}

impl Reporting {
    fn tell(&self, told: Told) {
        let _ = self.news.send((self.key.clone(), told));
    }
}

fn fault(failure: &Failure) -> Fault {
    let kind = match failure.kind {
        FailureKind::Load => FaultKind::ModelLoadFailed,
        FailureKind::Start => FaultKind::ReplicaNotStarted,
        FailureKind::Exit { code } => FaultKind::ReplicaExited { code },
        FailureKind::Unhealthy => FaultKind::ReplicaUnhealthy,
        FailureKind::NotReady => FaultKind::ReplicaNotReady,
        FailureKind::Upstream => FaultKind::UpstreamNotReady,
    };
    Fault { kind, message: failure.reason.to_string() }
}
