//! From a revision's plan to its set of replicas.

use std::sync::Arc;
use std::time::Duration;

use weirgate_deploy_core::{
    CommandPlan, Executor, Isolation, Location, ModelPlan, PortProtocol, ProbeCheck, ProbePlan, RevisionPlan,
    UpstreamPlan, UpstreamProtocol, UpstreamTls,
};
use weirgate_protocol::Protocol;
use weirgate_replicas::child::{Check, ChildrenConfig, Command, Ours, Probe, Runs, Speaks};
use weirgate_replicas::remote::{Address, TlsFiles, TransportConfig, WatchConfig};
use weirgate_replicas::{Feed, RemoteLimits, ReplicaSet, Source, Upstream, UpstreamsConfig};

use super::LocalConfig;
use super::children::manifest;
use crate::control::Named;
use crate::engines::engine_set;

/// A process of ours has this long to finish what it holds.
const OURS_GRACE: Duration = Duration::from_secs(30);
/// For a connection to a server elsewhere, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a replica may take to end when it is asked to, beyond the calls that it holds.
pub(super) fn grace(plan: &RevisionPlan) -> Duration {
    match &plan.executor {
        Executor::Model { isolation: Isolation::Process, .. } => OURS_GRACE,
        Executor::Command(command) => command.grace,
        Executor::Model { .. } | Executor::Upstream(_) => Duration::ZERO,
    }
}

/// The replicas that a plan asks for; they run when the set does.
pub(super) fn replica_set(
    service: &Named,
    plan: &RevisionPlan,
    platform: &LocalConfig,
    feed: Arc<dyn Feed>,
) -> ReplicaSet {
    match &plan.executor {
        Executor::Model { model, isolation: Isolation::Thread } => {
            engine_set(service, plan, model, source(model, platform), feed)
        }
        Executor::Model { model, isolation: Isolation::Process } => {
            let (named, predictor) = (service.clone(), plan.predictor.clone());
            let ours = Ours {
                command: platform.processes.replica.clone(),
                source: Arc::new(source(model, platform)),
                manifest: Arc::new(move |path| manifest(&named, &predictor, path)),
                folder: platform.processes.folder.clone(),
                numbers: platform.processes.numbers.clone(),
            };
            ReplicaSet::children(children(service, plan, platform, Runs::Ours(ours), None, OURS_GRACE), feed)
        }
        Executor::Command(command) => {
            let (runs, grace) = (Runs::Command(Box::new(self::command(command, platform))), command.grace);
            let protocols = command.protocols.as_deref();
            ReplicaSet::children(children(service, plan, platform, runs, protocols, grace), feed)
        }
        Executor::Upstream(upstream) => {
            ReplicaSet::upstreams(service.to_string(), upstreams(service, plan, upstream), feed)
        }
    }
}

/// Who has it keeps the copy of a model that is elsewhere: the set, for as long as it runs.
fn source(model: &ModelPlan, platform: &LocalConfig) -> Source {
    match &model.location {
        Location::Path(path) => Source::Local { location: path.clone(), roots: platform.model_roots.clone() },
        Location::Url(url) => Source::Remote(platform.store.hold(url.clone())),
    }
}

fn children(
    service: &Named,
    plan: &RevisionPlan,
    platform: &LocalConfig,
    runs: Runs,
    spoken: Option<&[UpstreamProtocol]>,
    grace: Duration,
) -> ChildrenConfig {
    ChildrenConfig {
        service: service.to_string().into(),
        revision: plan.name.as_str().into(),
        guard: platform.processes.guard.clone(),
        runs,
        watch: watch(service, plan, spoken),
        limits: limits(plan),
        grace,
    }
}

fn command(plan: &CommandPlan, platform: &LocalConfig) -> Command {
    Command {
        command: plan.command.clone(),
        env: plan.env.clone(),
        working_dir: plan.working_dir.clone(),
        port: plan.port,
        speaks: match plan.speaks {
            PortProtocol::Http1 => Speaks::Http1,
            PortProtocol::H2c => Speaks::H2c,
            PortProtocol::Grpc => Speaks::Grpc,
        },
        ports: platform.processes.ports.clone(),
        startup: plan.startup.as_ref().map(probe),
        readiness: plan.readiness.as_ref().map(probe),
        liveness: plan.liveness.as_ref().map(probe),
    }
}

fn probe(plan: &ProbePlan) -> Probe {
    let ProbePlan { check, initial_delay, period, timeout, success_threshold, failure_threshold } = plan.clone();
    let check = match check {
        ProbeCheck::Http { path, port, headers } => Check::Http { path, port, headers },
        ProbeCheck::Tcp { port } => Check::Tcp { port },
        ProbeCheck::Grpc { port, service } => Check::Grpc { port, service },
        ProbeCheck::Exec { command } => Check::Exec { command },
    };
    Probe { check, initial_delay, period, timeout, success_threshold, failure_threshold }
}

fn watch(service: &Named, plan: &RevisionPlan, spoken: Option<&[UpstreamProtocol]>) -> WatchConfig {
    let model = plan.executor.model_name().unwrap_or(&service.name);
    WatchConfig { protocols: spoken.map(protocols), ..WatchConfig::new(model) }
}

fn upstreams(service: &Named, plan: &RevisionPlan, upstream: &UpstreamPlan) -> UpstreamsConfig {
    let UpstreamTls { ca, client_cert, client_key } = &upstream.tls;
    let tls = TlsFiles { ca: ca.clone(), client: client_cert.clone().zip(client_key.clone()) };
    let servers = upstream.urls.iter().map(|url| Upstream {
        name: url.to_string().into(),
        transport: TransportConfig {
            connect_timeout: CONNECT_TIMEOUT,
            tls: tls.clone(),
            ..TransportConfig::new(Address::Url(url.clone()))
        },
    });
    UpstreamsConfig {
        servers: servers.collect(),
        watch: watch(service, plan, upstream.protocols.as_deref()),
        limits: limits(plan),
    }
}

fn protocols(spoken: &[UpstreamProtocol]) -> Box<[Protocol]> {
    let each = spoken.iter().map(|protocol| match protocol {
        UpstreamProtocol::V1 => Protocol::V1Http,
        UpstreamProtocol::V2 => Protocol::V2Http,
        UpstreamProtocol::GrpcV2 => Protocol::V2Grpc,
        UpstreamProtocol::OpenAi => Protocol::OpenAi,
    });
    each.collect()
}

fn limits(plan: &RevisionPlan) -> RemoteLimits {
    RemoteLimits {
        container_concurrency: plan.container_concurrency,
        max_batch_size: plan.batcher.max_batch_size,
        max_latency: plan.batcher.max_latency,
    }
}
