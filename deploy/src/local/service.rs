//! One service: its manifest, its revisions, what runs of them, and what has happened.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use weirgate_deploy_core::rollout::{Decision, Rollout};
use weirgate_deploy_core::status::{Observed, Status, status};
use weirgate_deploy_core::{InferenceService, Problem, Service, ServicePlan, Settings};
use weirgate_router::Turns;

use super::children::AllowCommands;
use super::events::Events;
use super::loading::Waiting;
use super::record::Record;
use super::running::{Phase, Running};
use crate::control::{Event, Named, Owner};

pub(super) struct Managed<L> {
    pub named: Named,
    pub record: Record,
    /// As it lies in the state folder; none: it does not.
    pub stored: Option<Record>,
    /// What the last manifest that could be acted on asks for.
    pub plan: Option<ServicePlan>,
    /// Why the present manifest can't be acted on.
    pub unsupported: Option<String>,
    pub decision: Decision,
    pub running: Vec<Running<L>>,
    pub turns: Turns,
    pub status: Status,
    pub events: Events,
    /// Its model is out of memory by request.
    pub unloaded: bool,
    /// How often its model was asked to be loaded.
    pub loads: u64,
    /// Those who wait for that.
    pub waiting: Vec<Waiting>,
    /// It is to go as soon as nothing of it runs.
    pub deleted: bool,
}

/// A manifest, and what to do about it. What its owner may not have run is left out where this is made.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub owner: Owner,
    pub manifest: InferenceService,
    pub plan: Option<ServicePlan>,
    pub unsupported: Option<String>,
    /// What of the latter is no matter of the manifest, but of who wrote it.
    pub refused: Option<String>,
}

impl Wanted {
    /// The same without commands that its owner may not have run.
    pub fn within(mut self, allowed: AllowCommands) -> Wanted {
        if let Some(refused) = self.plan.as_ref().and_then(|plan| allowed.refuses(&self.owner, plan)) {
            self.plan = None;
            self.unsupported = Some(refused.clone());
            self.refused = Some(refused);
        }
        self
    }
}

impl<L> Managed<L> {
    pub fn new(named: Named, wanted: Wanted, stored: Option<Record>) -> Self {
        let now = seconds();
        let record = match &stored {
            Some(stored) => Record { absent_since: None, ..stored.clone() },
            None => Record {
                owner: wanted.owner.clone(),
                manifest: wanted.manifest.clone(),
                runnable: None,
                generation: 1,
                created: now,
                absent_since: None,
                rollout: Rollout::default(),
            },
        };
        let mut service = Managed {
            named,
            record,
            stored,
            plan: None,
            unsupported: None,
            decision: Decision::default(),
            running: Vec::new(),
            turns: Turns::default(),
            status: Status::default(),
            events: Events::default(),
            unloaded: false,
            loads: 0,
            waiting: Vec::new(),
            deleted: false,
        };
        service.want(wanted);
        if service.plan.is_none() {
            service.go_on();
        }
        service
    }

    /// After a restart with a manifest that can't be acted on: what ran before goes on.
    fn go_on(&mut self) {
        let Some(stored) = &self.stored else { return };
        let good = stored.runnable.as_ref().unwrap_or(&stored.manifest).clone();
        if let (Some(plan), _) = weirgate_deploy_core::plan(&good, "state folder", Path::new("/")) {
            self.record.runnable = Some(good);
            self.act_on(plan);
        }
    }

    /// Acts on a manifest from now on.
    pub fn want(&mut self, wanted: Wanted) {
        let Wanted { owner, manifest, plan, unsupported, refused: _ } = wanted;
        if self.record.manifest != manifest {
            self.record.generation += 1;
        }
        let before = std::mem::replace(&mut self.record.manifest, manifest);
        self.record.owner = owner;
        (self.deleted, self.unloaded) = (false, false);
        if let Some(text) = unsupported.as_ref().filter(|text| self.unsupported.as_ref() != Some(text)) {
            self.event("Warning", "InvalidPredictorSpec", text.clone());
        }
        match plan {
            Some(plan) => {
                self.record.runnable = None;
                self.act_on(plan);
            }
            // What ran so far goes on.
            None if self.unsupported.is_none() && self.plan.is_some() => self.record.runnable = Some(before),
            None => {}
        }
        self.unsupported = unsupported;
    }

    /// Asks the revisions for what a plan says.
    pub fn act_on(&mut self, plan: ServicePlan) {
        let stopped = plan.settings.stopped || self.unloaded;
        let asked = ServicePlan { settings: Settings { stopped, ..plan.settings.clone() }, ..plan.clone() };
        self.record.rollout.ask(&asked, seconds());
        self.plan = Some(plan);
    }

    /// Whether a manifest asks for anything else than the present one.
    pub fn differs(&self, owner: &Owner, manifest: &InferenceService, unsupported: Option<&str>) -> bool {
        (&self.record.owner, &self.record.manifest, self.unsupported.as_deref()) != (owner, manifest, unsupported)
    }

    pub fn running(&self, revision: &str) -> Option<&Running<L>> {
        self.running.iter().find(|running| running.plan.name == revision && running.phase != Phase::Ending)
    }

    /// Notes something that people want to know of, and logs it.
    pub fn event(&mut self, kind: &str, reason: &str, message: String) {
        let service = &self.named;
        match kind {
            "Warning" => tracing::warn!(%service, reason, "{message}"),
            _ => tracing::info!(%service, reason, "{message}"),
        }
        self.events.add(Event::new(timestamp(SystemTime::now()), kind, reason, message));
    }

    /// Notes that a replica has failed, or takes long. Whoever looks after it has logged that, and says it again.
    pub fn trouble(&mut self, revision: &str, reason: &str, message: String) {
        self.events.add_about(revision, Event::new(timestamp(SystemTime::now()), "Warning", reason, message));
    }

    /// Works the status out anew.
    pub fn look(&mut self, data_url: &str) {
        let namespace_url = format!("{data_url}/{}", self.named.namespace);
        let annotations = &self.record.manifest.metadata.annotations;
        let mode = annotations.get("serving.kserve.io/deploymentMode").map_or("Standard", String::as_str);
        let now = timestamp(SystemTime::now());
        let revisions: Vec<_> =
            self.running.iter().rev().filter(|running| running.started()).map(Running::status).collect();
        let observed = Observed {
            rollout: &self.record.rollout,
            decision: &self.decision,
            unsupported: self.unsupported.as_deref(),
            unloaded: self.unloaded,
            generation: self.record.generation,
            namespace_url: &namespace_url,
            name: &self.named.name,
            deployment_mode: mode,
            revisions: &revisions,
            now: &now,
        };
        self.status = status(&observed, Some(&self.status));
    }
}

/// The file's document that a service was read from.
pub(super) fn file_of(service: &Service) -> Owner {
    Owner::File { path: service.origin.clone(), document: service.document }
}

/// Why a manifest can't be acted on.
pub(super) fn unsupported(service: &Service) -> Option<String> {
    (!service.unsupported.is_empty()).then(|| reasons(&service.unsupported))
}

/// What problems say, less where they were found.
pub(super) fn reasons(problems: &[Problem]) -> String {
    let said = |problem: &Problem| match problem.path.as_str() {
        "" => problem.message.clone(),
        path => format!("{path} {}", problem.message),
    };
    problems.iter().map(said).collect::<Vec<_>>().join("; ")
}

/// Seconds since 1970.
pub(super) fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// RFC 3339, in seconds.
pub(super) fn timestamp(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}
