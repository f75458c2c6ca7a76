//! The one task that owns every service: it takes what changes, lets each service it concerns decide, and carries that out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use weirgate_deploy_core::rollout::{Fault, Health};
use weirgate_deploy_core::{Problem, Service, Severity};
use weirgate_replicas::{Failure, SetState};

use super::absent::{self, Absent};
use super::children::AllowCommands;
use super::files::Files;
use super::record::Record;
use super::running::{Key, News, Phase, Running, Told};
use super::service::{Managed, Wanted, file_of, reasons, unsupported};
use super::watch::Text;
use super::{Freeze, LocalConfig, executor};
use crate::control::{Command, Named, Owner, ServiceView};
use crate::plane::DataPlane;
use crate::state::StateFolder;

/// A record that could not be stored is tried again after this time.
const STORE_AGAIN: Duration = Duration::from_secs(5);
/// For an engine that does not come back from what it runs, and for what processes leave behind.
const STOP_MARGIN: Duration = Duration::from_secs(10);

type Views = channel::Sender<Arc<Vec<Arc<ServiceView>>>>;

pub(super) struct Controller<P: DataPlane> {
    pub(super) plane: Arc<P>,
    pub(super) state: StateFolder,
    pub(super) files: Files,
    pub(super) config: LocalConfig,
    pub(super) services: BTreeMap<Named, Managed<P::Lane>>,
    pub(super) absent: Absent,
    /// Services to decide anew.
    pub(super) dirty: BTreeSet<Named>,
    /// Services whose record could not be stored.
    pub(super) unstored: BTreeSet<Named>,
    pub(super) views: Views,
    pub(super) seen: BTreeMap<Named, Arc<ServiceView>>,
    /// The replica sets, and those who wait for a lane to drain.
    pub(super) tasks: JoinSet<()>,
    pub(super) news: (News, mpsc::UnboundedReceiver<(Key, Told)>),
    pub(super) runs: u64,
    /// Another process gets ready to take over: nothing may be stored or changed.
    pub(super) frozen: bool,
}

