//! The one task that owns every service: it takes what changes, lets each service it concerns decide, and carries that out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use weirgate_deploy_core::rollout::Health;
use weirgate_deploy_core::{Problem, Service, Severity};

use super::LocalConfig;
use super::files::Files;
use super::record::Record;
use super::running::{Key, News, Phase, Told};
use super::service::{Managed, Wanted};
use super::watch::Text;
use crate::control::{Command, Named, Owner, ServiceView};
use crate::plane::DataPlane;
use crate::state::StateFolder;

/// Services that were in files once and are not now: how they were split is remembered for so many.
const MOST_ABSENT: usize = 1_000;

type Views = channel::Sender<Arc<Vec<Arc<ServiceView>>>>;

pub(super) struct Controller<P: DataPlane> {
    pub(super) plane: Arc<P>,
    pub(super) state: StateFolder,
    pub(super) files: Files,
    pub(super) config: LocalConfig,
    pub(super) services: BTreeMap<Named, Managed<P::Lane>>,
    /// Records of services that no file holds at the moment. They are kept: the file may only be missing from this start.
    pub(super) absent: BTreeMap<Named, Record>,
    /// Services to decide anew.
    pub(super) dirty: BTreeSet<Named>,
    pub(super) views: Views,
    pub(super) seen: BTreeMap<Named, Arc<ServiceView>>,
    /// The replica sets, and those who wait for a lane to drain.
    pub(super) tasks: JoinSet<()>,
    pub(super) news: (News, mpsc::UnboundedReceiver<(Key, Told)>),
    pub(super) runs: u64,
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
        let (records, _) = state.load::<Record>();
        let mut controller = Controller {
            plane,
            state,
            files,
            config,
            services: BTreeMap::new(),
            absent: records.into_iter().collect(),
            dirty: BTreeSet::new(),
            views,
            seen: BTreeMap::new(),
            tasks: JoinSet::new(),
            news: mpsc::unbounded_channel(),
            runs: 0,
        };
        let claims: Vec<_> = controller.files.services().map(|(named, service)| (named, service.clone())).collect();
        for (named, service) in claims {
            if controller.absent.get(&named).is_some_and(|record| record.owner == Owner::State) {
                return Err(format!(
                    "{}: inferenceservice {named} was applied to the state folder {}: delete it there (weirgate delete), or \
                     take it out of the file",
                    service.origin,
                    controller.state.path().display()
                ));
            }
            controller.want(named, wanted_by_file(service));
        }
        let applied: Vec<_> = controller.absent.extract_if(.., |_, record| record.owner == Owner::State).collect();
        for (named, record) in applied {
            let wanted = wanted_by_state(&named, &record);
            controller.insert(named, wanted, Some(record));
        }
        controller.forget_absent();
        Ok(controller)
    }

    /// Keeps a bounded number of records that nobody asks for, the newest.
    fn forget_absent(&mut self) {
        while self.absent.len() > MOST_ABSENT {
            let oldest = self.absent.iter().min_by_key(|(_, record)| record.created).map(|(named, _)| named.clone());
            let Some(oldest) = oldest else { return };
            self.absent.remove(&oldest);
            if let Err(error) = self.state.remove(&oldest) {
                tracing::warn!(service = %oldest, error, "an old record stays");
            }
        }
    }

    pub async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut changes: mpsc::Receiver<Vec<Text>>,
        mut stop: channel::Receiver<bool>,
    ) {
        loop {
            tokio::select! {
                () = super::stopped(&mut stop) => break,
                Some(command) = commands.recv() => tokio::task::block_in_place(|| self.command(command)),
                Some(texts) = changes.recv() => texts.into_iter().for_each(|text| self.changed(text)),
                Some((key, told)) = self.news.1.recv() => self.told(&key, told),
                Some(ended) = self.tasks.join_next() => log_panic(ended),
            }
            // A burst is one publication.
            while let Ok((key, told)) = self.news.1.try_recv() {
                self.told(&key, told);
            }
            tokio::task::block_in_place(|| self.settle());
        }
        self.stop().await;
    }

    async fn stop(mut self) {
        for service in self.services.values() {
            service.running.iter().for_each(|running| running.scale(0));
        }
        // Lanes that drain have nobody left to wait for.
        let started = |service: &Managed<P::Lane>| service.running.iter().filter(|running| running.started()).count();
        let mut left: usize = self.services.values().map(started).sum();
        while left > 0 {
            match self.news.1.recv().await {
                Some((_, Told::Ended)) => left -= 1,
                Some(_) => {}
                None => break,
            }
        }
    }

    /// A watched file has changed.
    pub(super) fn changed(&mut self, text: Text) {
        let before: BTreeSet<Named> = self.files.services().map(|(named, _)| named).collect();
        for problem in self.files.update(text) {
            self.report(&problem);
        }
        let now: Vec<_> = self.files.services().map(|(named, service)| (named, service.clone())).collect();
        for gone in before.iter().filter(|named| !now.iter().any(|(held, _)| held == *named)) {
            self.remove(gone);
        }
        for (named, service) in now {
            let wanted = wanted_by_file(service);
            match self.services.get(&named) {
                Some(managed) if managed.record.owner == Owner::State && !managed.deleted => {
                    if !before.contains(&named) {
                        let text =
                            format!("{} is not acted on: the state folder holds this service", shown(&wanted.owner));
                        self.event(&named, "Warning", "ClaimedTwice", text);
                    }
                }
                Some(managed) if !managed.deleted && !managed.differs(&wanted) => {}
                _ => self.want(named, wanted),
            }
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
        let named = self.services.keys().find(|named| problem.subject == format!("inferenceservice {named}")).cloned();
        if let (Some(named), true) = (named, wrong) {
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
                // It was on its way out: what still runs of it is taken over.
                let running = std::mem::take(&mut service.running);
                self.insert(named.clone(), wanted, None);
                if let Some(service) = self.services.get_mut(&named) {
                    service.running = running;
                }
            }
            None => {
                let record = self.absent.remove(&named);
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
            Told::State(health) => {
                let before = std::mem::replace(&mut running.health, health.clone());
                if running.phase == Phase::Running {
                    let name = running.plan.name.clone();
                    service.record.rollout.observe(&name, health.clone());
                    note_health(service, &name, &before, &health);
                }
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
                let expected = running.phase == Phase::Ending;
                let running = service.running.remove(index);
                let name = running.plan.name;
                if expected {
                    service.event("Normal", "RevisionStopped", format!("revision {name} has ended"));
                } else {
                    // What waits in its lane is routed anew.
                    self.plane.retire_lane(&running.lane);
                    service.record.rollout.observe(&name, Health::default());
                    service.event("Warning", "ReplicasLost", format!("the replicas of revision {name} have ended"));
                }
            }
        }
    }
}

