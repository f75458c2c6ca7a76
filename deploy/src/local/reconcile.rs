//! From what services decide to what runs: start, publish, and only then let go.

use std::sync::Arc;

use weirgate_deploy_core::rollout::{Decision, Fault, FaultKind, Health};
use weirgate_deploy_core::{Executor, RevisionPlan, TrafficPlan, revision};
use weirgate_router::RouteTable;

use super::children::AllowCommands;
use super::controller::{Controller, tell_drained};
use super::record::Record;
use super::running::{Key, Phase, Running};
use super::service::Managed;
use super::{memory, table, view};
use crate::control::{Named, Owner, refusal};
use crate::plane::{DataPlane, LaneBound, LaneOf};

/// Revisions of one service that may be on their way out while another one starts. One whose model is being read in goes when
/// that is done, so without a bound quick changes of a slow model would fill the memory.
const MOST_LEAVING: usize = 4;

/// A decision may make another one possible, as a canary beside what has just been rolled out.
const MOST_ROUNDS: usize = 4;

impl<P: DataPlane> Controller<P> {
    /// Lets every service decide that has news, publishes the routes once, and only then has those go that are not needed.
    pub fn settle(&mut self) {
        for _ in 0..MOST_ROUNDS {
            if self.dirty.is_empty() {
                return;
            }
            let dirty = std::mem::take(&mut self.dirty);
            for named in &dirty {
                self.decide(named);
            }
            self.plane.publish(RouteTable::new(self.services.values().filter_map(table::row).collect()));
            // No call waits for this; whoever looks sees what a restart would know.
            for named in &dirty {
                self.bound(named, &Decision::default());
                self.retire(named);
                self.store(named);
                if let Some(service) = self.services.get_mut(named) {
                    service.answer_loads();
                }
                self.show(named);
            }
            self.views.send_replace(Arc::new(self.seen.values().cloned().collect()));
        }
    }

    pub(super) fn store(&mut self, named: &Named) {
        let Some(service) = self.services.get_mut(named).filter(|service| !service.deleted) else { return };
        // A file's service with nothing learned yet has nothing to keep.
        let unlearned = service.stored.is_none()
            && service.record.owner != Owner::State
            && service.record.rollout.stable().is_none();
        if unlearned || service.stored.as_ref() == Some(&service.record) {
            return;
        }
        if self.frozen {
            // The next owner of the folder finds it as it was; where there is none, it is stored later.
            self.unstored.insert(named.clone());
            return;
        }
        match self.state.save(named, &service.record) {
            Ok(()) => {
                service.stored = Some(service.record.clone());
                self.unstored.remove(named);
            }
            // Said once, and tried again until it succeeds.
            Err(error) => {
                if self.unstored.insert(named.clone()) {
                    service.event("Warning", "NotStored", error);
                    self.dirty.insert(named.clone());
                }
            }
        }
    }

    fn decide(&mut self, named: &Named) {
        let Some(service) = self.services.get_mut(named) else { return };
        if service.deleted {
            service.decision = Decision::default();
            return;
        }
        let before = service.decision.clone();
        let stable = service.record.rollout.stable().map(|known| known.name.clone());
        service.decision = service.record.rollout.decide();
        if service.decision.stable != stable {
            self.dirty.insert(named.clone());
        }
        if self.crowded(named) {
            self.services.entry(named.clone()).and_modify(|service| {
                service.decision = service.record.rollout.decide();
            });
        }
        self.start(named);
        self.bound(named, &before);
        let Some(service) = self.services.get_mut(named) else { return };
        note_traffic(service, &before);
        service.look(&self.config.data_url);
    }

