//! Who executes a revision's calls: servers elsewhere, a command, or engines of ours.

use crate::annotations::{ISOLATION, UPSTREAM};
use crate::container;
use crate::draw::{model_plan, model_resources};
use crate::inference_service::PredictorSpec;
use crate::plan::{Executor, Isolation};
use crate::problem::{Report, quoted};
use crate::upstream::{Notes, upstream};

/// What executes, and what it needs of this machine.
pub(crate) struct Drawn {
    pub executor: Executor,
    /// As in [`RevisionPlan`](crate::RevisionPlan).
    pub cpu_limit: Option<std::num::NonZeroUsize>,
    /// As in [`RevisionPlan`](crate::RevisionPlan).
    pub memory: Option<u64>,
}

/// Judges all of it, and picks the one that executes; none where something of it is wrong.
pub(crate) fn draw(predictor: &PredictorSpec, notes: Notes<'_>, report: &mut Report) -> Option<Drawn> {
    let at = notes.at;
    let isolation = isolation(notes, report);
    let containers = predictor.pod.get("containers").and_then(serde_json::Value::as_array);
    let containers = containers.filter(|list| !list.is_empty());
    if let Some(listed) = notes.get(UPSTREAM) {
        let plan = upstream(notes, listed, report);
        for (name, found) in [("model", predictor.model.is_some()), ("containers", containers.is_some())] {
            if found {
                report.warn(&format!("{at}.{name}"), format!("is not run: {UPSTREAM} names who answers"));
            }
        }
        if isolation.is_some() {
            report.error(
                &notes.path(ISOLATION),
                format!("is not allowed with {UPSTREAM}: remove one of them, nothing of ours runs"),
            );
        }
        let executor = Executor::Upstream(Box::new(plan?));
        return Some(Drawn { executor, cpu_limit: None, memory: None });
    }
    notes.refuse_without_upstream(predictor.model.is_none() && containers.is_some(), report);
    if let Some(model) = &predictor.model {
        let at = format!("{at}.model");
        let plan = model_plan(model, predictor, &at, report);
        let (cpu_limit, memory) = model_resources(&model.resources, &at, report);
        if containers.is_some() {
            container::refuse_beside_model(notes.at, report);
        }
        let executor = Executor::Model { model: plan?, isolation: isolation.unwrap_or_default() };
        return Some(Drawn { executor, cpu_limit, memory });
    }
    let Some(containers) = containers else {
        let message = format!(
            "is missing, and nothing else says who answers: write its modelFormat and storageUri, or {at}.containers with a \
             command, or the annotation {UPSTREAM} with URLs of servers"
        );
        report.error(&format!("{at}.model"), message);
        return None;
    };
    if isolation.is_some() {
        let message =
            format!("is not allowed with {at}.containers: remove it, a container's replicas are processes anyway");
        report.error(&notes.path(ISOLATION), message);
    }
    let protocols = notes.protocols(report).ok()?;
    container::draw(containers, protocols, predictor, at, report)
}

fn isolation(notes: Notes<'_>, report: &mut Report) -> Option<Isolation> {
    match notes.get(ISOLATION)?.trim() {
        "thread" => Some(Isolation::Thread),
        "process" => Some(Isolation::Process),
        other => {
            report.error(&notes.path(ISOLATION), format!("is {}: allowed is thread or process", quoted(other)));
            None
        }
    }
}