fn note_health<L>(service: &mut Managed<L>, revision: &str, before: &Health, now: &Health) {
    if now.ready > 0 && before.ready == 0 {
        service.event("Normal", "RevisionReady", format!("revision {revision} is ready"));
    }
    if let Some(failure) = now.failure.as_ref().filter(|failure| before.failure.as_ref() != Some(failure)) {
        service.event("Warning", "ModelLoadFailed", format!("revision {revision}: {failure}"));
    }
}

pub(super) fn wanted_by_file(service: Service) -> Wanted {
    let unsupported = (!service.unsupported.is_empty()).then(|| reasons(&service.unsupported));
    Wanted {
        owner: Owner::File { path: service.origin, document: service.document },
        manifest: service.service,
        plan: service.plan,
        unsupported,
    }
}

fn wanted_by_state(named: &Named, record: &Record) -> Wanted {
    let (plan, problems) = weirgate_deploy_core::plan(&record.manifest, "state folder", std::path::Path::new("/"));
    let problems: Vec<_> = problems.into_iter().filter(|problem| problem.severity != Severity::Warning).collect();
    if !problems.is_empty() {
        tracing::warn!(service = %named, problems = reasons(&problems), "what was applied can't be acted on");
    }
    let unsupported = (!problems.is_empty()).then(|| reasons(&problems));
    Wanted { owner: Owner::State, manifest: record.manifest.clone(), plan, unsupported }
}

pub(super) fn wanted_by_apply(service: Service) -> Wanted {
    Wanted { owner: Owner::State, ..wanted_by_file(service) }
}

/// What problems say, less where they were found.
pub(super) fn reasons(problems: &[Problem]) -> String {
    let said = |problem: &Problem| match problem.path.as_str() {
        "" => problem.message.clone(),
        path => format!("{path} {}", problem.message),
    };
    problems.iter().map(said).collect::<Vec<_>>().join("; ")
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