    /// Whether a revision that would start beside the one it replaces has no room to. A canary needs both.
    fn crowded(&mut self, named: &Named) -> bool {
        let Some(service) = self.services.get_mut(named) else { return false };
        let Some(plan) = &service.plan else { return false };
        if !matches!(plan.traffic, TrafficPlan::Percent(None | Some(100))) {
            return false;
        }
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
        let Controller { plane, config, services, tasks, news, runs, .. } = self;
        let Some(service) = services.get_mut(named) else { return };
        let decision = service.decision.clone();
        let wanted = |running: &Running<P::Lane>| decision.run.iter().any(|run| run.revision == running.plan.name);
        let leaving = service.running.iter().filter(|running| running.started() && !wanted(running)).count();
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
                None => match plan_of(service, &run.revision, config.processes.allowed) {
                    Ok(plan) => {
                        *runs += 1;
                        let key = Key { service: named.clone(), run: *runs };
                        let of = LaneOf {
                            namespace: &named.namespace,
                            service: &named.name,
                            revision: &plan.name,
                            passes: plan.executor.passes(),
                            remote: plan.executor.is_remote(),
                        };
                        let (lane, feed) = plane.open_lane(&of);
                        let running = Running::new(key, plan, lane, feed);
                        running.load(service.loads);
                        service.running.push(running);
                        service.running.len() - 1
                    }
                    Err(message) => {
                        let failure = Fault { kind: FaultKind::ReplicaNotStarted, message };
                        service.record.rollout.observe(&run.revision, Health::failed(0, failure));
                        continue;
                    }
                },
            };
            let others = service.running.iter().any(|other| other.plan.name != run.revision && other.started());
            let running = &mut service.running[index];
            if running.phase == Phase::Draining {
                running.phase = if running.started() { Phase::Running } else { Phase::Waiting };
                service.record.rollout.observe(&run.revision, running.health.clone());
            }
            // Servers elsewhere run already, and the first of them may be the one that is down.
            let replicas = match &running.plan.executor {
                Executor::Upstream(_) => running.plan.replicas.get(),
                Executor::Model { .. } | Executor::Command(_) => run.replicas,
            };
            if running.started() {
                running.scale(replicas);
            } else if (run.after.is_none() || !others) && leaving < MOST_LEAVING {
                running.start(replicas, config, tasks, &news.0);
                let name = running.plan.name.clone();
                service.event("Normal", "RevisionStarted", format!("replicas of revision {name} start"));
            }
        }
    }

    /// Gives lanes their parts of the queue. As long as calls come by the routes of `before`, a part that was larger then
    /// stays.
    fn bound(&mut self, named: &Named, before: &Decision) {
        let Some(service) = self.services.get(named) else { return };
        let limit = service.plan.as_ref().and_then(|plan| plan.settings.max_queued_requests);
        for share in &service.decision.shares {
            let Some(running) = service.running(&share.revision) else { continue };
            let then = before.shares.iter().find(|then| then.revision == share.revision).map_or(0, |then| then.percent);
            let percent = share.percent.max(then);
            self.plane.bound_lane(&running.lane, LaneBound { max_queued_requests: limit, percent });
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
            tasks.spawn(tell_drained(plane.lane_drained(&running.lane), running.key.clone(), news.0.clone()));
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
        self.unstored.remove(named);
        if let Some(stored) = service.stored.take() {
            let forgotten = match service.record.owner {
                Owner::State => self.state.remove(named),
                Owner::File { .. } => self.absent.keep(&self.state, named, Record { absent_since: None, ..stored }),
            };
            if let Err(error) = forgotten {
                tracing::warn!(service = %named, error, "its record stays as it was");
            }
        }
        let Some(service) = self.services.get(named) else { return };
        if service.running.is_empty() {
            self.services.remove(named);
        }
    }
}

/// The plan of a revision: the manifest's, or made again from what is remembered of it.
fn plan_of<L>(service: &Managed<L>, name: &str, allowed: AllowCommands) -> Result<RevisionPlan, String> {
    let asked = service.plan.as_ref().and_then(|plan| plan.revisions().find(|plan| plan.name == name));
    let plan = match asked {
        Some(plan) => plan.clone(),
        None => {
            let known = service.record.rollout.known(name).ok_or_else(|| format!("revision {name} is not known"))?;
            let mut plan = revision(&service.named.name, &known.predictor).map_err(|problems| refusal(&problems))?;
            // Another version of this program may name the same predictor otherwise.
            plan.name = name.to_owned();
            plan
        }
    };
    match (&plan.executor, allowed.refusal(&service.record.owner)) {
        (Executor::Command(_), Some(why)) => Err(format!("its command {why}")),
        _ => Ok(plan),
    }
}

fn note_traffic<L>(service: &mut Managed<L>, before: &Decision) {
    let now = &service.decision;
    if now.holding || (now.shares == before.shares && now.holding == before.holding) {
        return;
    }
    let shares: Vec<_> = now.shares.iter().map(|share| format!("{} {} %", share.revision, share.percent)).collect();
    if !shares.is_empty() {
        service.event("Normal", "TrafficChanged", shares.join(", "));
    }
}
