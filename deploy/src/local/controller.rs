//! The one task that owns every service: it takes what changes, lets each service it concerns decide, and carries that out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, watch as channel};
use tokio::task::JoinSet;
use weirgate_deploy_core::rollout::Health;
use weirgate_deploy_core::{Problem, Service, Severity, revision};
use weirgate_router::RouteTable;

use super::files::Files;
use super::record::Record;
use super::running::{Key, News, Phase, Running, Told};
use super::service::{Managed, Wanted};
use super::watch::Text;
use super::{LocalConfig, memory, table, view};
use crate::control::{Command, Named, Owner, ServiceView, refusal};
use crate::plane::{DataPlane, LaneBound, LaneOf};
use crate::state::StateFolder;

type Views = channel::Sender<Arc<Vec<Arc<ServiceView>>>>;

pub(super) struct Controller<P: DataPlane> {
    pub(super) plane: Arc<P>,
    pub(super) state: StateFolder,
    pub(super) files: Files,
    config: LocalConfig,
    pub(super) services: BTreeMap<Named, Managed<P::Lane>>,
    /// Records of services that no file holds at the moment. They are kept: the file may only be missing from this start.
    pub(super) absent: BTreeMap<Named, Record>,
    /// Services to decide anew.
    pub(super) dirty: BTreeSet<Named>,
    views: Views,
    seen: BTreeMap<Named, Arc<ServiceView>>,
    /// The replica sets, and those who wait for a lane to drain.
    tasks: JoinSet<()>,
    news: (News, mpsc::UnboundedReceiver<(Key, Told)>),
    runs: u64,
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
        Ok(controller)
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
                let name = running.plan.name.clone();
                let expected = running.phase == Phase::Ending;
                service.running.remove(index);
                if expected {
                    service.event("Normal", "RevisionStopped", format!("revision {name} has ended"));
                } else {
                    service.record.rollout.observe(&name, Health::default());
                    service.event("Warning", "ReplicasLost", format!("the replicas of revision {name} have ended"));
                }
            }
        }
    }

    /// Lets every service decide that has news, publishes the routes once, and only then has those go that are not needed.
    pub fn settle(&mut self) {
        if self.dirty.is_empty() {
            return;
        }
        let dirty = std::mem::take(&mut self.dirty);
        for named in &dirty {
            self.decide(named);
        }
        self.plane.publish(RouteTable::new(self.services.values().filter_map(table::row).collect()));
        for named in &dirty {
            self.retire(named);
            self.show(named);
        }
        self.views.send_replace(Arc::new(self.seen.values().cloned().collect()));
    }

    fn decide(&mut self, named: &Named) {
        let Some(service) = self.services.get_mut(named) else { return };
        if service.deleted {
            service.decision = Default::default();
            return;
        }
        let before = service.decision.clone();
        service.decision = service.record.rollout.decide();
        if self.crowded(named) {
            self.services.entry(named.clone()).and_modify(|service| {
                service.decision = service.record.rollout.decide();
            });
        }
        self.start(named);
        let Some(service) = self.services.get_mut(named) else { return };
        note_traffic(service, &before);
        service.look(&self.config.data_url);
        // What was acknowledged lies there already; this is how far the rollout has come.
        // A file's service with nothing learned yet has nothing to keep.
        let unlearned = service.stored.is_none()
            && service.record.owner != Owner::State
            && service.record.rollout.stable().is_none();
        if !unlearned && service.stored.as_ref() != Some(&service.record) {
            match self.state.save(named, &service.record) {
                Ok(()) => service.stored = Some(service.record.clone()),
                Err(error) => service.event("Warning", "NotStored", error),
            }
        }
    }

    /// Whether a revision that would start beside another has no room to.
    fn crowded(&mut self, named: &Named) -> bool {
        let Some(service) = self.services.get_mut(named) else { return false };
        let Some(plan) = &service.plan else { return false };
        let wanted = &plan.predictor;
        let starts = service.decision.run.iter().any(|run| run.revision == wanted.name && run.after.is_none());
        if !starts || service.running.is_empty() || service.running(&wanted.name).is_some() {
            return false;
        }
        let Some(missing) = memory::missing(wanted) else { return false };
        let name = wanted.name.clone();
        service.record.rollout.crowded(&name);
        service.event("Warning", "NotEnoughMemory", format!("revision {name} can't start beside another: {missing}"));
        true
    }

    /// Starts what shall run, and scales it.
    fn start(&mut self, named: &Named) {
        let Controller { plane, services, tasks, news, runs, .. } = self;
        let Some(service) = services.get_mut(named) else { return };
        let decision = service.decision.clone();
        for run in &decision.run {
            let found = service.running.iter().position(|running| {
                running.plan.name == run.revision
                    && match running.phase {
                        Phase::Ending => false,
                        Phase::Draining => plane.reopen_lane(&running.lane),
                        Phase::Waiting | Phase::Running => true,
                    }
            });
            let index = match found {
                Some(index) => index,
                None => match plan_of(service, &run.revision) {
                    Ok(plan) => {
                        *runs += 1;
                        let key = Key { service: named.clone(), run: *runs };
                        let of = LaneOf { namespace: &named.namespace, service: &named.name, revision: &plan.name };
                        let (lane, feed) = plane.open_lane(&of);
                        service.running.push(Running::new(key, plan, lane, feed));
                        service.running.len() - 1
                    }
                    Err(failure) => {
                        service.record.rollout.observe(&run.revision, Health { ready: 0, failure: Some(failure) });
                        continue;
                    }
                },
            };
            let others = service.running.iter().any(|other| other.plan.name != run.revision && other.started());
            let running = &mut service.running[index];
            if running.phase == Phase::Draining {
                running.phase = Phase::Running;
                service.record.rollout.observe(&run.revision, running.health.clone());
            }
            if running.started() {
                running.scale(run.replicas);
            } else if run.after.is_none() || !others {
                running.start(run.replicas, tasks, &news.0);
                let name = running.plan.name.clone();
                service.event("Normal", "RevisionStarted", format!("revision {name} loads its model"));
            }
        }
        let limit = service.plan.as_ref().and_then(|plan| plan.settings.max_queued_requests);
        for share in &decision.shares {
            if let Some(running) = service.running(&share.revision) {
                plane.bound_lane(&running.lane, LaneBound { max_queued_requests: limit, percent: share.percent });
            }
        }
    }

    /// Has those go that the published routes don't know any more.
    fn retire(&mut self, named: &Named) {
        let Controller { plane, services, tasks, news, .. } = self;
        let Some(service) = services.get_mut(named) else { return };
        for running in &mut service.running {
            let needed = service.decision.run.iter().any(|run| run.revision == running.plan.name);
            if needed || matches!(running.phase, Phase::Draining | Phase::Ending) {
                continue;
            }
            running.phase = Phase::Draining;
            plane.retire_lane(&running.lane);
            let (drained, key, news) = (plane.lane_drained(&running.lane), running.key.clone(), news.0.clone());
            tasks.spawn(async move {
                drained.await;
                let _ = news.send((key, Told::Drained));
            });
        }
    }

    /// Makes what people see of a service; forgets one that is gone.
    fn show(&mut self, named: &Named) {
        let Some(service) = self.services.get_mut(named) else { return };
        if !service.deleted {
            self.seen.insert(named.clone(), Arc::new(view::view(service)));
            return;
        }
        self.seen.remove(named);
        if service.stored.take().is_some() {
            if let Err(error) = self.state.remove(named) {
                service.event("Warning", "NotStored", error);
            }
        }
        if service.running.is_empty() {
            self.services.remove(named);
        }
    }
}