impl<P: DataPlane> Controller<P> {
    pub fn new(
        plane: Arc<P>,
        state: StateFolder,
        files: Files,
        config: LocalConfig,
        views: Views,
    ) -> Result<Self, String> {
        // What is set aside has been logged; it takes nothing else down.
        let (applied, of_files) = absent::split(state.load::<Record>().0);
        let frozen = config.frozen;
        let mut controller = Controller {
            plane,
            state,
            files,
            config,
            services: BTreeMap::new(),
            absent: Absent::default(),
            dirty: BTreeSet::new(),
            unstored: BTreeSet::new(),
            views,
            seen: BTreeMap::new(),
            tasks: JoinSet::new(),
            news: mpsc::unbounded_channel(),
            runs: 0,
            frozen,
        };
        controller.absent.hold(of_files);
        if !frozen {
            controller.keep_absent();
        }
        let claims: Vec<_> = controller.files.services().map(|(named, service)| (named, service.clone())).collect();
        for (named, service) in claims {
            if applied.contains_key(&named) {
                return Err(format!(
                    "{}: inferenceservice {named} was applied to the state folder {}: delete it there (weirgate delete), or \
                     take it out of the file",
                    service.origin,
                    controller.state.path().display()
                ));
            }
            let wanted = wanted_by_file(service, controller.config.processes.allowed);
            controller.want(named, wanted);
        }
        for (named, record) in applied {
            let wanted = wanted_by_state(&named, &record, controller.config.processes.allowed);
            controller.insert(named, wanted, Some(record));
        }
        Ok(controller)
    }

    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut changes: mpsc::Receiver<Vec<Text>>,
        mut freezes: mpsc::Receiver<Freeze>,
        mut stop: channel::Receiver<bool>,
    ) -> Result<(), String> {
        let mut again = tokio::time::interval(STORE_AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = super::stopped(&mut stop) => break,
                Some(command) = commands.recv() => tokio::task::block_in_place(|| self.command(command)),
                Some((frozen, done)) = freezes.recv() => {
                    tokio::task::block_in_place(|| self.freeze(frozen));
                    // Who asked may be gone.
                    let _ = done.send(());
                }
                Some(texts) = changes.recv(), if !self.frozen => tokio::task::block_in_place(|| self.changed(texts)),
                _ = again.tick(), if !self.unstored.is_empty() => tokio::task::block_in_place(|| self.store_again()),
                Some((key, told)) = self.news.1.recv() => self.told(&key, told),
                Some(ended) = self.tasks.join_next() => log_panic(ended),
            }
            // A burst is one publication.
            while let Ok((key, told)) = self.news.1.try_recv() {
                self.told(&key, told);
            }
            tokio::task::block_in_place(|| self.settle());
        }
        self.stop().await
    }

    /// Once this process may write again nothing is known of the folder: another one may have written there meanwhile.
    fn freeze(&mut self, frozen: bool) {
        if std::mem::replace(&mut self.frozen, frozen) && !frozen {
            self.keep_absent();
            for (named, service) in &mut self.services {
                service.stored = None;
                self.unstored.insert(named.clone());
            }
            self.store_again();
        }
    }

    fn keep_absent(&mut self) {
        for (named, error) in self.absent.keep_all(&self.state) {
            tracing::warn!(service = %named, error, "its record stays as it was");
        }
    }

    fn store_again(&mut self) {
        for named in self.unstored.clone() {
            self.store(&named);
        }
    }

    async fn stop(mut self) -> Result<(), String> {
        tokio::task::block_in_place(|| self.store_again());
        // Lanes that drain have nobody left to wait for, and a model that loads is of no use any more.
        let (mut left, mut grace) = (Vec::new(), Duration::ZERO);
        for service in self.services.values_mut() {
            for running in service.running.drain(..).filter(Running::started) {
                grace = grace.max(executor::grace(&running.plan));
                left.push((running.key.clone(), running.plan.name.clone()));
            }
        }
        let ended = async {
            while !left.is_empty()
                && let Some((key, told)) = self.news.1.recv().await
            {
                left.retain(|(running, _)| *running != key || !matches!(told, Told::Ended));
            }
        };
        // First calls that were cut are let go of, and then a process may take all of its time to end.
        let patience = grace * 2 + STOP_MARGIN;
        tokio::time::timeout(patience, ended).await.map_err(|_| {
            let left: Vec<_> = left.iter().map(|(key, name)| format!("{} (revision {name})", key.service)).collect();
            format!("replicas did not end in {patience:?} and were cut: {}", left.join(", "))
        })
    }

    /// Watched files have changed: all that one look found, so that a service that moves from one file to another is never
    /// without one.
    pub(super) fn changed(&mut self, texts: Vec<Text>) {
        let held = |files: &Files| files.services().map(|(named, _)| named).collect::<BTreeSet<_>>();
        let before = held(&self.files);
        for problem in self.files.update(texts) {
            self.report(&problem);
        }
        for gone in before.difference(&held(&self.files)) {
            // What was applied is no file's to take away.
            if self.services.get(gone).is_some_and(|service| service.record.owner != Owner::State) {
                self.remove(gone);
            }
        }
        let owned = |service: Option<&Managed<P::Lane>>| {
            service.is_some_and(|service| !service.deleted && service.record.owner == Owner::State)
        };
        let (mut news, mut claims) = (Vec::new(), Vec::new());
        for (named, service) in self.files.services() {
            let managed = self.services.get(&named);
            if owned(managed) {
                if !before.contains(&named) {
                    claims.push((named, file_of(service)));
                }
            } else if managed.is_none_or(|managed| {
                let wanted = wanted_by_file((*service).clone(), self.config.processes.allowed);
                managed.deleted || managed.differs(&wanted.owner, &wanted.manifest, wanted.unsupported.as_deref())
            }) {
                news.push((named, service.clone()));
            }
        }
        for (named, file) in claims {
            let text = format!("{} is not acted on: the state folder holds this service", shown(&file));
            self.event(&named, "Warning", "ClaimedTwice", text);
        }
        for (named, service) in news {
            let wanted = wanted_by_file(service, self.config.processes.allowed);
            self.want(named, wanted);
        }
    }

    fn report(&mut self, problem: &Problem) {
        let text = problem.to_string();
        let wrong = problem.severity == Severity::Error;
        if wrong {
            tracing::error!("{text}");
        } else {
            tracing::warn!("{text}");
        }
        let named = problem.subject.strip_prefix("inferenceservice ").and_then(|named| named.split_once('/'));
        if let (Some((namespace, name)), true) = (named, wrong) {
            let named = Named { namespace: namespace.to_owned(), name: name.to_owned() };
            self.event(&named, "Warning", "ManifestRefused", text);
        }
    }

    fn event(&mut self, named: &Named, kind: &str, reason: &str, message: String) {
        if let Some(service) = self.services.get_mut(named) {
            service.event(kind, reason, message);
            self.dirty.insert(named.clone());
        }
    }

    /// Acts on a manifest, of a service that is known or not.
    pub(super) fn want(&mut self, named: Named, wanted: Wanted) {
        match self.services.get_mut(&named) {
            Some(service) if !service.deleted => {
                service.want(wanted);
                self.dirty.insert(named);
            }
            Some(service) => {
                // It was on its way out: what still runs of it is taken over, and is as well as it was.
                let running = std::mem::take(&mut service.running);
                let (loads, waiting) = (service.loads, std::mem::take(&mut service.waiting));
                let record = self.absent.take(&named);
                self.insert(named.clone(), wanted, record);
                if let Some(service) = self.services.get_mut(&named) {
                    for running in running.iter().filter(|running| running.phase == Phase::Running) {
                        service.record.rollout.observe(&running.plan.name, running.health.clone());
                    }
                    service.running = running;
                    // Their count goes on: the replicas that were taken over know it.
                    (service.loads, service.waiting) = (loads, waiting);
                }
            }
            None => {
                let record = self.absent.take(&named);
                self.insert(named, wanted, record);
            }
        }
    }

    fn insert(&mut self, named: Named, wanted: Wanted, record: Option<Record>) {
        self.services.insert(named.clone(), Managed::new(named.clone(), wanted, record));
        self.dirty.insert(named);
    }

    /// Takes a service out. What it holds is finished; its record goes at once.
    pub(super) fn remove(&mut self, named: &Named) {
        let Some(service) = self.services.get_mut(named) else { return };
        service.deleted = true;
        service.event("Normal", "Deleted", "the service is taken out".to_owned());
        self.dirty.insert(named.clone());
    }

    fn told(&mut self, key: &Key, told: Told) {
        let Some(service) = self.services.get_mut(&key.service) else { return };
        let Some(index) = service.running.iter().position(|running| running.key == *key) else { return };
        self.dirty.insert(key.service.clone());
        let running = &mut service.running[index];
        match told {
            Told::State(health, loads) => {
                running.loads = loads;
                let health = Health { counts: running.health.counts, ..health };
                let before = std::mem::replace(&mut running.health, health.clone());
                if running.phase == Phase::Running {
                    let name = running.plan.name.clone();
                    let ready = health.ready > 0 && before.ready == 0;
                    service.record.rollout.observe(&name, health);
                    if ready {
                        service.event("Normal", "RevisionReady", format!("revision {name} is ready"));
                    }
                }
            }
            Told::Counts(counts) => {
                running.health.counts = counts;
                if running.phase == Phase::Running {
                    service.record.rollout.observe(&running.plan.name, running.health.clone());
                }
            }
            Told::Trouble(Fault { kind, message }) => {
                let name = running.plan.name.clone();
                service.trouble(&name, kind.reason(), format!("revision {name}: {message}"));
            }
            Told::Drained if running.phase == Phase::Draining => {
                running.phase = Phase::Ending;
                if running.started() {
                    running.scale(0);
                } else {
                    service.running.remove(index);
                }
            }
            Told::Drained => {}
            Told::Ended => {
                let Running { plan, lane, feed, phase, key, .. } = service.running.remove(index);
                let name = plan.name;
                if phase == Phase::Ending {
                    service.event("Normal", "RevisionStopped", format!("revision {name} has ended"));
                    return;
                }
                // A fault of ours. What waits in its lane is told, and what comes is routed to another run of it.
                if phase == Phase::Running {
                    service.record.rollout.observe(&name, Health::default());
                }
                let reason = "its replicas have ended by a fault of the platform";
                service.event("Warning", "ReplicasLost", format!("revision {name}: {reason}"));
                feed.state_changed(SetState::Failed(Failure::of_loading(reason, 0)));
                self.plane.retire_lane(&lane);
                self.tasks.spawn(tell_drained(self.plane.lane_drained(&lane), key, self.news.0.clone()));
            }
        }
    }
}

