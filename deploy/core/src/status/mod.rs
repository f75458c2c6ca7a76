//! `status` of an InferenceService, as KServe writes it.

mod condition;
mod model;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::condition::Condition;
pub use self::model::{Copies, FailureInfo, ModelState, ModelStates, ModelStatus, TransitionStatus};
use crate::rollout::{AskedTraffic, Decision, Known, Rollout};

/// What the status is made from.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    pub rollout: &'a Rollout,
    pub decision: &'a Decision,
    /// Why the manifest can't be acted on.
    pub unsupported: Option<&'a str>,
    /// Its model was taken out of memory by request.
    pub unloaded: bool,
    pub generation: u64,
    /// Where calls of the namespace's services are answered; a service's own address is `{here}/{name}`.
    pub namespace_url: &'a str,
    pub name: &'a str,
    pub deployment_mode: &'a str,
    /// What its revisions that run are at, the newest first.
    pub revisions: &'a [RevisionStatus],
    /// RFC 3339.
    pub now: &'a str,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    pub observed_generation: u64,
    pub deployment_mode: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Address>,
    pub conditions: Vec<Condition>,
    pub components: BTreeMap<String, ComponentStatus>,
    pub model_status: ModelStatus,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canary_statuses: Vec<CanaryStatus>,
    /// Not KServe's, where pods would be counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<RevisionStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    pub url: String,
}

/// `status.components.predictor`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentStatus {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_ready_revision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_created_revision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_rolledout_revision: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latest_rolledout_revision: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub traffic: Vec<TrafficTarget>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficTarget {
    pub revision_name: String,
    pub latest_revision: bool,
    pub percent: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// One entry of `spec.canary`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryStatus {
    pub name: String,
    pub ready: bool,
    pub traffic_percent: u8,
    pub model_status: ModelStatus,
}

/// The replicas of a revision that runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    pub name: String,
    pub ready: usize,
    pub starting: usize,
    /// They have failed, and are started anew later.
    pub waiting: usize,
    pub draining: usize,
    /// How often one was started because another had failed.
    pub restarts: u64,
}

/// The status now. Conditions that have not changed since `before` keep their time.
pub fn status(observed: &Observed<'_>, before: Option<&Status>) -> Status {
    let Observed { rollout, decision, namespace_url, name, .. } = observed;
    let url = format!("{namespace_url}/{name}");
    let base = decision.base.as_deref().and_then(|base| rollout.known(base));
    let answers = base.is_some_and(|base| base.health.ready > 0);
    let newest = rollout.asked().and_then(|asked| rollout.known(&asked.predictor));
    let known_before = before.map(|before| before.conditions.as_slice()).unwrap_or_default();
    let failure_before = before.and_then(|before| before.model_status.last_failure_info.as_ref());
    Status {
        observed_generation: observed.generation,
        deployment_mode: observed.deployment_mode.to_owned(),
        url: answers.then(|| url.clone()),
        address: answers.then(|| Address { url: url.clone() }),
        conditions: condition::conditions(observed, base, newest, known_before),
        components: BTreeMap::from([("predictor".to_owned(), component(observed, answers.then_some(url)))]),
        model_status: model::model_status(observed, base, newest, failure_before),
        canary_statuses: canaries(observed),
        revisions: observed.revisions.to_vec(),
    }
}

/// It takes calls, and answers now.
fn is_ready(known: &Known) -> bool {
    known.usable() && known.health.ready > 0
}

fn component(observed: &Observed<'_>, url: Option<String>) -> ComponentStatus {
    let Observed { rollout, decision, .. } = observed;
    let runs = |known: &Known| decision.run.iter().any(|run| run.revision == known.name);
    let ready = |known: &&Known| is_ready(known) && runs(known);
    let name = |known: &Known| known.name.clone();
    ComponentStatus {
        latest_ready_revision: rollout.revisions().iter().rev().find(ready).map(name),
        latest_created_revision: decision.latest.clone(),
        previous_rolledout_revision: rollout.previous().map(name),
        latest_rolledout_revision: decision.stable.clone(),
        traffic: if decision.holding { Vec::new() } else { traffic(observed) },
        url,
    }
}

/// The newest revision first, as KServe lists them.
fn traffic(observed: &Observed<'_>) -> Vec<TrafficTarget> {
    let Observed { rollout, decision, namespace_url, name, .. } = observed;
    let split = decision.shares.len() > 1;
    let target = |share: &crate::rollout::Share| {
        let latest = decision.latest.as_ref() == Some(&share.revision);
        let stable = decision.stable.as_ref() == Some(&share.revision);
        let (tag, host) = match (latest, stable) {
            _ if !split => (None, None),
            (true, _) => (Some("latest".to_owned()), Some(format!("latest-{name}"))),
            (false, true) => (Some("prev".to_owned()), Some(format!("prev-{name}"))),
            (false, false) => {
                (rollout.known(&share.revision).and_then(|known| known.variant.clone()), Some(share.revision.clone()))
            }
        };
        TrafficTarget {
            revision_name: share.revision.clone(),
            latest_revision: latest,
            percent: share.percent,
            tag,
            url: host.map(|host| format!("{namespace_url}/{host}")),
        }
    };
    let mut targets: Vec<_> = decision.shares.iter().map(target).collect();
    targets.sort_by_key(|target| !target.latest_revision);
    targets
}

fn canaries(observed: &Observed<'_>) -> Vec<CanaryStatus> {
    let Observed { rollout, decision, .. } = observed;
    let Some(AskedTraffic::Canaries(canaries)) = rollout.asked().map(|asked| &asked.traffic) else { return Vec::new() };
    let status = |(name, _): &(String, u8)| {
        let known = rollout.known(name)?;
        let percent = decision.shares.iter().find(|share| share.revision == *name).map_or(0, |share| share.percent);
        Some(CanaryStatus {
            name: known.variant.clone().unwrap_or_else(|| name.clone()),
            ready: is_ready(known),
            traffic_percent: percent,
            model_status: model::of_revision(known, observed.now),
        })
    };
    canaries.iter().filter_map(status).collect()
}