/// The plan of a revision: the manifest's, or made again from what is remembered of it.
fn plan_of<L>(service: &Managed<L>, name: &str) -> Result<weirgate_deploy_core::RevisionPlan, String> {
    use weirgate_deploy_core::TrafficPlan;
    let plan = service.plan.as_ref().map(|plan| {
        let canaries = match &plan.traffic {
            TrafficPlan::Canaries(canaries) => canaries.as_slice(),
            TrafficPlan::Percent(_) => &[],
        };
        std::iter::once(&plan.predictor).chain(canaries.iter().map(|canary| &canary.revision))
    });
    if let Some(plan) = plan.into_iter().flatten().find(|plan| plan.name == name) {
        return Ok(plan.clone());
    }
    let known = service.record.rollout.known(name).ok_or_else(|| format!("revision {name} is not known"))?;
    let mut plan = revision(&service.named.name, &known.predictor).map_err(|problems| refusal(&problems))?;
    // Another version of this program may name the same predictor otherwise.
    plan.name = name.to_owned();
    Ok(plan)
}

fn note_health<L>(service: &mut Managed<L>, revision: &str, before: &Health, now: &Health) {
    if now.ready > 0 && before.ready == 0 {
        service.event("Normal", "RevisionReady", format!("revision {revision} is ready"));
    }
    if let Some(failure) = now.failure.as_ref().filter(|failure| before.failure.as_ref() != Some(failure)) {
        service.event("Warning", "ModelLoadFailed", format!("revision {revision}: {failure}"));
    }
}

fn note_traffic<L>(service: &mut Managed<L>, before: &weirgate_deploy_core::rollout::Decision) {
    let now = &service.decision;
    if now.holding || (now.shares == before.shares && now.holding == before.holding) {
        return;
    }
    let shares: Vec<_> = now.shares.iter().map(|share| format!("{} {} %", share.revision, share.percent)).collect();
    if !shares.is_empty() {
        service.event("Normal", "TrafficChanged", shares.join(", "));
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
