//! From a service to its row of the route table.

use std::sync::Arc;

use weirgate_router::{Refusal, Revision, Service};

use super::running::Running;
use super::service::Managed;

/// The row of a service; none where it has been deleted.
pub(super) fn row<L: Clone>(service: &Managed<L>) -> Option<Service<L>> {
    if service.deleted {
        return None;
    }
    let decision = &service.decision;
    let revision = |share: &weirgate_deploy_core::rollout::Share| {
        let running = service.running(&share.revision)?;
        Some(self::revision(service, running, share.percent))
    };
    let revisions: Vec<_> = decision.shares.iter().filter_map(revision).collect();
    let position =
        |name: Option<&String>| revisions.iter().position(|revision| Some(&*revision.name) == name.map(String::as_str));
    let refusal = revisions.is_empty().then(|| refusal(service));
    let settings = service.plan.as_ref().map(|plan| &plan.settings);
    // A server of somebody else's may know the model by another name, and is sent paths as they are.
    let base = decision.base.as_ref().and_then(|base| service.running(base));
    let model = base.and_then(|base| base.plan.executor.model_name()).unwrap_or(&service.named.name);
    Some(Service {
        namespace: service.named.namespace.as_str().into(),
        name: service.named.name.as_str().into(),
        model: model.into(),
        timeout: settings.map(|settings| settings.timeout).unwrap_or_default(),
        sticky: settings.and_then(|settings| settings.sticky.clone()),
        retry: settings.map(|settings| settings.retry).unwrap_or_default(),
        stream_idle_timeout: settings.and_then(|settings| settings.stream_idle_timeout),
        base: position(decision.base.as_ref()).unwrap_or(0),
        stable: decision.stable.as_deref().map(Arc::from),
        latest: position(decision.latest.as_ref()),
        turns: service.turns.clone(),
        revisions,
        refusal,
    })
}

fn revision<L: Clone>(service: &Managed<L>, running: &Running<L>, percent: u8) -> Revision<L> {
    // What people call it may change while it runs.
    let known = service.record.rollout.known(&running.plan.name);
    Revision {
        name: running.plan.name.as_str().into(),
        variant: known.and_then(|known| known.variant.as_deref()).map(Arc::from),
        percent,
        lane: running.lane.clone(),
    }
}

fn refusal<L>(service: &Managed<L>) -> Refusal {
    let named = &service.named;
    let (text, stopped) = match &service.unsupported {
        Some(text) => (format!("service '{named}' can't run: {text}"), false),
        None if service.plan.as_ref().is_some_and(|plan| plan.settings.stopped) => {
            (format!("service '{named}' is stopped by its annotation serving.kserve.io/stop"), true)
        }
        None if service.unloaded => {
            (format!("service '{named}' is unloaded: load its model again, by the repository API or a restart"), true)
        }
        None => (format!("service '{named}' has no revision that can run"), false),
    };
    Refusal { text: text.into(), stopped }
}
