//! Revisions and traffic: single stories, and what holds in every story.

mod properties;
mod states;
mod stories;

use std::num::NonZeroUsize;
use std::time::Duration;

use weirgate_deploy_core::rollout::{Decision, Fault, FaultKind, Health, Rollout};
use weirgate_deploy_core::{
    BatcherPlan, CanaryPlan, Executor, Isolation, Location, ModelArguments, ModelFormat, ModelPlan, PredictorSpec,
    Replacement, Retry, RevisionPlan, ServicePlan, Settings, TrafficPlan,
};

/// A plan whose predictor is the revision of this name.
fn plan(revision: &str, traffic: TrafficPlan) -> ServicePlan {
    ServicePlan {
        namespace: "default".to_owned(),
        name: "digits".to_owned(),
        settings: Settings {
            timeout: Duration::from_secs(300),
            max_queued_requests: None,
            sticky: None,
            retry: Retry::default(),
            stream_idle_timeout: None,
            replacement: Replacement::StartFirst,
            stopped: false,
        },
        predictor: self::revision(revision),
        traffic,
    }
}

fn revision(name: &str) -> RevisionPlan {
    RevisionPlan {
        name: name.to_owned(),
        variant: None,
        replicas: NonZeroUsize::MIN,
        executor: Executor::Model {
            model: ModelPlan {
                format: ModelFormat::Onnx,
                location: Location::Path(name.into()),
                arguments: ModelArguments::default(),
            },
            isolation: Isolation::Thread,
        },
        batcher: BatcherPlan::default(),
        container_concurrency: None,
        cpu_limit: None,
        memory: None,
        predictor: PredictorSpec::default(),
    }
}

fn canary(name: &str, percent: u8) -> CanaryPlan {
    CanaryPlan { percent, revision: revision(name) }
}

fn ready(replicas: usize) -> Health {
    Health::ready(replicas)
}

fn fault(message: &str) -> Fault {
    Fault { kind: FaultKind::ModelLoadFailed, message: message.to_owned() }
}

fn failed() -> Health {
    Health::failed(0, fault("no such file"))
}

/// A service, told of its replicas by name.
#[derive(Default)]
struct Service(Rollout);

impl Service {
    fn asks(&mut self, plan: &ServicePlan) -> Decision {
        self.0.ask(plan, 0);
        self.0.decide()
    }

    /// `spec.predictor` is this revision, with `canaryTrafficPercent`.
    fn percent(&mut self, revision: &str, percent: Option<u8>) -> Decision {
        self.asks(&plan(revision, TrafficPlan::Percent(percent)))
    }

    fn canaries(&mut self, revision: &str, canaries: &[(&str, u8)]) -> Decision {
        let canaries = canaries.iter().map(|(name, percent)| canary(name, *percent)).collect();
        self.asks(&plan(revision, TrafficPlan::Canaries(canaries)))
    }

    fn sees(&mut self, revision: &str, health: Health) -> Decision {
        self.0.observe(revision, health);
        self.0.decide()
    }

    fn stable(&self) -> &str {
        self.0.stable().map_or("", |known| &known.name)
    }

    fn previous(&self) -> &str {
        self.0.previous().map_or("", |known| &known.name)
    }

    /// A rolled-out first revision.
    fn rolled_out(revision: &str) -> Service {
        let mut service = Service::default();
        service.percent(revision, None);
        service.sees(revision, ready(1));
        assert_eq!(service.stable(), revision);
        service
    }
}

/// `a:80 b:20`
fn shares(decision: &Decision) -> String {
    let shares = decision.shares.iter().map(|share| format!("{}:{}", share.revision, share.percent));
    shares.collect::<Vec<_>>().join(" ")
}

/// `a b`, with the revision that each waits for.
fn runs(decision: &Decision) -> String {
    let run = decision.run.iter().map(|run| match &run.after {
        Some(after) => format!("{}>{}", after, run.revision),
        None => run.revision.clone(),
    });
    run.collect::<Vec<_>>().join(" ")
}
