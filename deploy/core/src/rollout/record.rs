//! What is remembered of a service's revisions, across restarts too.

use serde::{Deserialize, Serialize};

use super::health::{Fault, Health};
use crate::inference_service::PredictorSpec;
use crate::plan::{Replacement, RevisionPlan, ServicePlan, TrafficPlan};

/// The revisions of one service. What a restart must not lose is serialised; how replicas fare is observed anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// Every revision that runs or may be needed again, the newest last.
    pub(super) revisions: Vec<Known>,
    /// The revision that takes what no canary does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<String>,
    /// The last revision that took all calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stable: Option<String>,
    /// The one that was stable before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<String>,
    #[serde(skip)]
    pub(super) asked: Option<Asked>,
    /// Revisions that don't fit into memory beside the one they replace.
    #[serde(skip)]
    pub(super) crowded: Vec<String>,
}

/// A revision that is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Known {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
    /// Enough to make its plan again.
    pub predictor: PredictorSpec,
    /// Seconds since 1970.
    pub created: u64,
    /// All its replicas were ready at once, some time.
    pub proven: bool,
    /// Replicas that shall run once it has loaded.
    #[serde(skip)]
    pub replicas: usize,
    #[serde(skip)]
    pub health: Health,
    /// It has been ready since it was started. A restart goes on trusting it.
    #[serde(default)]
    pub(super) warm: bool,
    /// Why it failed, where only one could run and the one before it runs again.
    #[serde(skip)]
    pub(super) given_up: Option<Fault>,
}

/// What the manifest asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `spec.predictor`.
    pub predictor: String,
    pub traffic: AskedTraffic,
    pub replacement: Replacement,
    pub stopped: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AskedTraffic {
    /// The predictor's share; the rest goes to the stable revision.
    Percent(u8),
    /// Shares of canaries; the rest goes to the predictor.
    Canaries(Vec<(String, u8)>),
}

impl Known {
    /// Its replicas have failed, all of them.
    pub fn broken(&self) -> bool {
        self.health.ready == 0 && self.health.failure.is_some()
    }

    /// Why it can't take calls, as far as that is known.
    pub fn failure(&self) -> Option<&Fault> {
        self.given_up.as_ref().or(self.health.failure.as_ref())
    }

    /// What is wrong with its replicas, or what those wait for that start.
    pub fn trouble(&self) -> Option<&Fault> {
        self.failure().or(self.health.waits_for.as_ref())
    }

    /// It may be given calls.
    pub fn usable(&self) -> bool {
        self.proven && self.answers()
    }

    /// At least one replica was ready since it was started, and not all have failed.
    pub(super) fn answers(&self) -> bool {
        self.warm && !self.broken()
    }
}

impl Rollout {
    /// Acts on a manifest from now on. Revisions that are known are kept as they are.
    pub fn ask(&mut self, plan: &ServicePlan, now: u64) {
        let traffic = match &plan.traffic {
            TrafficPlan::Percent(percent) => AskedTraffic::Percent(percent.unwrap_or(100)),
            TrafficPlan::Canaries(canaries) => AskedTraffic::Canaries(
                canaries.iter().map(|canary| (canary.revision.name.clone(), canary.percent)).collect(),
            ),
        };
        let asked = Asked {
            predictor: plan.predictor.name.clone(),
            traffic,
            replacement: plan.settings.replacement,
            stopped: plan.settings.stopped,
        };
        self.know(&plan.predictor, now);
        match &plan.traffic {
            // One scale for the service: each of its revisions has it.
            TrafficPlan::Percent(_) => {
                for known in &mut self.revisions {
                    known.replicas = plan.predictor.replicas.get();
                }
            }
            TrafficPlan::Canaries(canaries) => {
                for canary in canaries {
                    self.know(&canary.revision, now);
                }
            }
        }
        if self.asked.as_ref() != Some(&asked) {
            for known in &mut self.revisions {
                known.given_up = None;
            }
            // A known revision that is asked for again is the newest again.
            if self.asked.as_ref().is_some_and(|before| before.predictor != asked.predictor) {
                self.revisions.sort_by_key(|known| known.name == asked.predictor);
            }
            self.asked = Some(asked);
        }
    }

    fn know(&mut self, plan: &RevisionPlan, now: u64) {
        let known = match self.revisions.iter_mut().position(|known| known.name == plan.name) {
            Some(index) => &mut self.revisions[index],
            None => {
                self.revisions.push(Known {
                    name: plan.name.clone(),
                    variant: None,
                    predictor: plan.predictor.clone(),
                    created: now,
                    proven: false,
                    replicas: 1,
                    health: Health::default(),
                    warm: false,
                    given_up: None,
                });
                let last = self.revisions.len() - 1;
                &mut self.revisions[last]
            }
        };
        known.variant.clone_from(&plan.variant);
        known.predictor.clone_from(&plan.predictor);
        known.replicas = plan.replicas.get();
    }

    /// Notes how the replicas of a revision that runs fare. What one is that goes is of no interest.
    pub fn observe(&mut self, revision: &str, health: Health) {
        let Some(known) = self.revisions.iter_mut().find(|known| known.name == revision) else { return };
        known.warm |= health.ready > 0;
        known.proven |= health.ready >= known.replicas.max(1);
        known.health = health;
    }

    /// Notes that a revision doesn't fit into memory beside the one it replaces.
    pub fn crowded(&mut self, revision: &str) {
        if !self.crowded.iter().any(|name| name == revision) {
            self.crowded.push(revision.to_owned());
        }
    }

    pub fn known(&self, revision: &str) -> Option<&Known> {
        self.revisions.iter().find(|known| known.name == revision)
    }

    /// Every known revision, the newest last.
    pub fn revisions(&self) -> &[Known] {
        &self.revisions
    }

    pub fn stable(&self) -> Option<&Known> {
        self.stable.as_deref().and_then(|name| self.known(name))
    }

    pub fn previous(&self) -> Option<&Known> {
        self.previous.as_deref().and_then(|name| self.known(name))
    }

    pub fn asked(&self) -> Option<&Asked> {
        self.asked.as_ref()
    }
}
