//! From a revision's plan to its set of replicas.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use weirgate_deploy_core::{Executor, Location, ModelFormat, ModelPlan, RevisionPlan, UpstreamPlan, UpstreamProtocol};
use weirgate_protocol::Protocol;
use weirgate_replicas::local::Loader;
use weirgate_replicas::remote::{Address, TransportConfig, WatchConfig};
use weirgate_replicas::{
    Feed, OnnxSource, RemoteLimits, ReplicaSet, ReplicaSetConfig, Source, Upstream, UpstreamsConfig, onnx_loader,
};

use super::LocalConfig;
use crate::control::Named;

/// For a connection to a server elsewhere, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The replicas that a plan asks for; they run when the set does.
pub(super) fn replica_set(
    service: &Named,
    plan: &RevisionPlan,
    platform: &LocalConfig,
    feed: Arc<dyn Feed>,
) -> ReplicaSet {
    match &plan.executor {
        Executor::Model { model, .. } => {
            let config = ReplicaSetConfig {
                name: service.name.clone(),
                max_batch_size: plan.batcher.max_batch_size,
                max_latency: plan.batcher.max_latency,
                container_concurrency: plan.container_concurrency,
                loader: loader(service, plan, model, platform),
            };
            ReplicaSet::new(config, feed)
        }
        Executor::Upstream(upstream) => {
            ReplicaSet::upstreams(service.name.clone(), upstreams(service, plan, upstream), feed)
        }
        Executor::Command(_) => {
            let config = UpstreamsConfig {
                servers: Vec::new(),
                watch: WatchConfig::new(service.name.as_str()),
                limits: limits(plan),
            };
            ReplicaSet::upstreams(service.name.clone(), config, feed)
        }
    }
}

fn loader(service: &Named, plan: &RevisionPlan, model: &ModelPlan, platform: &LocalConfig) -> Arc<Loader> {
    let intra_threads = plan.cpu_limit.unwrap_or_else(process_cpus);
    let source = match &model.location {
        Location::Path(path) => Source::Local { location: path.clone(), roots: platform.model_roots.clone() },
        // The set has the loader for as long as it runs, and so keeps the copy.
        Location::Url(url) => Source::Remote(platform.store.hold(url.clone())),
    };
    match model.format {
        ModelFormat::Onnx => {
            onnx_loader(OnnxSource { service: service.to_string(), model: service.name.clone(), source, intra_threads })
        }
    }
}

fn upstreams(service: &Named, plan: &RevisionPlan, upstream: &UpstreamPlan) -> UpstreamsConfig {
    let servers = upstream.urls.iter().map(|url| Upstream {
        name: url.to_string().into(),
        transport: TransportConfig {
            connect_timeout: CONNECT_TIMEOUT,
            ..TransportConfig::new(Address::Url(url.clone()))
        },
    });
    let protocols = upstream.protocols.as_deref().map(protocols);
    let model = plan.executor.model_name().unwrap_or(&service.name);
    UpstreamsConfig {
        servers: servers.collect(),
        watch: WatchConfig { protocols, ..WatchConfig::new(model) },
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

/// The CPUs this process may use: its affinity and its cgroup's quota count.
fn process_cpus() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