/// Tells when a retired lane is empty and closed. The controller is gone only when everything stops.
pub(super) async fn tell_drained(drained: impl Future<Output = ()>, key: Key, news: News) {
    drained.await;
    let _ = news.send((key, Told::Drained));
}

pub(super) fn wanted_by_file(service: Service, allowed: AllowCommands) -> Wanted {
    wanted_by(file_of(&service), service, allowed)
}

pub(super) fn wanted_by_apply(service: Service, allowed: AllowCommands) -> Wanted {
    wanted_by(Owner::State, service, allowed)
}

fn wanted_by(owner: Owner, service: Service, allowed: AllowCommands) -> Wanted {
    let unsupported = unsupported(&service);
    Wanted { owner, manifest: service.service, plan: service.plan, unsupported, refused: None }.within(allowed)
}

fn wanted_by_state(named: &Named, record: &Record, allowed: AllowCommands) -> Wanted {
    let (plan, problems) = weirgate_deploy_core::plan(&record.manifest, "state folder", std::path::Path::new("/"));
    let problems: Vec<_> = problems.into_iter().filter(|problem| problem.severity != Severity::Warning).collect();
    if !problems.is_empty() {
        tracing::warn!(service = %named, problems = reasons(&problems), "what was applied can't be acted on");
    }
    let unsupported = (!problems.is_empty()).then(|| reasons(&problems));
    Wanted { owner: Owner::State, manifest: record.manifest.clone(), plan, unsupported, refused: None }.within(allowed)
}

pub(super) fn shown(owner: &Owner) -> String {
    match owner {
        Owner::File { path, document } => format!("document {document} of {path}"),
        Owner::State => "the state folder".to_owned(),
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a task of the platform failed");
    }
}
